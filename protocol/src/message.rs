//! What travels on the dispatch link: one enum each way.
//!
//! Messages are data; which descriptor goes with which message is part of the type's
//! contract ([`MasterToWorker::descriptor`]) and is enforced where frames are received.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use maitred_core::id::{Generation, HandoffId, ServerId, SlotId, WorkerId};
use serde::{Deserialize, Serialize};

use crate::encoding;

/// What the master tells a worker.
///
/// The order of variants is part of the wire format: new ones go to the end, with a line in
/// [`version`](crate::version).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MasterToWorker {
    /// Answers [`WorkerToMaster::Hello`]; the first thing a worker receives.
    Welcome(Welcome),
    /// Answers [`WorkerToMaster::QueryServer`]. With [`ServerOutcome::Shared`] a descriptor
    /// travels along.
    ServerReply {
        /// The question this answers.
        query: QueryId,
        /// What became of it.
        outcome: ServerOutcome,
    },
    /// One client connection; its socket travels along. Answered by exactly one
    /// [`Ack`](WorkerToMaster::Ack) or [`Reject`](WorkerToMaster::Reject).
    NewConnection {
        /// Names this attempt in the answer.
        handoff: HandoffId,
        /// The server whose listener accepted it.
        server: ServerId,
        /// The client's address; `None` for Unix sockets.
        #[serde(with = "encoding::optional_address")]
        client: Option<SocketAddr>,
    },
    /// Take no more connections and finish those you hold. No answer.
    Drain {
        /// How long idle keep-alive connections may stay before they are closed.
        grace: Duration,
    },
    /// Close your servers, and the channel when the last connection is done. The answer is
    /// the end of the channel.
    Disconnect,
    /// Answers [`WorkerToMaster::ExitedAfterDisconnect`]: your exit counts as wanted.
    ExitedAfterDisconnectAck,
    /// A message from the program that runs the master, for the program in the worker.
    User(UserMessage),
    /// Asks for a [`WorkerToMaster::Pong`] with the same number.
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
}

/// What a worker tells the master. No descriptor ever travels this way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerToMaster {
    /// The first frame of every worker. Its shape never changes, so that any two versions
    /// can at least find out that they differ.
    Hello {
        /// The protocol version that the worker speaks.
        version: u16,
        /// The worker's own process id, for the record: the master trusts its own.
        pid: u32,
    },
    /// The worker has started and can be talked to.
    Online,
    /// Asks for a server to listen on; answered by [`MasterToWorker::ServerReply`].
    QueryServer(ServerQuery),
    /// The worker takes connections of this server from now on.
    Listening {
        /// Which server.
        server: ServerId,
    },
    /// The worker has closed its listener of this server.
    Close {
        /// Which server.
        server: ServerId,
    },
    /// The worker has taken the connection and will read it: the master may close its copy.
    Ack {
        /// Which handoff.
        handoff: HandoffId,
    },
    /// The worker did not take the connection and has read nothing of it.
    Reject {
        /// Which handoff.
        handoff: HandoffId,
        /// Why.
        reason: RejectReason,
    },
    /// A worker that rejected has room again.
    Ready,
    /// The worker is leaving of its own will; answered by
    /// [`MasterToWorker::ExitedAfterDisconnectAck`].
    ExitedAfterDisconnect,
    /// A message from the program in the worker, for the program that runs the master.
    User(UserMessage),
    /// Answers [`MasterToWorker::Ping`].
    Pong {
        /// The number of the ping.
        nonce: u64,
    },
    /// What the worker counts of its own work, once a second while it changes; in a drain at
    /// its beginning and four times a second.
    Statistics(Statistics),
}

impl MasterToWorker {
    /// Returns whether exactly one descriptor travels with this message (else none does).
    #[must_use]
    pub fn descriptor(&self) -> bool {
        match self {
            Self::NewConnection { .. } => true,
            Self::ServerReply { outcome, .. } => matches!(outcome, ServerOutcome::Shared { .. }),
            Self::Welcome(_)
            | Self::Drain { .. }
            | Self::Disconnect
            | Self::ExitedAfterDisconnectAck
            | Self::User(_)
            | Self::Ping { .. } => false,
        }
    }
}

/// Who the worker is, as the master sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version that the master speaks.
    pub version: u16,
    /// The worker's number, never used twice.
    pub worker: WorkerId,
    /// The worker's place, which its successor will take over.
    pub slot: SlotId,
    /// The set of workers it belongs to.
    pub generation: Generation,
    /// How many handoffs the master may have in flight to it.
    pub window: u32,
}

/// Names one [`WorkerToMaster::QueryServer`] within its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueryId(pub u32);

