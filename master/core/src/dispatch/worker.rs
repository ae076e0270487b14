//! One worker as the dispatcher sees it: what it was sent, and whether it may get more.

use serde::{Deserialize, Serialize};

use super::in_flight::InFlight;
use crate::id::ServerId;

/// Whether a worker may be handed connections.
///
/// ```text
///            reject             Draining           breach
///  Serving ────────► Resting ───────────► Draining ──────► Expelled
///     ▲                 │        (each may be skipped; the way leads only
///     └───── Ready ─────┘         to the right, but for a rested worker)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It gets connections while it has room in its window.
    Serving,
    /// It rejected one, and gets none until it says `Ready`.
    ///
    /// Without the rest, one full worker and one connection would be sent back and forth
    /// for ever at the full speed of both processes.
    Resting,
    /// It gets no more; what it was sent still settles.
    Draining,
    /// It broke the protocol and is about to be killed; what it was sent still settles.
    Expelled,
}

/// A worker from `Joined` to `WorkerGone`.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) window: usize,
    pub(super) standing: Standing,
    /// The servers in whose rotation it stands: none once it drains or is expelled.
    pub(super) servers: Vec<ServerId>,
    pub(super) in_flight: InFlight,
    pub(super) handed_off: u64,
    pub(super) acked: u64,
    pub(super) rejected: u64,
}

impl Worker {
    pub(super) fn new(window: u32) -> Self {
        Self {
            window: usize::try_from(window.max(1)).unwrap_or(usize::MAX),
            standing: Standing::Serving,
            servers: Vec::new(),
            in_flight: InFlight::default(),
            handed_off: 0,
            acked: 0,
            rejected: 0,
        }
    }

    /// Tells whether one more connection may be handed to this worker.
    pub(super) fn has_room(&self) -> bool {
        self.standing == Standing::Serving && self.in_flight.len() < self.window
    }

    /// Tells whether this worker can still stand in a rotation.
    pub(super) fn may_listen(&self) -> bool {
        matches!(self.standing, Standing::Serving | Standing::Resting)
    }
}
