//! A small blocking HTTP client that hides nothing: what fails, fails, and is never retried.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use maitred::WorkerId;

use super::DEADLINE;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the number of the worker that answered.
    ///
    /// # Panics
    ///
    /// If the answer does not say.
    #[must_use]
    pub fn worker(&self) -> WorkerId {
        let worker = self
            .headers
            .get("x-worker-id")
            .and_then(|id| id.parse().ok());
        WorkerId(worker.unwrap_or_else(|| panic!("no worker is named in {self:?}")))
    }

    /// Returns the body as text.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client<S: Read + Write = TcpStream> {
    stream: BufReader<S>,
}

impl Client {
    /// Connects; reading and writing give up at the deadline.
    ///
    /// # Errors
    ///
    /// Those of connecting.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self::over(stream))
    }

    /// Returns the port on this side.
    ///
    /// # Errors
    ///
    /// Those of asking the socket.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.stream.get_ref().local_addr()?.port())
    }
}

impl<S: Read + Write> Client<S> {
    /// Speaks over a connection that exists.
    pub fn over(stream: S) -> Self {
        let stream = BufReader::new(stream);
        Self { stream }
    }

    /// Asks, and leaves the connection open.
    ///
    /// # Errors
    ///
    /// Those of the socket; `UnexpectedEof` when it ends before the answer does.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(path, "keep-alive")?;
        self.answer()
    }

    /// Sends a question and does not wait for the answer.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn ask(&mut self, path: &str, connection: &str) -> io::Result<()> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n\r\n");
        self.stream.get_mut().write_all(head.as_bytes())
    }

    /// Reads one answer.
    ///
    /// # Errors
    ///
    /// Those of the socket; `UnexpectedEof` when it ends before the answer does.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        answer.body = self.body(&answer.headers)?;
        Ok(answer)
    }

    /// Reads what still comes until the server closes the connection.
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn rest(mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Reads an answer's head only, and leaves its body, if it has one, to whoever wants it.
    ///
    /// # Errors
    ///
    /// Those of the socket; `UnexpectedEof` when it ends before the head does.
    pub fn head(&mut self) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(ErrorKind::InvalidData)?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        Ok(Answer {
            status,
            headers,
            body: Vec::new(),
        })
    }

    fn body(&mut self, headers: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            let length: usize = length.parse().map_err(|_| ErrorKind::InvalidData)?;
            body.resize(length, 0);
            self.stream.read_exact(&mut body)?;
        } else if headers
            .get("transfer-encoding")
            .is_some_and(|coding| coding == "chunked")
        {
            while self.chunk(&mut body)? {}
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    /// Reads one chunk; returns whether it was not the last.
    fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| ErrorKind::InvalidData)?;
        let begin = body.len();
        body.resize(begin + size, 0);
        self.stream.read_exact(&mut body[begin..])?;
        self.line()?;
        Ok(size > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.trim_end_matches('\r').to_owned()),
            None => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Asks on a connection of its own, which the server closes after the answer.
///
/// # Errors
///
/// Those of connecting and asking.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut client = Client::connect(address)?;
    client.ask(path, "close")?;
    client.answer()
}

/// Counts answers by worker.
#[must_use]
pub fn per_worker<'a>(answers: impl IntoIterator<Item = &'a Answer>) -> BTreeMap<WorkerId, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.worker()).or_default() += 1;
    }
    counts
}
