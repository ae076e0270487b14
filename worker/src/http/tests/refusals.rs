//! Every request that could be read in two ways, and every limit.

use std::time::Duration;

use super::*;

/// Sends a request and expects this refusal, the end of the connection, and nothing more:
/// the request behind it, if any, must not be answered.
async fn expect_refusal(status: &str, request: impl AsRef<[u8]>) {
    let mut sent = request.as_ref().to_vec();
    let name = sent.escape_ascii().to_string();
    sent.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    let heard = talk(sent).await;
    assert_eq!(statuses(&heard), [status], "{name}: {heard}");
    assert!(
        heard.contains("\r\nconnection: close\r\n"),
        "{name}: {heard}"
    );
    assert!(!heard.contains("/smuggled"), "{name}: {heard}");
}

#[tokio::test(start_paused = true)]
async fn heads_that_are_malformed_or_ambiguous_are_refused() {
    for head in [
        // Line endings.
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // Request lines.
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/11\r\nHost: a\r\n\r\n",
        "GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
        // Header fields.
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n",
        // Hosts.
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    ] {
        expect_refusal("400", head).await;
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_whose_end_could_be_doubted_are_refused() {
    for fields in [
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 0, 0",
        "Content-Length: +0",
        "Content-Length: -0",
        "Content-Length: 0x0",
        "Content-Length: 0 0",
        "Content-Length: 1e0",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999999",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: \x0bchunked",
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n");
        expect_refusal("400", head).await;
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    expect_refusal("400", old).await;
}

#[tokio::test(start_paused = true)]
async fn chunks_that_stray_from_the_grammar_are_refused() {
    let endless_extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(5000));
    let many_extensions = "1;abcdefg\r\nx\r\n".repeat(1000);
    for chunks in [
        "\r\n0\r\n\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
        "1 \r\nx\r\n0\r\n\r\n",
        "1 ;e\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "g\r\nx\r\n0\r\n\r\n",
        ";e\r\nx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        "1\rx\r\n0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nx\r0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "00000000000000001\r\nx\r\n0\r\n\r\n",
        "1;e\nx\r\n0\r\n\r\n",
        "1;\0\r\nx\r\n0\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nnonsense\r\n\r\n",
        "0\r\nX: \0\r\n\r\n",
        "0\r\n\n",
        &endless_extension,
        &many_extensions,
    ] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        expect_refusal("400", format!("{head}{chunks}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_other_refusal_has_its_status() {
    let fields = |count: usize| "X: y\r\n".repeat(count);
    let trailers = fields(2000);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:";
    for (status, request) in [
        (
            "413",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n".into(),
        ),
        (
            "414",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(16 * 1024)),
        ),
        (
            "431",
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(16 * 1024)
            ),
        ),
        (
            "431",
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(100)),
        ),
        (
            "431",
            format!("{chunked} chunked\r\n\r\n0\r\n{trailers}\r\n"),
        ),
        (
            "417",
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n".into(),
        ),
        ("501", format!("{chunked} gzip\r\n\r\n")),
        ("501", format!("{chunked} gzip, chunked\r\n\r\n")),
        ("501", format!("{chunked} xchunked\r\n\r\n")),
        ("501", format!("{chunked} \"chunked\"\r\n\r\n")),
        ("501", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        ("505", "GET / HTTP/2.0\r\nHost: a\r\n\r\n".into()),
        ("505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
    ] {
        expect_refusal(status, request).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_just_within_the_limits_is_served() {
    let filler = "x".repeat(16 * 1024 - "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len());
    for request in [
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(99)),
        "\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost:\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nhOsT: [::1]:80\r\nX:\ty \t\r\nY:\r\nZ: \u{e4}\r\n\r\n".into(),
        "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "GET / HTTP/1.0\r\n\r\n".into(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n1234567".into(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0;e=\"f\" ;g\r\nT: u\r\n\r\n"
            .into(),
    ] {
        let heard = talk(&request).await;
        assert_eq!(statuses(&heard), ["200"], "{request:?}: {heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tls_greeting_is_refused_at_its_first_byte() {
    let started = tokio::time::Instant::now();
    let heard = talk(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert_eq!(statuses(&heard), ["400"]);
    // It did not take the head timeout; the rest is the lingering close.
    assert!(started.elapsed() < Duration::from_secs(5));
}
