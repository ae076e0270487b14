//! Answers: how they are framed, and what follows them.

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_order() {
    let sent: String = (0..50)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    let heard = talk(sent).await;
    let expected: String = (0..50)
        .map(|n| {
            let body = format!("GET /{n} ");
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        })
        .collect();
    assert_eq!(heard, expected);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_the_end_gets_one_answer_and_the_end() {
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
    ] {
        let heard = talk(format!("{head}{GET}")).await;
        assert_eq!(statuses(&heard), ["200"], "{head}");
        assert!(
            heard.contains("\r\nconnection: close\r\n"),
            "{head}: {heard}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_client_may_ask_to_be_kept() {
    let head = "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
    let heard = talk(format!("{head}{head}")).await;
    assert_eq!(statuses(&heard), ["200", "200"]);
    assert_eq!(
        heard.matches("\r\nconnection: keep-alive\r\n").count(),
        2,
        "{heard}"
    );
}

async fn stream(_request: Request, mut response: Response) -> io::Result<()> {
    response.write("abc").await?;
    response.write("").await?;
    response.write("0123456789abcdef").await?;
    response.end("end").await
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_unknown_length_is_chunked_or_ends_with_the_connection() {
    let chunks = "3\r\nabc\r\n10\r\n0123456789abcdef\r\n3\r\nend\r\n0\r\n\r\n";
    let heard = talk_to(Server::new(stream), GET).await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(heard, format!("{head}{chunks}"));

    let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let heard = talk_to(Server::new(stream), format!("{old}{old}")).await;
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    assert_eq!(heard, format!("{head}abc0123456789abcdefend"));
}

#[tokio::test(start_paused = true)]
async fn an_announced_length_is_kept_or_the_answer_torn() {
    for (length, expected) in [
        (22, "content-length: 22\r\n\r\nabc0123456789abcdefend"),
        // Too short: the last piece is refused, and what remains unsaid shows.
        (21, "content-length: 21\r\n\r\nabc0123456789abcdef"),
        // Too long: the client waits for more and sees the end instead.
        (23, "content-length: 23\r\n\r\nabc0123456789abcdef"),
    ] {
        let server = Server::new(|request, response: Response| {
            stream(
                request,
                response.header("Content-Length", length.to_string()),
            )
        });
        let heard = talk_to(server, GET).await;
        assert!(heard.contains(expected), "{length}: {heard}");
        assert_eq!(statuses(&heard), ["200"], "{length}: {heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_and_bodiless_statuses_bring_no_body() {
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let heard = talk(format!("{head}{GET}")).await;
    let first = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(heard.starts_with(first), "{heard}");

    let heard = talk_to(Server::new(stream), format!("{head}{head}")).await;
    assert_eq!(heard, "HTTP/1.1 200 OK\r\n\r\n".repeat(2));

    for (status, line) in [(204, "204 No Content"), (304, "304 Not Modified")] {
        let server = Server::new(move |_, response: Response| response.status(status).end("no"));
        let heard = talk_to(server, GET.repeat(2)).await;
        assert_eq!(heard, format!("HTTP/1.1 {line}\r\n\r\n").repeat(2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_owes_nothing_to_the_request_before_it() {
    let heard = talk("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n").await;
    assert_eq!(statuses(&heard), ["200", "400"]);
    assert!(heard.ends_with("malformed\n"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn nothing_an_application_says_can_break_the_framing() {
    for (name, value) in [
        ("x", "a\r\nset-cookie: b"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x\r\ny", "a"),
        ("x y", "a"),
        ("x:", "a"),
        ("", "a"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "upgrade"),
        ("Content-Length", "1, 1"),
        ("Content-Length", "1"),
    ] {
        let server = Server::new(move |_, response: Response| async move {
            let sent = response.header(name, value).end("hello").await;
            assert_eq!(
                sent.as_ref().unwrap_err().kind(),
                io::ErrorKind::InvalidInput
            );
            sent
        });
        let heard = talk_to(server, GET).await;
        assert_eq!(statuses(&heard), ["500"], "{name:?}: {value:?}");
        assert!(!heard.contains("set-cookie"), "{heard}");
    }
    let server = Server::new(|_, response: Response| response.status(101).end(""));
    assert_eq!(statuses(&talk_to(server, GET).await), ["500"]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_gives_no_answer_is_answered_for() {
    let server = Server::new(|_, response| async move {
        drop(response);
        Ok(())
    });
    let heard = talk_to(server, GET.repeat(2)).await;
    assert_eq!(statuses(&heard), ["500"]);
    assert!(heard.contains("\r\nconnection: close\r\n"), "{heard}");

    let server = Server::new(|_, _| async { Err(io::ErrorKind::Other.into()) });
    assert_eq!(statuses(&talk_to(server, GET.repeat(2)).await), ["500"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_dropped_half_way_ends_the_connection_unfinished() {
    let server =
        Server::new(|_, mut response: Response| async move { response.write("half").await });
    let heard = talk_to(server, GET.repeat(2)).await;
    let expected = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    assert_eq!(heard, expected);
}

#[tokio::test(start_paused = true)]
async fn a_response_may_be_answered_from_another_task() {
    let server = Server::new(|request: Request, response: Response| async move {
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            let target = request.target().to_owned();
            response.end(target).await
        });
        Ok(())
    });
    let sent = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let heard = talk_to(server, sent).await;
    assert_eq!(heard.matches("\r\n\r\n/").count(), 2, "{heard}");
    assert!(heard.find("/1").unwrap() < heard.find("/2").unwrap());
}

#[tokio::test(start_paused = true)]
async fn long_answers_arrive_whole() {
    let long = "0123456789".repeat(100_000);
    for pieces in [0, 1, 3] {
        let body = long.clone();
        let server = Server::new(move |_, mut response: Response| {
            let body = body.clone();
            async move {
                for _ in 0..pieces {
                    response.write(&body).await?;
                }
                response.end(&body).await
            }
        });
        let heard = talk_to(server, "GET / HTTP/1.0\r\n\r\n").await;
        let (_, body) = heard.split_once("\r\n\r\n").unwrap();
        assert!(body == long.repeat(pieces + 1), "{pieces}");
        let server = Server::new(|_, mut response: Response| {
            let long = &long;
            async move {
                response.write(long).await?;
                response.end(long).await
            }
        });
        let heard = talk_to(server, GET).await;
        let chunk = format!("f4240\r\n{long}\r\n");
        assert!(heard.ends_with(&format!("\r\n\r\n{chunk}{chunk}0\r\n\r\n")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_piece_that_was_given_up_half_way_cannot_be_followed_by_another() {
    let server = Server::new(|_, mut response: Response| async move {
        let long = vec![b'x'; 2 * PIPE];
        let patience = std::time::Duration::from_secs(1);
        let written = tokio::time::timeout(patience, response.write(&long)).await;
        assert!(written.is_err(), "nobody was reading");
        response.end("end").await
    });
    let heard = with_server(server, |connector| async move {
        let mut client = connector.connect();
        client.write_all(GET.as_bytes()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        read_all(&mut client).await
    })
    .await;
    assert!(
        heard.ends_with("xxxx"),
        "the end of the stream, in the middle of a chunk"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_tells_what_was_asked() {
    let server = Server::new(|request: Request, response: Response| async move {
        let told = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            request.path(),
            request.query(),
            request.header("x-NAME"),
            request.header("missing"),
            request.headers().count(),
        );
        response.end(told).await
    });
    let heard = talk_to(
        server,
        "GET /a/b?c=d?e HTTP/1.1\r\nHost: a\r\nX-Name:  y z \r\nX-NAME: 2\r\n\r\n\
         GET http://h?q HTTP/1.1\r\nHost: a\r\n\r\n\
         GET http://h/p?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(
        heard.contains(r#""/a/b" Some("c=d?e") Some("y z") None 3"#),
        "{heard}"
    );
    assert!(heard.contains(r#""/" Some("q") None None 1"#), "{heard}");
    assert!(heard.contains(r#""/p" Some("q") None None 2"#), "{heard}");
}

#[tokio::test(start_paused = true)]
#[expect(clippy::panic, reason = "that is what the test is about")]
async fn a_panic_in_a_handler_ends_the_server() {
    let (connector, listener) = listener();
    let serving = tokio::spawn(async move {
        let server = Server::new(|_, _| async { panic!("handler") });
        server.serve(listener).await
    });
    let mut client = connector.connect();
    client.write_all(GET.as_bytes()).await.unwrap();
    assert!(serving.await.unwrap_err().is_panic());
}
