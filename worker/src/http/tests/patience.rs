//! What happens when nothing happens: every timeout, and how connections close.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::*;

/// After how many seconds the server closes on a client who sends this and waits, and what
/// it says before.
async fn time_to_close(sent: &str) -> (u64, String) {
    with_server(Server::new(describe), |connector| async move {
        let mut client = connector.connect();
        client.write_all(sent.as_bytes()).await.unwrap();
        let started = Instant::now();
        let heard = read_all(&mut client).await;
        (started.elapsed().as_secs(), heard)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn every_silence_has_its_end() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell";
    for (sent, seconds, expected) in [
        // Silent from the start, idle between requests: closed without a word.
        ("", 10, vec![]),
        (get, 5, vec!["200"]),
        // In the middle of something: told so.
        ("GET / HTTP/1.1\r\nHo", 10, vec!["408"]),
        ("\r\n", 10, vec!["408"]),
        (&format!("{get}GET"), 10, vec!["200", "408"]),
        (post, 10, vec!["408"]),
        (&format!("{get}{post}"), 10, vec!["200", "408"]),
    ] {
        let (elapsed, heard) = time_to_close(sent).await;
        assert_eq!(elapsed, seconds, "{sent}");
        assert_eq!(statuses(&heard), expected, "{sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_head_timeout_counts_from_the_first_byte_and_not_from_each() {
    with_server(Server::new(describe), |connector| async move {
        let mut client = connector.connect();
        sleep(Duration::from_secs(9)).await;
        for byte in b"GET / HTT" {
            client.write_u8(*byte).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        // Nine seconds since the first byte, eighteen since the connection: one is left.
        let started = Instant::now();
        assert_eq!(statuses(&read_all(&mut client).await), ["408"]);
        assert_eq!(started.elapsed().as_millis() / 100, 10);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_may_take_long_as_long_as_it_moves() {
    let heard = with_server(Server::new(describe), |connector| async move {
        let mut client = connector.connect();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        for byte in b"slow body" {
            sleep(Duration::from_secs(9)).await;
            client.write_u8(*byte).await.unwrap();
        }
        read_all(&mut client).await
    })
    .await;
    assert!(heard.contains("slow body"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn requests_less_than_the_idle_timeout_apart_keep_a_connection() {
    with_server(Server::new(describe), |connector| async move {
        let mut client = connector.connect();
        for _ in 0..10 {
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .await
                .unwrap();
            read_until(&mut client, "GET / ").await;
            sleep(Duration::from_millis(4900)).await;
        }
        let started = Instant::now();
        assert_eq!(read_all(&mut client).await, "");
        assert_eq!(started.elapsed().as_millis() / 50, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_handler_is_not_a_slow_client() {
    let server = Server::new(|_, response: Response| async move {
        sleep(Duration::from_secs(60)).await;
        response.end("at last").await
    });
    let heard = talk_to(server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(statuses(&heard), ["200"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_dropped_and_the_handler_told() {
    let (told, mut heard) = mpsc::channel(1);
    let server = Server::new(move |_, response: Response| {
        let told = told.clone();
        async move {
            let started = Instant::now();
            let error = response.end(vec![0; 2 * PIPE]).await.unwrap_err();
            told.try_send((error.kind(), started.elapsed().as_secs()))
                .unwrap();
            Err(error)
        }
    });
    with_server(server, |connector| async move {
        let mut client = connector.connect();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(heard.recv().await, Some((io::ErrorKind::TimedOut, 30)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_we_shut_down_first_and_listen_on_for_a_bounded_time() {
    with_server(Server::new(describe), |connector| async move {
        let mut client = connector.connect();
        client.write_all(b"nonsense\r\n\r\n").await.unwrap();
        // The end of our stream is there while the client's is still open…
        assert_eq!(statuses(&read_all(&mut client).await), ["400"]);
        // …and what it goes on sending is taken, so that no reset destroys the answer.
        client.write_all(&[b'x'; 1024]).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        client.write_all(&[b'x'; 1024]).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        assert!(client.write_all(b"x").await.is_err());

        // Nor is it taken without bound.
        let mut client = connector.connect();
        client.write_all(b"nonsense\r\n\r\n").await.unwrap();
        let started = Instant::now();
        while client.write_all(&[b'x'; 64 * 1024]).await.is_ok() {}
        assert!(started.elapsed() < Duration::from_secs(1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_accept_that_fails_is_repeated_at_once_or_later_or_never() {
    let (connector, listener) = listener();
    let server = Server::new(describe);
    let client = async {
        let get = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        for (error, millis) in [(103, 0), (24, 100), (23, 100), (1, 100)] {
            connector.fail(io::Error::from_raw_os_error(error));
            let mut client = connector.connect();
            client.write_all(get).await.unwrap();
            let started = Instant::now();
            let polls = connector.polls();
            assert_eq!(statuses(&read_all(&mut client).await), ["200"]);
            assert_eq!(started.elapsed().as_millis() / 10 * 10, millis, "{error}");
            assert!(connector.polls() - polls < 20, "busy loop");
        }
        // A whole crowd that gave up while it waited does not hide who comes behind it.
        for _ in 0..100 {
            connector.fail(io::ErrorKind::ConnectionAborted.into());
        }
        let mut client = connector.connect();
        client.write_all(get).await.unwrap();
        assert_eq!(statuses(&read_all(&mut client).await), ["200"]);
        // A connection that is being served outlives the listener.
        let mut client = connector.connect();
        client.write_all(&get[..10]).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        connector.fail(io::ErrorKind::BrokenPipe.into());
        sleep(Duration::from_millis(1)).await;
        client.write_all(&get[10..]).await.unwrap();
        assert_eq!(statuses(&read_all(&mut client).await), ["200"]);
    };
    let (ended, ()) = tokio::join!(server.serve(listener), client);
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}
