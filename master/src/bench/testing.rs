//! What the tests of the load client share: small servers that do as they are told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::options::{Length, Options};
use super::outcome::Outcome;
use super::record::{ConnectionLine, End, Line, RequestLine};

/// The answer of a server that has nothing to say.
pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-worker-id: 1\r\n\r\nok";

/// The smallest load there is: one request.
pub(super) fn options(url: &str) -> Options {
    Options {
        target: url.parse().unwrap(),
        connections: 1,
        pipelining: 1,
        length: Length::Amount(1),
        timeout: Duration::from_secs(10),
        think: None,
        close: false,
        method: "GET".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        record: None,
    }
}

/// A server on a thread of its own, with a thread for each connection. Dropping it ends it.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicU64>,
    pub(super) requests: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// A server that runs `script` for each connection.
    pub(super) fn start(script: impl Fn(&mut Guest) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            is_over: Arc::default(),
            acceptor: None,
        };
        let (connections, is_over) = (server.connections.clone(), server.is_over.clone());
        let (requests, script) = (server.requests.clone(), Arc::new(script));
        server.acceptor = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                let mut guest = Guest::new(stream.unwrap(), requests.clone());
                let script = script.clone();
                thread::spawn(move || script(&mut guest));
            }
        }));
        server
    }

    /// Options for one request to this server.
    pub(super) fn options(&self) -> Options {
        options(&format!("http://{}/", self.address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // It sees that it is over with the next connection.
        TcpStream::connect(self.address).unwrap();
        self.acceptor.take().unwrap().join().unwrap();
    }
}

/// A connection as its server sees it.
pub(super) struct Guest {
    stream: BufReader<TcpStream>,
    requests: Arc<AtomicU64>,
}

impl Guest {
    fn new(stream: TcpStream, requests: Arc<AtomicU64>) -> Self {
        let stream = BufReader::new(stream);
        Self { stream, requests }
    }

    /// Reads one request; returns false if there is none any more.
    pub(super) fn read_request(&mut self) -> bool {
        let (mut line, mut length) = (String::new(), 0);
        while self.stream.read_line(&mut line).is_ok_and(|read| read > 0) {
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                self.stream.read_exact(&mut vec![0; length]).unwrap();
                self.requests.fetch_add(1, Ordering::SeqCst);
                return true;
            }
            line.clear();
        }
        false
    }

    /// Writes; a client that left is none of its business.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap_or_default();
    }

    /// Waits until the client leaves.
    pub(super) fn wait(&mut self) {
        self.stream
            .get_mut()
            .read_to_end(&mut Vec::new())
            .unwrap_or_default();
    }

    /// Says that nothing more will come.
    pub(super) fn close(&mut self) {
        self.stream.get_mut().shutdown(Shutdown::Write).unwrap();
        self.wait();
    }

    /// Resets the connection.
    pub(super) fn reset(&mut self) {
        let stream = self.stream.get_mut();
        rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO)).unwrap();
        // Closed for good when the guest is dropped, which is next.
    }
}

/// A server that answers every request with `answer`.
pub(super) fn answering(answer: &'static [u8]) -> Server {
    Server::start(move |guest| {
        while guest.read_request() {
            guest.write(answer);
        }
    })
}

/// What a load has left behind.
pub(super) struct Left {
    pub(super) json: serde_json::Value,
    pub(super) is_clean: bool,
    pub(super) requests: Vec<RequestLine>,
    pub(super) connections: Vec<ConnectionLine>,
    pub(super) end: End,
}

impl Left {
    /// The outcomes of all requests, as they ended.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        self.requests
            .iter()
            .map(|request| request.outcome)
            .collect()
    }

    pub(super) fn total(&self, name: &str) -> u64 {
        self.json["totals"][name].as_u64().unwrap()
    }
}

/// Runs a load with a record, and reads both.
pub(super) fn run(options: &Options) -> Left {
    run_at(options, &options.target.resolve().unwrap())
}

/// As [`run`], but with these addresses.
pub(super) fn run_at(options: &Options, addresses: &[SocketAddr]) -> Left {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("record");
    let options = Options {
        record: Some(path.clone()),
        ..options.clone()
    };
    let results = super::run_at(&options, addresses).unwrap();
    let (json, is_clean) = (results.json().unwrap(), results.is_clean());
    results.into_record().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines: Vec<Line> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let Some(Line::End(end)) = lines.pop() else {
        panic!("the record has no end: {text}");
    };
    let (mut requests, mut connections) = (Vec::new(), Vec::new());
    for (place, line) in lines.into_iter().enumerate() {
        match line {
            Line::Start(_) => assert_eq!(place, 0),
            Line::Request(request) => requests.push(request),
            Line::Connection(connection) => connections.push(connection),
            Line::End(_) => panic!("the record ends twice: {text}"),
        }
    }
    assert_eq!(end.requests, requests.len() as u64, "{text}");
    let json = serde_json::from_str(&json).unwrap();
    Left {
        json,
        is_clean,
        requests,
        connections,
        end,
    }
}
