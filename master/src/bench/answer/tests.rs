//! Every way in which an answer can end, cut at every byte; and what is no answer.

use super::*;

/// An answer as a test wants it: status, whether it closes, worker.
type Seen = (u16, bool, Option<String>);

fn seen(head: Head) -> Seen {
    let worker = head.worker.map(|label| label.as_str().to_owned());
    (head.status, head.closes, worker)
}

/// Feeds `pieces` one after the other, and then the end of the connection.
fn read(asked: Asked, pieces: &[&[u8]]) -> Result<Vec<Seen>, BadAnswer> {
    let (mut parser, mut answers) = (Parser::new(asked), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let (taken, answer) = parser.feed(rest)?;
            assert!(taken > 0, "it makes no progress at {rest:?}");
            rest = &rest[taken..];
            answers.extend(answer.map(seen));
        }
    }
    answers.extend(parser.close().map(seen));
    Ok(answers)
}

/// Checks that `bytes` are these answers, whole, in two pieces cut anywhere, and byte by byte.
fn check(asked: Asked, bytes: &[u8], expected: &[Seen]) {
    assert_eq!(read(asked, &[bytes]).unwrap(), expected, "whole");
    for cut in 0..bytes.len() {
        let answers = read(asked, &[&bytes[..cut], &bytes[cut..]]).unwrap();
        assert_eq!(answers, expected, "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(asked, &single).unwrap(), expected, "byte by byte");
}

fn plain(status: u16) -> Seen {
    (status, false, None)
}

fn closing(status: u16) -> Seen {
    (status, true, None)
}

#[test]
fn a_length_ends_an_answer() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Worker-Id: 12\r\n\r\nhello";
    check(Asked::Body, answer, &[(200, false, Some("12".into()))]);
    check(
        Asked::Body,
        b"HTTP/1.1 404 \r\ncontent-length: 0\r\n\r\n",
        &[plain(404)],
    );
}

#[test]
fn pipelined_answers_come_apart() {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    bytes.extend_from_slice(b"HTTP/1.1 204 No Content\r\n\r\n");
    bytes.extend_from_slice(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    );
    bytes.extend_from_slice(b"HTTP/1.1 500 No\r\nconnection: close\r\ncontent-length: 1\r\n\r\n!");
    let expected = [plain(200), plain(204), plain(200), closing(500)];
    check(Asked::Body, &bytes, &expected);
}

#[test]
fn chunks_with_extensions_and_trailers_end_an_answer() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n\
        5;name=\"v\"\r\nhello\r\n00b  \r\n, old world\r\n0\r\nX-Sum: 9\r\nX-More: \r\n\r\n";
    check(Asked::Body, answer, &[plain(200)]);
}

#[test]
fn without_a_length_the_connection_ends_an_answer() {
    let answer = b"HTTP/1.1 200 OK\r\n\r\nas long as it takes";
    check(Asked::Body, answer, &[closing(200)]);
    check(Asked::Body, b"HTTP/1.0 200 OK\r\n\r\n", &[closing(200)]);
}

#[test]
fn an_answer_that_is_cut_off_is_none() {
    for whole in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ] {
        for cut in 0..whole.len() {
            assert_eq!(read(Asked::Body, &[&whole[..cut]]), Ok(Vec::new()), "{cut}");
        }
    }
}

#[test]
fn interim_answers_are_skipped() {
    let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n\
        HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
    check(Asked::Body, answer, &[plain(200)]);
}

#[test]
fn some_answers_have_no_body() {
    let two = b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    check(Asked::Head, two, &[plain(200), plain(200)]);
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    check(Asked::Head, chunked, &[plain(200)]);
    let cached = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 900\r\n\r\n";
    check(Asked::Body, cached, &[plain(304)]);
}

#[test]
fn the_connection_header_decides_what_the_version_leaves_open() {
    for (version, connection, closes) in [
        ("1.1", "keep-alive", false),
        ("1.1", "Upgrade, Close", true),
        ("1.1", "closed", false),
        ("1.0", "Keep-Alive", false),
        ("1.0", "x", true),
    ] {
        let answer = format!(
            "HTTP/{version} 200 OK\r\nconnection: {connection}\r\ncontent-length: 0\r\n\r\n"
        );
        check(Asked::Body, answer.as_bytes(), &[(200, closes, None)]);
    }
}

#[test]
fn what_is_no_answer_is_refused_wherever_it_is_cut() {
    for (bytes, reason) in [
        ("SSH-2.0-OpenSSH\r\n", "malformed"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "malformed"),
        ("HTTP/2.0 200 OK\r\n\r\n", "malformed"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed"),
        ("HTTP/1.1 101 Switching\r\n\r\n", "unasked"),
        ("HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n", "no number"),
        ("HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n", "no number"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "no number",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            "two",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "not chunked",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
            "and",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
            "size",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
            "size",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n",
            "size",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nxy\r\n",
            "chunk",
        ),
    ] {
        let bytes = bytes.as_bytes();
        for cut in 0..bytes.len() {
            let BadAnswer(why) = read(Asked::Body, &[&bytes[..cut], &bytes[cut..]]).unwrap_err();
            assert!(why.contains(reason), "{}: {why}", bytes.escape_ascii());
        }
    }
}

#[test]
fn what_never_ends_is_refused() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let long = vec![b'a'; 128 * 1024];
    for pieces in [
        vec![&b"HTTP/1.1 200 OK\r\nx: "[..], &long],
        vec![&head[..], b"1;", &long],
        vec![&head[..], b"0\r\n", &long],
    ] {
        assert!(read(Asked::Body, &pieces).is_err());
    }
    let headers = "a: b\r\n".repeat(101);
    let answer = format!("HTTP/1.1 200 OK\r\n{headers}\r\n");
    let refused = read(Asked::Body, &[answer.as_bytes()]);
    assert_eq!(refused, Err(BadAnswer("too many headers")));
}

#[test]
fn a_long_head_may_come_in_many_pieces() {
    let long = "y".repeat(30_000);
    let answer = format!("HTTP/1.1 200 OK\r\nx: {long}\r\ncontent-length: 2\r\n\r\nhi");
    let pieces: Vec<&[u8]> = answer.as_bytes().chunks(1000).collect();
    assert_eq!(read(Asked::Body, &pieces), Ok(vec![plain(200)]));
}