/// A worker's wish to listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerQuery {
    /// Names the question in its answer.
    pub query: QueryId,
    /// Where to listen.
    pub address: ListenAddress,
    /// Tells a worker's several listens on port 0 of one address apart: its n-th such listen
    /// shares a port with the n-th of every other worker. 0 for fixed ports.
    pub index: u32,
    /// How to listen; the first worker that asks decides.
    pub options: ListenOptions,
    /// Opaque bytes for all workers of this server; the first ones given are kept and handed
    /// to everyone who asks (Node shares TLS ticket keys so).
    #[serde(with = "encoding::optional_bytes")]
    pub data: Option<Vec<u8>>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ListenAddress {
    /// TCP on one address; port 0 lets the kernel choose.
    Tcp(#[serde(with = "encoding::address")] SocketAddr),
    /// TCP on every address: `[::]` with IPv4 as well, or `0.0.0.0` where there is no IPv6.
    TcpAny {
        /// The port, or 0.
        port: u16,
    },
    /// A Unix stream socket at an absolute path.
    Unix(PathBuf),
    /// UDP on one address. Always shared: every worker gets the same socket.
    Udp(#[serde(with = "encoding::address")] SocketAddr),
    /// A listening socket that the master itself inherited, by its number there.
    Inherited {
        /// The descriptor's number in the master.
        descriptor: i32,
    },
}

/// How to listen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenOptions {
    /// Length of the kernel's queue of finished handshakes; `None` is the system's maximum.
    pub backlog: Option<u32>,
    /// An IPv6 socket refuses IPv4 clients.
    pub ipv6_only: bool,
    /// A Unix path is readable by everyone.
    pub readable_all: bool,
    /// A Unix path is writable by everyone, so that everyone may connect.
    pub writable_all: bool,
}

/// What became of a [`ServerQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServerOutcome {
    /// The master accepts; connections come as [`MasterToWorker::NewConnection`].
    HandedOver {
        /// The server's name in all that follows.
        server: ServerId,
        /// Where it really listens.
        bound: BoundAddress,
        /// The bytes that the first worker gave.
        #[serde(with = "encoding::optional_bytes")]
        data: Option<Vec<u8>>,
    },
    /// The worker gets the socket itself. It shares it with its siblings, or under policy
    /// `kernel` has it for itself, and is handed what is left over as well.
    Shared {
        /// The server's name in all that follows.
        server: ServerId,
        /// Where it really listens.
        bound: BoundAddress,
        /// The bytes that the first worker gave.
        #[serde(with = "encoding::optional_bytes")]
        data: Option<Vec<u8>>,
    },
    /// It could not be bound.
    Refused {
        /// The errno, positive as in `errno(3)`.
        errno: i32,
    },
}

/// Where a server really listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BoundAddress {
    /// A TCP or UDP address with its real port.
    Ip(#[serde(with = "encoding::address")] SocketAddr),
    /// A Unix path.
    Unix(PathBuf),
}

impl std::fmt::Display for BoundAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(formatter),
            Self::Unix(path) => path.display().fmt(formatter),
        }
    }
}

/// Why a worker did not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// It serves as many connections as it may.
    Full,
    /// It is draining, or has closed that server.
    Draining,
    /// The kernel could not install the descriptor (the worker is at its limit), or the
    /// worker's runtime could not take it.
    NoDescriptor,
}

/// A message between the user's programs: JSON text, so that Rust and Node workers can be
/// talked to alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMessage {
    /// One JSON value.
    pub json: String,
}

/// What a worker counts of its own work.
///
/// A connection that our HTTP servers serve is of one kind at a time: idle, busy, streaming or
/// upgraded. What is open beyond their sum the program serves in its own way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Connections taken and not yet closed.
    pub open: u32,
    /// Connections taken since the start.
    pub taken: u64,
    /// Requests answered since the start; 0 if the program does not use our HTTP servers.
    pub requests: u64,
    /// Connections without a request: not heard from yet, or kept alive.
    pub idle: u32,
    /// Connections with a request that waits for its answer.
    pub busy: u32,
    /// Connections whose answer has begun and not ended: downloads, event streams.
    pub streaming: u32,
    /// Connections that speak something else by now: WebSocket, CONNECT.
    pub upgraded: u32,
    /// The longest that the program's event loop was late since the last report. Only Node
    /// workers with the preload measure it: a Rust runtime has no one loop to be late.
    pub loop_delay: Option<Duration>,
    /// The part of a JavaScript heap that is in use, in bytes; of Node workers as well.
    pub heap_bytes: Option<u64>,
}
