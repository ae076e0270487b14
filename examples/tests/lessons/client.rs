//! The clients: one request, one connection, one answer.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use crate::DEADLINE;

/// Returns the body of the answer to a GET, which must be a 200.
pub(crate) fn get(address: &str, path: &str) -> String {
    let answer = try_get(address, path);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    assert!(head.starts_with("HTTP/1.1 200"), "GET {path}: {answer:?}");
    body.trim_end().to_owned()
}

/// Asks until so many processes have answered, and returns them.
///
/// A worker may say that it listens a moment before its master has heard it, so who counts
/// turns begins when everybody has had one.
pub(crate) fn meet(address: &str, count: usize) -> BTreeSet<i32> {
    let until = Instant::now() + DEADLINE;
    let mut met = BTreeSet::new();
    while met.len() < count {
        assert!(Instant::now() < until, "only {met:?} answered, of {count}");
        met.insert(number(&get(address, "/")));
    }
    met
}

/// Returns whatever comes in answer to a GET, which may be nothing.
pub(crate) fn try_get(address: &str, path: &str) -> String {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    ask(stream, path)
}

/// As [`get`], over a Unix socket.
pub(crate) fn get_unix(socket: &str) -> String {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let answer = ask(stream, "/");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    answer
}

fn ask(mut stream: impl Read + Write, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    // A server that dies instead of answering resets the connection: then nothing came.
    if stream.write_all(request.as_bytes()).is_ok() {
        stream.read_to_end(&mut answer).unwrap_or_default();
    }
    String::from_utf8(answer).unwrap()
}

/// Says `text` to the echo server, checks that it comes back, and returns its greeting.
pub(crate) fn echo(address: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    writeln!(stream, "{text}").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let lines: Vec<String> = BufReader::new(stream).lines().map(Result::unwrap).collect();
    assert_eq!(lines[1..], [text]);
    lines[0].clone()
}

/// Sends one datagram and returns the answer.
pub(crate) fn datagram(address: &str, text: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.send_to(text.as_bytes(), address).unwrap();
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length])
        .trim_end()
        .to_owned()
}

/// Returns the first number in a text: the lessons' answers have the pid there.
pub(crate) fn number(text: &str) -> i32 {
    let mut digits = text.split(|c: char| !c.is_ascii_digit());
    let first = digits.find(|digits| !digits.is_empty());
    first
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no number: {text:?}"))
}
