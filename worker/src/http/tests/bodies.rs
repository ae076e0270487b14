//! Request bodies: however they are sent, and whether or not anyone reads them.

use super::*;

const CHUNKED: &str = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const CHUNKS: &str = "3;e=\"f\"\r\nabc\r\n0010\r\n0123456789abcdef\r\nA\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\nT: u\r\n\r\n";
const GET: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_byte_by_byte_is_understood() {
    let sent = format!(
        "{CHUNKED}{CHUNKS}POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello{GET}"
    );
    let whole = talk(&sent).await;
    let dribbled = with_server(Server::new(describe), |connector| async move {
        let mut client = connector.connect();
        for byte in sent.bytes() {
            client.write_u8(byte).await.unwrap();
            tokio::task::yield_now().await;
        }
        read_all(&mut client).await
    })
    .await;
    assert_eq!(statuses(&whole), ["200", "200", "200"]);
    assert!(
        whole.contains("POST /c abc0123456789abcdef\r\n\r\n"),
        "{whole}"
    );
    assert!(whole.contains("POST /l hello"), "{whole}");
    assert_eq!(dribbled, whole);
}

#[tokio::test(start_paused = true)]
async fn a_long_body_can_be_echoed_piece_by_piece() {
    let server = Server::new(|mut request: Request, mut response: Response| async move {
        while let Some(piece) = request.next_chunk().await? {
            response.write(piece).await?;
        }
        assert_eq!(request.next_chunk().await?, None);
        response.end("").await
    });
    let body = "0123456789".repeat(300_000);
    let heard = with_server(server, |connector| async move {
        let (mut reader, mut writer) = tokio::io::split(connector.connect());
        let head =
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n";
        let write = async {
            writer.write_all(head.as_bytes()).await?;
            writer.write_all(body.as_bytes()).await
        };
        let mut heard = String::new();
        let (written, read) = tokio::join!(write, reader.read_to_string(&mut heard));
        written.and(read).unwrap();
        heard
    })
    .await;
    let digits = heard
        .split("\r\n")
        .filter(|part| part.len() > 100)
        .map(str::len);
    assert_eq!(digits.sum::<usize>(), 3_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_client_is_invited_when_the_handler_begins_to_read() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n";
    let heard = with_server(Server::new(describe), |connector| async move {
        let mut client = connector.connect();
        client.write_all(head.as_bytes()).await.unwrap();
        let invited = read_until(&mut client, "\r\n\r\n").await;
        assert_eq!(invited, "HTTP/1.1 100 Continue\r\n\r\n");
        client
            .write_all(format!("hello{GET}").as_bytes())
            .await
            .unwrap();
        read_all(&mut client).await
    })
    .await;
    assert_eq!(statuses(&heard), ["200", "200"], "{heard}");

    // The body is there already: whoever has it needs no invitation.
    let heard = talk(format!("{head}hello{GET}")).await;
    assert_eq!(statuses(&heard), ["200", "200"], "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_client_is_not_invited_when_nobody_will_read() {
    let expect = "Host: a\r\nExpect: 100-continue\r\nContent-Length";
    let head = format!("POST / HTTP/1.1\r\n{expect}: 5\r\n\r\n");
    let silent = || Server::new(|_, response: Response| response.end("no"));
    let heard = talk_to(silent(), &head).await;
    assert_eq!(statuses(&heard), ["200"]);
    assert!(heard.contains("\r\nconnection: close\r\n"), "{heard}");

    let heard = talk(format!("POST / HTTP/1.1\r\n{expect}: 2000000\r\n\r\n")).await;
    assert_eq!(statuses(&heard), ["413"]);
    // No body to wait for, and a client too old to wait.
    let heard = talk(format!("POST / HTTP/1.1\r\n{expect}: 0\r\n\r\n{GET}")).await;
    assert_eq!(statuses(&heard), ["200", "200"]);
    let heard = talk(format!("POST / HTTP/1.0\r\n{expect}: 5\r\n\r\nhello")).await;
    assert_eq!(statuses(&heard), ["200"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_refused_even_in_chunks() {
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for (chunks, status) in [(256, "200"), (257, "413")] {
        let heard = talk(format!("{CHUNKED}{}0\r\n\r\n{GET}", chunk.repeat(chunks))).await;
        assert_eq!(statuses(&heard)[0], status, "{chunks}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_does_not_hold_for_a_handler_that_streams() {
    let server = Server::new(|mut request: Request, response: Response| async move {
        let mut length = 0;
        while let Some(piece) = request.next_chunk().await? {
            length += piece.len();
        }
        response.end(format!("{length} bytes")).await
    });
    let body = "x".repeat(2_000_000);
    let heard = talk_to(
        server,
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n{body}{GET}"),
    )
    .await;
    assert!(heard.contains("2000000 bytes"), "{heard}");
    assert!(heard.contains("0 bytes"), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn an_unread_body_is_skipped_if_it_is_short() {
    let ignore = || {
        Server::new(|request: Request, response: Response| async move {
            response.end(request.target()).await
        })
    };
    let long = "x".repeat(65_537);
    for (length, expected) in [(65_536, vec!["200", "200"]), (65_537, vec!["200"])] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let heard = talk_to(ignore(), format!("{head}{}{GET}", &long[..length])).await;
        assert_eq!(statuses(&heard), expected, "{length}");
        assert_eq!(heard.contains("connection: close"), expected.len() == 1);
    }
    let heard = talk_to(ignore(), format!("{CHUNKED}{CHUNKS}{GET}")).await;
    assert_eq!(statuses(&heard), ["200", "200"]);
    let heard = talk_to(
        ignore(),
        format!("{CHUNKED}10001\r\n{long}\r\n0\r\n\r\n{GET}"),
    )
    .await;
    assert_eq!(statuses(&heard), ["200"]);
    // What is skipped must be sound as well, or the next request begins somewhere else.
    let heard = talk_to(ignore(), format!("{CHUNKED}1\r\nxy\r\n0\r\n\r\n{GET}")).await;
    assert_eq!(statuses(&heard), ["200"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_in_the_middle_is_reported_to_the_handler() {
    for body in [
        "Content-Length: 5\r\n\r\nhell",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhell",
    ] {
        let server = Server::new(|mut request: Request, _response| async move {
            let error = request.bytes().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(request.next_chunk().await.is_err(), "it stays that way");
            Err(error)
        });
        let heard = with_server(server, |connector| async move {
            let mut client = connector.connect();
            let sent = format!("POST / HTTP/1.1\r\nHost: a\r\n{body}");
            client.write_all(sent.as_bytes()).await.unwrap();
            client.shutdown().await.unwrap();
            read_all(&mut client).await
        })
        .await;
        assert_eq!(heard, "", "{body}");
    }
}
