//! A worker's place, which outlives the worker.

use std::time::Instant;

use super::restart::RestartPolicy;
use super::worker_state::SlotState;
use crate::id::{SlotId, WorkerId};

/// One place for a worker.
///
/// A managed slot lives as long as it is wanted, through one worker after the other. That of
/// an unmanaged worker, and one that was scaled away, goes with its present worker.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) content: Content,
    /// Whether it is refilled when its worker is gone.
    pub(super) is_wanted: bool,
    pub(super) restart: RestartPolicy,
    /// A new worker that is to take the place as soon as it is ready.
    pub(super) successor: Option<WorkerId>,
    /// How often a worker was started here, since somebody last reset the count.
    pub(super) starts: u32,
}

/// A slot as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotReport {
    /// Its number.
    pub slot: SlotId,
    /// What it is doing.
    pub state: SlotState,
    /// Its worker. One that is being replaced, or replaces, is not counted.
    pub worker: Option<WorkerId>,
    /// How often a worker was started here, since the count was reset.
    pub starts: u32,
}

/// What is in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A worker that is not reaped yet.
    Worker(WorkerId),
    /// Nothing until then; for ever, if the clock cannot express it.
    Backoff { until: Option<Instant> },
    /// Nothing, and nothing will be: no worker is wanted (yet, or any more).
    Stopped,
    /// Nothing until somebody asks again.
    Errored,
}

impl Slot {
    /// Returns a slot that its first worker is about to enter.
    pub(super) fn empty(is_wanted: bool) -> Self {
        Self {
            content: Content::Stopped,
            is_wanted,
            restart: RestartPolicy::default(),
            successor: None,
            starts: 0,
        }
    }

    pub(super) fn state(&self) -> SlotState {
        match self.content {
            Content::Worker(_) => SlotState::Occupied,
            Content::Backoff { .. } => SlotState::Backoff,
            Content::Stopped => SlotState::Stopped,
            Content::Errored => SlotState::Errored,
        }
    }

    pub(super) fn worker(&self) -> Option<WorkerId> {
        match self.content {
            Content::Worker(worker) => Some(worker),
            Content::Backoff { .. } | Content::Stopped | Content::Errored => None,
        }
    }

    /// Returns when its backoff is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.content {
            Content::Backoff { until } => until,
            Content::Worker(_) | Content::Stopped | Content::Errored => None,
        }
    }

    /// Tells whether nobody will enter it unless somebody asks.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.content, Content::Errored | Content::Stopped)
    }

    pub(super) fn is_errored(&self) -> bool {
        self.content == Content::Errored
    }
}
