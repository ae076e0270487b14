//! A played worker process: its channel, its mood, its end.

use std::collections::VecDeque;

use maitred_core::id::{ConnectionId, HandoffId, ServerId, SlotId};

/// What a worker writes to its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// It took the connection.
    Acked(HandoffId),
    /// It gave the connection back unread.
    Rejected(HandoffId),
    /// It has room again.
    Ready,
    /// So many connections it has open.
    Reported(u32),
}

/// A worker process as the world knows it; the master sees only its messages.
#[derive(Debug)]
pub struct FakeWorker {
    /// Sent by the master, not yet looked at. What is here when the worker dies was never
    /// read, so the master may give it to others.
    pub inbox: VecDeque<(HandoffId, ConnectionId)>,
    /// Written by the worker, not yet read by the master. It outlives the process, as bytes
    /// in a socket do.
    pub outbox: VecDeque<Message>,
    /// Where it listens, for a change of mind.
    pub servers: Vec<ServerId>,
    /// Its place.
    pub slot: SlotId,
    /// How many connections it has open: those it took, less those that have ended.
    pub open: u32,
    /// How many connections it can be sent at once.
    pub window: usize,
    /// The process is dead, though perhaps not yet reaped.
    pub is_dead: bool,
    /// It does nothing any more, and is not dead.
    pub hangs: bool,
    /// It goes once it owes no answer.
    pub drains: bool,
    /// Never struck by fate: the one that makes sure that everybody is served in the end.
    pub is_steady: bool,
}

impl FakeWorker {
    /// Makes one that has just started.
    #[must_use]
    pub fn new(slot: SlotId, window: usize, is_steady: bool) -> Self {
        Self {
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            servers: Vec::new(),
            slot,
            open: 0,
            window,
            is_dead: false,
            hangs: false,
            drains: false,
            is_steady,
        }
    }

    /// Tells whether the process does what it is asked.
    #[must_use]
    pub fn is_well(&self) -> bool {
        !self.is_dead && !self.hangs
    }
}
