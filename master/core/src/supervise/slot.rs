//! A worker's place, which outlives the worker.

use std::time::Instant;

use super::restart::RestartPolicy;
use super::worker_state::SlotState;
use crate::id::WorkerId;

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

    pub(super) fn is_errored(&self) -> bool {
        self.content == Content::Errored
    }
}
