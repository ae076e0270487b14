//! What the lines of a record say.

use maitred::Moment;
use serde::{Deserialize, Serialize};

use crate::bench::answer::Label;
use crate::bench::outcome::Outcome;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(in crate::bench) enum Line {
    /// The first.
    Start(Start),
    /// Written when the request has ended.
    Request(RequestLine),
    /// Written when the connection has ended, after the lines of its requests.
    Connection(ConnectionLine),
    /// The last.
    End(End),
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct Start {
    pub(in crate::bench) url: String,
    pub(in crate::bench) connections: u32,
    pub(in crate::bench) pipelining: u32,
    pub(in crate::bench) close: bool,
    pub(in crate::bench) start_ns: Moment,
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct RequestLine {
    /// Its connection, counted from 1.
    pub(in crate::bench) connection: u64,
    /// The client's port; absent if the kernel gave none.
    pub(in crate::bench) port: Option<u16>,
    /// For which time this load uses that port, counted from 1.
    pub(in crate::bench) port_use: u32,
    /// Its place among those of the connection, counted from 1.
    pub(in crate::bench) number: u64,
    /// Whether it was sent on a connection that lay idle after an earlier answer. Such a
    /// connection may be closed by the server just then, which nobody is to blame for.
    pub(in crate::bench) reused: bool,
    /// When the write that has its first byte began; absent if it was never sent.
    pub(in crate::bench) sent_ns: Option<Moment>,
    pub(in crate::bench) first_byte_ns: Option<Moment>,
    pub(in crate::bench) end_ns: Moment,
    /// Who answered; without an answer, who answered before on the same connection.
    pub(in crate::bench) worker: Option<Label>,
    pub(in crate::bench) status: Option<u16>,
    pub(in crate::bench) outcome: Outcome,
    /// Whether an earlier answer on the connection said that it would be the last.
    pub(in crate::bench) announced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bench) reason: Option<String>,
}

/// How a connection went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct ConnectionLine {
    /// Counted from 1.
    pub(in crate::bench) connection: u64,
    pub(in crate::bench) port: Option<u16>,
    pub(in crate::bench) port_use: u32,
    pub(in crate::bench) connect_ns: Moment,
    /// Absent if it did not come about.
    pub(in crate::bench) connected_ns: Option<Moment>,
    pub(in crate::bench) end_ns: Moment,
    pub(in crate::bench) worker: Option<Label>,
    /// Requests that were meant for it.
    pub(in crate::bench) requests: u64,
    /// That of the first request which failed on it; `ok` if none did.
    pub(in crate::bench) outcome: Outcome,
}

/// What was counted, for comparison with the lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::bench) struct End {
    pub(in crate::bench) end_ns: Moment,
    pub(in crate::bench) requests: u64,
    /// Requests without a line, since somebody would not wait for them.
    pub(in crate::bench) unfinished: u64,
}
