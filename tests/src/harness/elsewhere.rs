//! Clients with addresses of their own: all of 127.0.0.0/8 is this machine.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::DEADLINE;
use super::client::{Answer, Client};

/// Returns the address of one client of many.
#[must_use]
pub fn resident(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, number).into()
}

/// Connects from an address of this machine.
///
/// # Errors
///
/// Those of the system calls.
pub fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// As [`get`](super::client::get), from an address of this machine.
///
/// # Errors
///
/// Those of connecting and of the answer.
pub fn get_from(from: IpAddr, to: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut client = Client::over(connect_from(from, to)?);
    client.ask(path, "close")?;
    client.answer()
}

/// Sends a body, or none, on a connection of its own; returns the status and the answer's body.
///
/// # Errors
///
/// Those of connecting, and that the answer is none.
pub fn exchange(
    from: IpAddr,
    to: SocketAddr,
    path: &str,
    body: Option<&str>,
) -> io::Result<(u16, String)> {
    let mut stream = connect_from(from, to)?;
    let method = body.map_or("GET", |_| "POST");
    let body = body.unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let parse = || {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    };
    parse().ok_or_else(|| io::Error::other(format!("no answer but {text:?}")))
}
