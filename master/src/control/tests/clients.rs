//! Clients that mean no good, do not know better, or have fallen asleep.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::stage::{PATIENCE, Stage, answer, place, request, rest, until};
use crate::control::guard::BODY_MAX;
use crate::control::refusal::Kind;
use crate::control::server::CLIENTS_MAX;

/// What the server allows for a request, less the grain of clocks.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1990);

/// Returns whether the server has sent a client away, be it with a word or without.
fn is_dismissed(stream: &mut UnixStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0; 1]);
    read.map_err(|error| error.kind()) != Err(ErrorKind::WouldBlock)
}

#[test]
fn garbage_costs_nobody_but_its_sender_anything() {
    let stage = Stage::new();
    // Knuth's multiplicative hash: bytes of every kind, the same in each run.
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let long_head = format!("GET /v1/ping HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    let many_fields = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(5_000));
    for words in [
        noise.as_slice(),
        &[0; 4096],
        b"\r\n\r\n\r\n\r\nhello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/apps/shop/scale HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /v1/kill HTTP/1.1\r\nhost: m\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        long_head.as_bytes(),
        many_fields.as_bytes(),
    ] {
        let said = rest(stage.connect(words));
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
        stage.assert_serves();
    }
    assert_eq!(stage.fake.acts(), [""; 0]);
}

#[test]
fn what_cannot_be_read_as_a_request_is_refused_without_a_body() {
    let stage = Stage::new();
    let long = format!("GET /v1/ping HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    for (words, status) in [(long.as_str(), "431"), ("no HTTP at all\r\n\r\n", "400")] {
        let said = rest(stage.connect(words.as_bytes()));
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{said}");
        assert!(said.ends_with("\r\n\r\n"), "{said}");
    }
}

#[test]
fn a_request_that_is_not_whole_is_given_up() {
    let stage = Stage::new();
    let whole = request("POST", "/v1/apps/shop/scale", r#"{"to":"+1"}"#);
    let head = whole.len() - r#"{"to":"+1"}"#.len();
    let began = Instant::now();
    let stuck = [0, 1, head - 1, head, whole.len() - 1].map(|len| stage.connect(&whole[..len]));
    stage.assert_serves();
    for stream in stuck {
        assert_eq!(rest(stream), b"");
        assert!(began.elapsed() >= REQUEST_TIMEOUT);
    }
    // Its client hung up in the middle of it.
    drop(stage.connect(&whole[..whole.len() - 1]));
    assert_eq!(answer(stage.connect(&whole)).0, 200);
    assert_eq!(stage.fake.acts(), ["scale shop to +1"]);
}

#[test]
fn a_client_that_dribbles_is_given_up_as_if_it_were_silent() {
    let stage = Stage::new();
    let mut stream = stage.connect(b"");
    let began = Instant::now();
    // The read that waits for an answer is what paces the dribble.
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    for byte in request("GET", "/v1/ping", "").iter().cycle() {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        match stream.read(&mut [0; 1]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => stage.assert_serves(),
            _ => break,
        }
        assert!(began.elapsed() < PATIENCE);
    }
    assert!(began.elapsed() >= REQUEST_TIMEOUT);
}

#[test]
fn the_longest_silent_client_gives_way_when_all_places_are_taken() {
    let stage = Stage::new();
    let mut silent: Vec<UnixStream> = (0..CLIENTS_MAX)
        .map(|_| stage.connect(b"GET /v1"))
        .collect();
    stage.assert_serves();
    until("one has been sent away", || {
        silent.iter_mut().any(is_dismissed)
    });
    assert!(is_dismissed(&mut silent[0]), "it was not the first");
    let dismissed = silent
        .iter_mut()
        .filter_map(|stream| is_dismissed(stream).then_some(()));
    assert_eq!(dismissed.count(), 1);
    for _ in 0..CLIENTS_MAX {
        stage.assert_serves();
    }
}

#[test]
fn of_a_burst_of_clients_each_gets_an_answer_or_hears_why_not() {
    const BURST: usize = 100;
    let stage = Stage::new();
    for _ in 0..20 {
        let ping = request("GET", "/v1/ping", "");
        let clients: Vec<UnixStream> = (0..BURST).map(|_| stage.connect(&ping)).collect();
        for client in clients {
            let (status, body) = answer(client);
            let is_busy = status == 409 && body["error"]["kind"] == "busy";
            assert!(status == 200 || is_busy, "{status}: {body}");
        }
    }
}

#[test]
fn a_client_that_does_not_read_its_answer_is_given_up() {
    let stage = Stage::new();
    // More than a socket's buffers hold.
    let workers = (0..4000).map(|slot| place(slot, slot + 1)).collect();
    stage.fake.apps.lock().unwrap()[0].places = workers;
    let stream = stage.connect(&request("GET", "/v1/workers", ""));
    let limit = Timespec::try_from(PATIENCE).unwrap();
    let mut descriptors = [PollFd::new(&stream, PollFlags::RDHUP)];
    assert_eq!(poll(&mut descriptors, Some(&limit)).unwrap(), 1);
    let got = rest(stream);
    assert!(got.starts_with(b"HTTP/1.1 200") && !got.ends_with(b"}\n"));
    stage.assert_serves();
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let stage = Stage::new();
    let body = " ".repeat(BODY_MAX + 1);
    let (status, refusal) = stage.ask("POST", "/v1/apps/shop/reload", &body);
    assert_eq!(
        (status, &refusal["error"]["kind"]),
        (413, &"too_large".into())
    );
    assert_eq!(stage.fake.acts(), [""; 0]);
}

#[test]
fn another_user_is_refused_even_where_the_files_would_let_it_in() {
    // Only root can be another user, too; `peer.rs` tests the decision for everybody.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let stage = Stage::new();
    let socket = stage.socket();
    let home = stage.home.directory();
    for (path, mode) in [
        (home.parent().unwrap(), 0o755),
        (home, 0o755),
        (&socket, 0o666),
    ] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    for route in ["/v1/ping", "/v1/workers", "/v1/events"] {
        let answer = as_nobody(&socket, route);
        assert!(
            answer.contains(r#""kind":"not_allowed""#),
            "{route}: {answer}"
        );
    }
    stage.assert_serves();
    assert_eq!(stage.fake.acts(), [""; 0]);
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's client, and it is waited for"
)]
fn as_nobody(socket: &std::path::Path, route: &str) -> String {
    let ran = std::process::Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "curl",
            "-sS",
            "--unix-socket",
        ])
        .arg(socket)
        .arg(format!("http://m{route}"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

#[test]
fn without_a_master_the_client_says_so() {
    let mut stage = Stage::new();
    assert!(stage.client().get::<serde_json::Value>("/v1/ping").is_ok());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(stage.server.take().unwrap().end());
    assert!(!stage.socket().exists());
    let refusal = stage
        .client()
        .get::<serde_json::Value>("/v1/ping")
        .unwrap_err();
    assert_eq!((refusal.kind, refusal.exit_code), (Kind::NoMaster, 4));
    assert!(refusal.message.contains("maitred run"), "{refusal}");
}
