//! The accept is asked between handlers, and connections take turns. Proved by counting:
//! how long anything takes plays no part.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use super::*;

/// Busy connections, each with its requests sent ahead.
const CONNECTIONS: usize = 300;
const REQUESTS: usize = 10;

/// What a handler saw, in order: the connection, the request's number, and how often the
/// accept had been asked by then.
type Journal = Mutex<Vec<(usize, usize, usize)>>;

async fn run(journal: &Journal, latecomer: Option<usize>) {
    let (connector, listener) = listener();
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| connector.connect()).collect();
    for (name, client) in clients.iter_mut().enumerate() {
        send(client, name).await;
    }
    let server = Server::new(|request: Request, response: Response| {
        let mut parts = request.target()[1..]
            .split('/')
            .map(|part| part.parse().unwrap());
        let (name, number) = (parts.next().unwrap(), parts.next().unwrap());
        let seen = {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.push((name, number, connector.polls()));
            journal.len()
        };
        // Someone new knocks in the middle of the rush.
        if Some(seen) == latecomer {
            drop(connector.connect());
        }
        async move { response.end(request.target()).await }
    });
    let reading = async {
        for (name, client) in clients.iter_mut().enumerate() {
            let mut numbers = Vec::new();
            for answer in read_all(client).await.split("\r\n\r\n").skip(1) {
                let target = answer.split("HTTP/1.1").next().unwrap_or_default();
                numbers.push(target.to_owned());
            }
            let expected: Vec<_> = (0..REQUESTS).map(|n| format!("/{name}/{n}")).collect();
            assert_eq!(numbers, expected);
        }
    };
    tokio::select! {
        () = reading => {}
        ended = server.serve(listener) => panic!("{ended:?}"),
    }
}

async fn send(client: &mut DuplexStream, name: usize) {
    for number in 0..REQUESTS {
        let request = format!("GET /{name}/{number} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_accept_is_asked_after_every_two_answers_at_most() {
    let journal = Journal::default();
    run(&journal, None).await;
    let journal = journal.into_inner().unwrap();
    assert_eq!(journal.len(), CONNECTIONS * REQUESTS);
    for three in journal.windows(3) {
        assert!(
            three[0].2 < three[2].2,
            "three answers and no accept: {three:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn busy_connections_advance_in_rotation() {
    let journal = Journal::default();
    run(&journal, None).await;
    let names: Vec<_> = journal
        .into_inner()
        .unwrap()
        .iter()
        .map(|seen| seen.0)
        .collect();
    for one in 0..CONNECTIONS {
        let turns: Vec<_> = (0..names.len()).filter(|&at| names[at] == one).collect();
        assert_eq!(turns.len(), REQUESTS);
        // Between two turns of one connection, no other has more than one.
        for pair in turns.windows(2) {
            let between = &names[pair[0] + 1..pair[1]];
            let distinct: HashSet<_> = between.iter().collect();
            assert_eq!(distinct.len(), between.len(), "{one}: {between:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn someone_new_is_taken_within_two_answers() {
    let journal = Journal::default();
    let knock = CONNECTIONS * REQUESTS / 2;
    run(&journal, Some(knock)).await;
    let journal = journal.into_inner().unwrap();
    // Every poll of the accept after the rush has found nothing, so one more than usual
    // between two answers is the one that took the newcomer and asked again.
    let polls = |index: usize| journal[index].2;
    assert!(
        polls(knock + 2) - polls(knock - 1) >= 2,
        "{}",
        polls(knock + 2) - polls(knock - 1)
    );
}
