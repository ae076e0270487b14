//! One worker as the dispatcher sees it: what it was sent, and whether it may get more.

use serde::{Deserialize, Serialize};

use super::in_flight::InFlight;
use super::policy::Seat;
use crate::id::{ServerId, SlotId, WorkerId};

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
    pub(super) slot: SlotId,
    pub(super) window: usize,
    /// Its share under policy `weighted`.
    pub(super) weight: u32,
    pub(super) standing: Standing,
    /// The servers in whose rotation it stands: none once it drains or is expelled.
    pub(super) servers: Vec<ServerId>,
    pub(super) in_flight: InFlight,
    pub(super) handed_off: u64,
    pub(super) acked: u64,
    pub(super) rejected: u64,
    /// How many connections it last said that it has open.
    open: u32,
    /// How many it had acked when it said so.
    acked_at_report: u64,
}

/// The share of a worker under `weighted`, of which nothing else was said.
pub const WEIGHT: u32 = 1;

impl Worker {
    pub(super) fn new(slot: SlotId, window: u32) -> Self {
        Self {
            slot,
            weight: WEIGHT,
            window: usize::try_from(window.max(1)).unwrap_or(usize::MAX),
            standing: Standing::Serving,
            servers: Vec::new(),
            in_flight: InFlight::default(),
            handed_off: 0,
            acked: 0,
            rejected: 0,
            open: 0,
            acked_at_report: 0,
        }
    }

    /// Notes how many connections it says that it has open.
    ///
    /// Its channel keeps the order, so all acks that are counted in `open` are known here.
    /// (One that was written just before a report which had to wait for room in the channel is
    /// missed. The next report, a second later, has it.)
    pub(super) fn note_report(&mut self, open: u32) {
        self.open = open;
        self.acked_at_report = self.acked;
    }

    /// Counts its connections: those it reported, and those it was given since.
    pub(super) fn load(&self) -> u64 {
        let given_since = self.acked - self.acked_at_report;
        u64::from(self.open) + given_since + self.in_flight.len() as u64
    }

    /// Returns what policies note of it when it comes, under its number.
    pub(super) fn seat(&self, worker: WorkerId) -> Seat {
        let (slot, weight) = (self.slot, self.weight);
        Seat {
            worker,
            slot,
            weight,
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
