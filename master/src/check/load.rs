//! What the load client wrote down.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead};

use maitred::{Moment, WorkerId};
use serde::Deserialize;

use super::lines::each_line;
use super::{Doubt, Record};
use crate::bench::Outcome;

/// The load as its client saw it.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// In the order in which they ended.
    pub(super) connections: Vec<Connection>,
    pub(super) requests: u64,
    pub(super) failures: Vec<Failure>,
    pub(super) doubts: Vec<Doubt>,
}

/// One connection of the client.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// The client's name for it.
    pub(super) number: u64,
    pub(super) port: Option<u16>,
    pub(super) port_use: u32,
    pub(super) begun: Moment,
    /// Whether it came about.
    pub(super) is_connected: bool,
    pub(super) ended: Moment,
    /// Whether a request on it was answered.
    pub(super) is_answered: bool,
    /// Who answered, if the answers say.
    pub(super) worker: Option<WorkerId>,
}

/// One request that was not answered.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The client's name for its connection.
    pub(super) connection: u64,
    /// Its place on that connection, counted from 1.
    pub(super) number: u64,
    pub(super) outcome: Outcome,
    pub(super) sent: Option<Moment>,
    /// Whether a part of the answer came.
    pub(super) is_begun: bool,
    pub(super) ended: Moment,
    /// The connection had lain idle after an earlier answer.
    pub(super) reused: bool,
    /// An earlier answer had said that it would be the last.
    pub(super) announced: bool,
}

/// What every line has. The rest is read once it is known what it is.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RequestLine {
    connection: u64,
    number: u64,
    reused: bool,
    sent_ns: Option<Moment>,
    first_byte_ns: Option<Moment>,
    end_ns: Moment,
    outcome: Outcome,
    announced: bool,
}

#[derive(Deserialize)]
struct ConnectionLine {
    connection: u64,
    port: Option<u16>,
    port_use: u32,
    connect_ns: Moment,
    connected_ns: Option<Moment>,
    end_ns: Moment,
    /// A number if it is one of ours; other servers may call theirs what they like.
    worker: serde_json::Value,
    requests: u64,
}

#[derive(Deserialize)]
struct EndLine {
    requests: u64,
    unfinished: u64,
}

/// A record that is being read.
#[derive(Default)]
struct Reader {
    load: Load,
    /// Requests told, and whether one was answered, of connections without a line yet: so
    /// many as were open at the same time.
    open: HashMap<u64, (u64, bool)>,
    /// Requests that connections had, and of which there is no line.
    untold: u64,
    has_end: bool,
}

impl Load {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(super) fn read(record: impl BufRead) -> io::Result<Self> {
        let mut reader = Reader::default();
        let stopped = each_line(record, |number, line| reader.take(number, line))?;
        let mut load = reader.load;
        load.doubts.extend(stopped);
        if load.doubts.is_empty() && !reader.has_end {
            load.doubts.push(Doubt::NoEnd(Record::Load));
        }
        if load.doubts.is_empty() && (reader.untold > 0 || !reader.open.is_empty()) {
            let (told, made) = (load.requests, load.requests + reader.untold);
            load.doubts.push(Doubt::Requests { told, made });
        }
        Ok(load)
    }
}

impl Reader {
    fn take(&mut self, number: u64, line: &[u8]) -> Option<Doubt> {
        if self.has_end {
            return Some(Doubt::BehindEnd(Record::Load));
        }
        // A line that was cut off is what a kill leaves behind.
        self.understand(line)
            .err()
            .map(|error| match error.is_eof() {
                true => Doubt::NoEnd(Record::Load),
                false => Doubt::BadLine {
                    file: Record::Load,
                    number,
                    reason: error.to_string(),
                },
            })
    }

    fn understand(&mut self, line: &[u8]) -> serde_json::Result<()> {
        match &*serde_json::from_slice::<Kind<'_>>(line)?.kind {
            "request" => self.take_request(&serde_json::from_slice(line)?),
            "connection" => self.take_connection(&serde_json::from_slice(line)?),
            "end" => self.take_end(&serde_json::from_slice(line)?),
            // How the load was begun.
            _ => {}
        }
        Ok(())
    }

    fn take_request(&mut self, request: &RequestLine) {
        self.load.requests += 1;
        let is_ok = request.outcome == Outcome::Ok;
        let (told, is_answered) = self.open.entry(request.connection).or_default();
        *told += 1;
        *is_answered |= is_ok;
        if !is_ok {
            self.load.failures.push(Failure {
                connection: request.connection,
                number: request.number,
                outcome: request.outcome,
                sent: request.sent_ns,
                is_begun: request.first_byte_ns.is_some(),
                ended: request.end_ns,
                reused: request.reused,
                announced: request.announced,
            });
        }
    }

    fn take_connection(&mut self, line: &ConnectionLine) {
        let (told, is_answered) = self.open.remove(&line.connection).unwrap_or_default();
        self.untold += line.requests.abs_diff(told);
        let worker = line.worker.as_u64().and_then(|id| u32::try_from(id).ok());
        self.load.connections.push(Connection {
            number: line.connection,
            port: line.port,
            port_use: line.port_use,
            begun: line.connect_ns,
            is_connected: line.connected_ns.is_some(),
            ended: line.end_ns,
            is_answered,
            worker: worker.map(WorkerId),
        });
    }

    fn take_end(&mut self, line: &EndLine) {
        self.has_end = true;
        let (made, unfinished, told) = (line.requests, line.unfinished, self.load.requests);
        if unfinished > 0 {
            self.load.doubts.push(Doubt::Unfinished(unfinished));
        }
        if made != told {
            self.load.doubts.push(Doubt::Requests { told, made });
        }
    }
}
