//! What the dispatcher is told, and what it answers: the whole border to the outside.
//!
//! From the tense alone one sees which way a value flows. Facts are past tense, for they
//! have happened and nobody can refuse them; orders are imperative.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::policy::PolicyName;
use crate::id::{ConnectionId, HandoffId, ServerId, SlotId, WorkerId};

/// A fact that the shell observed. Facts are never refused.
///
/// A fact may come late: a worker that is gone can still have acks on the way. What names
/// a worker or a server that the dispatcher does not know is ignored, never a panic, for
/// much of this is written by worker processes that may be broken or hostile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A worker may be handed connections from now on, at most `window` un-acked ones.
    ///
    /// The limit spans all its servers. 0 is taken as 1: a worker that can never be handed
    /// anything would make its servers wait for ever.
    Joined {
        /// The new worker.
        worker: WorkerId,
        /// Its place, which it may have taken over.
        slot: SlotId,
        /// The most handoffs it may have in flight.
        window: u32,
    },
    /// A worker enters a server's rotation.
    Listening {
        /// The worker that now listens.
        worker: WorkerId,
        /// Where it listens.
        server: ServerId,
    },
    /// A worker leaves one server's rotation; what is in flight to it still settles.
    Closed {
        /// The worker that closed its listener.
        worker: WorkerId,
        /// The server it left.
        server: ServerId,
    },
    /// A worker leaves every rotation for good; what is in flight to it still settles.
    Draining(WorkerId),
    /// A worker that rested after a reject has room again.
    Ready(WorkerId),
    /// A worker took a connection: from now on only that worker may touch it.
    Acked {
        /// Who answers.
        worker: WorkerId,
        /// Which handoff is answered.
        handoff: HandoffId,
    },
    /// A worker gave a connection back unread, or the shell could not send it.
    Rejected {
        /// Who answers.
        worker: WorkerId,
        /// Which handoff is answered.
        handoff: HandoffId,
    },
    /// A worker is dead, and whether it took this connection will never be known: what it had
    /// still to say ended in the middle of another word. Followed by [`Input::WorkerGone`].
    AnswerLost {
        /// Who owed the answer.
        worker: WorkerId,
        /// Which handoff it was about.
        handoff: HandoffId,
    },
    /// The shell accepted a client's connection.
    Accepted {
        /// Its name from now on; the master never gives the same name twice.
        connection: ConnectionId,
        /// The listener it came through.
        server: ServerId,
        /// Who connected; absent for Unix sockets.
        client: Option<SocketAddr>,
    },
    /// A worker is gone for certain: its process is reaped, its channel read to the end.
    ///
    /// Both matter. Before the reap it might still read from a connection; before the end
    /// of the channel an ack might still be waiting. Reported a moment too early, this fact
    /// gives one connection to two workers.
    WorkerGone(WorkerId),
    /// The master listens on a new server. Accepting starts paused.
    ///
    /// If a closed server's name is used again, what still comes back from the former one
    /// waits for the workers of the new one.
    ServerOpened {
        /// The new server.
        server: ServerId,
        /// How its connections are spread.
        policy: PolicyName,
        /// The most connections that may wait in the master, requeued ones not counted.
        pending_max: usize,
    },
    /// A server's connections are to be spread in another way from now on.
    ///
    /// What is in flight settles as it would have, and what waits is spread anew. Ignored where
    /// the workers accept for themselves, or would then.
    PolicyChanged {
        /// The server.
        server: ServerId,
        /// How its connections are spread from now on.
        policy: PolicyName,
    },
    /// A worker told how many connections it has open.
    Reported {
        /// Who.
        worker: WorkerId,
        /// How many, wherever they came from.
        open: u32,
    },
    /// A worker has another share under policy `weighted`; it begins with 1.
    ///
    /// With 0 it gets only what nobody else has room for.
    Weighed {
        /// Whose share.
        worker: WorkerId,
        /// How much, in relation to the other workers' weights.
        weight: u32,
    },
    /// The master closed the listener: what waits for it is refused.
    ///
    /// No `PauseAccept` follows, for there is nothing left to pause. What is in flight
    /// still settles, and is refused if it comes back.
    ServerClosed(ServerId),
    /// Time has passed and nothing happened. No policy needs it yet.
    Tick,
}

/// An order for the shell. Orders are performed first to last.
///
/// An order that cannot be performed is not an error to swallow: a `HandOff` that could not
/// be sent is reported as [`Input::Rejected`] or, if the channel broke, in the end as
/// [`Input::WorkerGone`]. Until one of them comes the connection counts as in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Send this connection to this worker, and keep the master's own copy.
    HandOff {
        /// The name of this attempt; the worker's answer carries it.
        handoff: HandoffId,
        /// What to send.
        connection: ConnectionId,
        /// To whom.
        worker: WorkerId,
        /// The server it came through, which tells the worker which listener it belongs to.
        server: ServerId,
    },
    /// Close the master's copy: the worker has acked, so the connection is the worker's.
    Release {
        /// What to close.
        connection: ConnectionId,
        /// Whose it is now.
        worker: WorkerId,
    },
    /// Close the connection: no worker will serve it.
    Refuse {
        /// What to close.
        connection: ConnectionId,
        /// Why, for the log and the counters.
        reason: RefusalReason,
    },
    /// Stop accepting on this server: clients wait in the kernel's backlog.
    PauseAccept(ServerId),
    /// Accept on this server again, trying at once: the readiness edge may have passed.
    ResumeAccept(ServerId),
    /// Have the kernel give connections to this worker, too: it is in the rotation of a server
    /// whose policy is `kernel`. Ordered once, until the worker leaves it.
    JoinRotation {
        /// Who takes turns from now on.
        worker: WorkerId,
        /// Where.
        server: ServerId,
    },
    /// Have the kernel give this worker no more connections. What it was given and has not
    /// accepted is to be accepted for the others. Nothing is ordered about a server that is
    /// closed: its rotation goes with it.
    LeaveRotation {
        /// Who takes no more turns.
        worker: WorkerId,
        /// Where.
        server: ServerId,
    },
    /// Kill this worker: it broke the protocol. [`Input::WorkerGone`] is expected later.
    Expel {
        /// Who.
        worker: WorkerId,
        /// What it did.
        breach: Breach,
    },
}

impl Effect {
    /// Returns the connection whose time in the master ends with this order, if one does.
    ///
    /// Over a whole run each accepted connection is returned exactly once.
    #[must_use]
    pub fn ended_connection(&self) -> Option<ConnectionId> {
        match *self {
            Self::Release { connection, .. } | Self::Refuse { connection, .. } => Some(connection),
            Self::HandOff { .. }
            | Self::PauseAccept(_)
            | Self::ResumeAccept(_)
            | Self::JoinRotation { .. }
            | Self::LeaveRotation { .. }
            | Self::Expel { .. } => None,
        }
    }
}

/// Why a connection is closed without having been served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusalReason {
    /// It was accepted although accepting was paused, and the pending queue was full.
    PendingFull,
    /// Too many workers went away while they held it: it may be what kills them.
    WorkersDied,
    /// Every worker in the rotation has given it back more than once.
    RejectedByAll,
    /// Its server was closed, or was never open.
    ServerClosed,
    /// Its server's workers accept for themselves; the master should not have.
    SharedServer,
    /// Its worker died, and may have read from it: it shares that worker's fate, like one that
    /// was acked.
    AnswerLost,
}

/// How a worker broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Breach {
    /// It acked a handoff that is not in flight to it.
    AckedUnknown(HandoffId),
    /// It rejected a handoff that is not in flight to it.
    RejectedUnknown(HandoffId),
}
