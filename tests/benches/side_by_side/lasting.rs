//! Connections that stay open and idle while others come and go.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::process::{Resource, getrlimit, setrlimit};

/// Open connections, each of which has had an answer.
#[derive(Debug)]
pub(crate) struct Held(#[expect(dead_code, reason = "they are held")] Vec<TcpStream>);

impl Held {
    /// Opens so many, one after the other.
    ///
    /// # Errors
    ///
    /// One of them gets no answer; in words.
    pub(crate) fn open(address: SocketAddr, count: usize) -> Result<Self, String> {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).map_err(|error| error.to_string())?;
        let opened: std::io::Result<Vec<_>> = (0..count).map(|_| greet(address)).collect();
        opened
            .map(Self)
            .map_err(|error| format!("hold {count} connections: {error}"))
    }
}

fn greet(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    // The whole answer is a few hundred bytes, and comes in one piece.
    let mut answer = [0; 1024];
    match stream.read(&mut answer)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(stream),
    }
}
