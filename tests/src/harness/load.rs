//! A small load that writes down what became of each request, as `maitred bench` does.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use maitred::Moment;
use serde_json::{Value, json};

use super::client::{Answer, Client};

/// A load, and its record. Threads share one.
#[derive(Debug, Default)]
pub struct Load {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    lines: Vec<Value>,
    connections: u64,
    port_uses: HashMap<u16, u32>,
}

impl Load {
    /// Asks once, on a connection of its own, and records how that went.
    ///
    /// # Errors
    ///
    /// Those of connecting and asking.
    pub fn get(&self, address: SocketAddr, path: &str) -> io::Result<Answer> {
        let connect = Moment::now();
        let mut client = Client::connect(address)?;
        let connected = Moment::now();
        let port = client.port()?;
        let answer = client.ask(path, "close").and_then(|()| client.answer());
        let (ended, outcome) = (Moment::now(), outcome(&answer));
        let worker = answer.as_ref().ok().map(|answer| answer.worker().0);
        // The port may be used again only once the use is counted.
        let mut told = self.told();
        let (connection, port_use) = told.count(port);
        told.lines.push(
            json!({"kind": "request", "connection": connection, "port": port,
            "port_use": port_use, "number": 1, "reused": false, "sent_ns": connected,
            "first_byte_ns": null, "end_ns": ended, "worker": worker, "status": null,
            "outcome": outcome, "announced": false}),
        );
        told.lines.push(
            json!({"kind": "connection", "connection": connection, "port": port,
            "port_use": port_use, "connect_ns": connect, "connected_ns": connected,
            "end_ns": ended, "worker": worker, "requests": 1, "outcome": outcome}),
        );
        drop(told);
        drop(client);
        answer
    }

    /// Writes the record.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn write(&self, file: &Path) {
        let told = self.told();
        let end = json!({"kind": "end", "end_ns": Moment::now(), "requests": told.connections,
            "unfinished": 0});
        let lines = told.lines.iter().chain([&end]);
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(file, text).expect("the directory is the test's own");
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// Returns the number of a new connection, and of its use of its port.
    fn count(&mut self, port: u16) -> (u64, u32) {
        self.connections += 1;
        let uses = self.port_uses.entry(port).or_default();
        *uses += 1;
        (self.connections, *uses)
    }
}

fn outcome(answer: &io::Result<Answer>) -> &'static str {
    match answer.as_ref().map_err(io::Error::kind) {
        Ok(_) => "ok",
        Err(io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) => "closed_before_answer",
        Err(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => "timeout",
        Err(io::ErrorKind::InvalidData) => "bad_answer",
        Err(_) => "reset_before_answer",
    }
}
