//! The accept is asked between handlers, and connections take turns. Proved by counting:
//! how long anything takes plays no part.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

/// A client as fast as memory: it sends without end, and takes whatever it is sent.
struct Firehose {
    head: &'static [u8],
}

impl AsyncRead for Firehose {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            buffer.initialize_unfilled().fill(b'x');
            let all = buffer.remaining();
            buffer.advance(all);
        } else {
            buffer.put_slice(self.head);
            self.head = b"";
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Firehose {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A listener with a single connection, which counts how often it is asked for more.
struct One(Option<Firehose>, Arc<AtomicUsize>);

impl Accept for One {
    type Stream = Firehose;

    fn poll_accept(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<io::Result<(Firehose, Option<SocketAddr>)>> {
        self.1.fetch_add(1, Relaxed);
        self.0
            .take()
            .map_or(Poll::Pending, |stream| Poll::Ready(Ok((stream, None))))
    }

    fn draining(&self) -> impl Future<Output = Duration> + Send + 'static {
        std::future::pending()
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_without_end_does_not_keep_the_accept_waiting() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n";
    let polls = Arc::<AtomicUsize>::default();
    let done = tokio::sync::Notify::new();
    let echo = async |mut request: Request, mut response: Response| {
        let (mut moved, mut asked) = (0, polls.load(Relaxed));
        while let Some(piece) = request.next_chunk().await? {
            if std::mem::replace(&mut asked, polls.load(Relaxed)) != asked {
                moved = 0;
            }
            moved += piece.len();
            assert!(moved <= 512 * 1024, "half a megabyte and no accept");
            response.write(piece).await?;
        }
        response.end("").await?;
        done.notify_one();
        Ok(())
    };
    let server = Server::new(echo);
    tokio::select! {
        () = done.notified() => {}
        ended = server.serve(One(Some(Firehose { head }), Arc::clone(&polls))) => panic!("{ended:?}"),
    }
}
