//! What a master says to a Node worker: one line of JSON, as Node's own primary writes it.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::message::{BoundAddress, QueryId};
use crate::{ChannelError, HandoffId, ServerId};

/// One encoded line, ready to be sent now or later.
#[derive(Debug)]
pub struct Line {
    /// With its newline.
    pub(super) bytes: Vec<u8>,
    /// Tells it from every other line of its channel.
    pub(super) number: u64,
    pub(super) carries: Carries,
}

/// What travels with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// No descriptor.
    Nothing,
    /// A client connection.
    Connection {
        /// The line's `seq`, which the worker's answer names.
        seq: u64,
        handoff: HandoffId,
        server: ServerId,
    },
    /// A socket to be shared, with the answer to a question.
    Shared {
        query: QueryId,
        /// The question's `seq`.
        ack: u64,
        server: ServerId,
    },
}

impl Line {
    /// Returns its length in bytes, the newline included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no line is without a newline")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether a descriptor must travel with it.
    #[must_use]
    pub fn descriptor(&self) -> bool {
        self.carries != Carries::Nothing
    }

    /// Returns the handoff that this line is, if it is one.
    #[must_use]
    pub fn handoff(&self) -> Option<HandoffId> {
        match self.carries {
            Carries::Connection { handoff, .. } => Some(handoff),
            Carries::Nothing | Carries::Shared { .. } => None,
        }
    }

    /// Returns the question that this line answers with a socket, if it does.
    #[must_use]
    pub fn shared(&self) -> Option<QueryId> {
        match self.carries {
            Carries::Shared { query, .. } => Some(query),
            Carries::Nothing | Carries::Connection { .. } => None,
        }
    }
}

/// The key by which a worker knows a server. It is opaque to Node, and asked to be unique
/// among the worker's live listens.
pub(super) fn key(server: ServerId) -> String {
    server.to_string()
}

/// Whatever belongs to Node's cluster.
const CLUSTER: &str = "NODE_CLUSTER";

/// Something the worker is told to do, or is told about.
#[derive(Debug, Serialize)]
pub(super) struct Act {
    cmd: &'static str,
    act: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    seq: u64,
}

impl Act {
    pub(super) fn disconnect(seq: u64) -> Self {
        Self {
            cmd: CLUSTER,
            act: "disconnect",
            key: None,
            seq,
        }
    }

    pub(super) fn new_connection(server: ServerId, seq: u64) -> Self {
        Self {
            cmd: CLUSTER,
            act: "newconn",
            key: Some(key(server)),
            seq,
        }
    }
}

/// The answer to a question that needs no more than an answer.
#[derive(Debug, Serialize)]
pub(super) struct Ack {
    cmd: &'static str,
    ack: u64,
    seq: u64,
}

impl Ack {
    pub(super) fn new(ack: u64, seq: u64) -> Self {
        Self {
            cmd: CLUSTER,
            ack,
            seq,
        }
    }
}

/// The answer to a `queryServer`.
#[derive(Debug, Serialize)]
pub(super) struct Reply<'a> {
    cmd: &'static str,
    /// Negative as libuv has it: a positive one, or a name, makes the worker crash. `None`
    /// and 0 are success.
    errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    ack: u64,
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockname: Option<SocketName>,
    seq: u64,
}

impl<'a> Reply<'a> {
    pub(super) fn granted(server: ServerId, bound: &BoundAddress, seq: u64) -> Self {
        Self {
            cmd: CLUSTER,
            errno: None,
            key: Some(key(server)),
            ack: 0,
            data: None,
            sockname: SocketName::of(bound),
            seq,
        }
    }

    /// The reply that goes with a descriptor, of which the worker asks everything else.
    pub(super) fn shared(server: ServerId, seq: u64) -> Self {
        Self {
            cmd: CLUSTER,
            errno: Some(0),
            key: Some(key(server)),
            ack: 0,
            data: None,
            sockname: None,
            seq,
        }
    }

    /// `errno` is positive, as in errno(3).
    pub(super) fn refused(errno: i32, seq: u64) -> Self {
        Self {
            cmd: CLUSTER,
            errno: Some(-errno.saturating_abs()),
            key: None,
            ack: 0,
            data: None,
            sockname: None,
            seq,
        }
    }

    pub(super) fn answering(mut self, ack: u64, data: Option<&'a RawValue>) -> Self {
        self.ack = ack;
        self.data = data;
        self
    }
}

/// Where a server really listens, in Node's words. The port must be the one asked for, else
/// the worker itself makes `EADDRINUSE` of it.
#[derive(Debug, Serialize)]
struct SocketName {
    address: String,
    family: &'static str,
    port: u16,
}

impl SocketName {
    fn of(bound: &BoundAddress) -> Option<Self> {
        let BoundAddress::Ip(address) = bound else {
            return None;
        };
        let family = match address {
            SocketAddr::V4(_) => "IPv4",
            SocketAddr::V6(_) => "IPv6",
        };
        Some(Self {
            address: address.ip().to_string(),
            family,
            port: address.port(),
        })
    }
}

/// What wraps a message that has a descriptor.
#[derive(Debug, Serialize)]
pub(super) struct Handle<M> {
    cmd: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    msg: M,
}

impl<M> Handle<M> {
    /// A stream socket.
    pub(super) fn stream(msg: M) -> Self {
        Self {
            cmd: "NODE_HANDLE",
            kind: "net.Native",
            msg,
        }
    }

    /// A UDP socket.
    pub(super) fn datagrams(msg: M) -> Self {
        Self {
            kind: "dgram.Native",
            ..Self::stream(msg)
        }
    }
}

/// A line of the transport itself, which answers one of the worker's.
#[derive(Debug, Serialize)]
pub(super) struct Receipt {
    cmd: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

impl Receipt {
    pub(super) fn handle() -> Self {
        Self {
            cmd: "NODE_HANDLE_ACK",
            key: None,
            count: None,
        }
    }

    /// None of the worker's sockets is open here: each is closed on receipt.
    pub(super) fn all_closed(key: String) -> Self {
        Self {
            cmd: "NODE_SOCKET_ALL_CLOSED",
            key: Some(key),
            count: None,
        }
    }

    pub(super) fn none_open(key: String) -> Self {
        Self {
            cmd: "NODE_SOCKET_COUNT",
            key: Some(key),
            count: Some(0),
        }
    }
}

/// A word for the preload.
#[derive(Debug, Serialize)]
pub(super) struct Preload {
    cmd: &'static str,
    act: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<u64>,
    /// In milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    grace: Option<u64>,
}

impl Preload {
    pub(super) fn ping(nonce: u64) -> Self {
        Self {
            cmd: "NODE_MAITRED",
            act: "ping",
            nonce: Some(nonce),
            grace: None,
        }
    }

    pub(super) fn drain(grace: std::time::Duration) -> Self {
        Self {
            cmd: "NODE_MAITRED",
            act: "drain",
            nonce: None,
            grace: Some(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Writes a line's text, without its newline.
pub(super) fn text<T: Serialize>(word: &T) -> Result<Vec<u8>, ChannelError> {
    serde_json::to_vec(word).map_err(|error| ChannelError::Malformed {
        len: 0,
        reason: error.to_string(),
    })
}

/// Puts one JSON value on one line. A newline can only stand between its parts, where a
/// space means the same.
pub(super) fn on_one_line(json: &str) -> Vec<u8> {
    let space = |byte| if byte == b'\n' { b' ' } else { byte };
    json.bytes().map(space).collect()
}
