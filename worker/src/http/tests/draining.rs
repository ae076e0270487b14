//! A server that was asked to drain: who is still answered, and when it ends.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GRACE: Duration = Duration::from_secs(3);

/// Runs a client against a server until both are done. Returns when the server was.
async fn until_drained<C>(client: impl FnOnce(Connector) -> C) -> Duration
where
    C: Future<Output = ()>,
{
    let (connector, listener) = listener();
    let server = Server::new(|request: Request, response: Response| async move {
        if request.target() == "/slow" {
            sleep(Duration::from_secs(10)).await;
        }
        describe(request, response).await
    });
    let started = Instant::now();
    let serving = async {
        server.serve(listener).await.unwrap();
        started.elapsed()
    };
    tokio::join!(serving, client(connector)).0
}

/// Whether each answer says that it is the last.
fn closes(heard: &str) -> Vec<bool> {
    let answers = heard.split("HTTP/1.1 ").skip(1);
    answers
        .map(|answer| answer.contains("\r\nconnection: close\r\n"))
        .collect()
}

/// Lets the server do all that it can do now.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_without_connections_ends_at_once() {
    let elapsed = until_drained(|connector| async move { connector.drain(GRACE) }).await;
    assert!(elapsed < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_when_the_grace_is_over() {
    let elapsed = until_drained(|connector| async move {
        let mut fresh = connector.connect();
        let mut used = connector.connect();
        used.write_all(GET.as_bytes()).await.unwrap();
        read_until(&mut used, "GET / ").await;
        connector.drain(GRACE);
        assert_eq!(read_all(&mut fresh).await, "");
        assert_eq!(read_all(&mut used).await, "");
    })
    .await;
    assert_eq!(elapsed.as_secs(), GRACE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_answered_once_more_within_the_grace() {
    let elapsed = until_drained(|connector| async move {
        let mut client = connector.connect();
        client.write_all(GET.as_bytes()).await.unwrap();
        read_until(&mut client, "GET / ").await;
        connector.drain(GRACE);
        sleep(Duration::from_secs(2)).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(closes(&read_all(&mut client).await), [true]);
    })
    .await;
    assert_eq!(elapsed.as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_progress_is_served_however_long_it_takes() {
    let elapsed = until_drained(|connector| async move {
        let mut client = connector.connect();
        client
            .write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        settle().await;
        connector.drain(GRACE);
        assert_eq!(closes(&read_all(&mut client).await), [true]);
    })
    .await;
    assert_eq!(elapsed.as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_begun_is_served_even_beyond_the_grace() {
    until_drained(|connector| async move {
        let mut client = connector.connect();
        client.write_all(&GET.as_bytes()[..20]).await.unwrap();
        settle().await;
        connector.drain(Duration::ZERO);
        sleep(Duration::from_secs(2)).await;
        client.write_all(&GET.as_bytes()[20..]).await.unwrap();
        assert_eq!(closes(&read_all(&mut client).await), [true]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn all_requests_that_have_arrived_are_answered_and_the_last_one_says_so() {
    let post =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let slow = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";
    for (behind, expected) in [
        (GET.repeat(3), vec![false, false, false, true]),
        (format!("{post}{GET}"), vec![false, false, true]),
        (post.to_owned(), vec![false, true]),
        // What has not arrived whole is not waited for.
        (format!("{GET}{}", &GET[..20]), vec![false, true]),
        (
            format!("{GET}{}", &post[..post.len() - 1]),
            vec![false, true],
        ),
    ] {
        until_drained(|connector| async move {
            let mut client = connector.connect();
            client
                .write_all(format!("{slow}{behind}").as_bytes())
                .await
                .unwrap();
            settle().await;
            connector.drain(Duration::ZERO);
            assert_eq!(closes(&read_all(&mut client).await), expected, "{behind}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_accepted_after_the_drain_began() {
    until_drained(|connector| async move {
        let mut held = connector.connect();
        held.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        settle().await;
        connector.drain(GRACE);
        settle().await;
        let mut late = connector.connect();
        late.write_all(GET.as_bytes()).await.unwrap();
        let polls = connector.polls();
        assert_eq!(closes(&read_all(&mut held).await), [true]);
        assert_eq!(connector.polls(), polls);
    })
    .await;
}
