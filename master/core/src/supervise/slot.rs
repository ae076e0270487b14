//! A worker's place, which outlives the worker.

use std::time::Instant;

use super::restart::RestartPolicy;
use super::supervisor::Supervisor;
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
    /// Whether somebody has asked for a restart, and it is not known yet how that went.
    pub(super) is_restarting: bool,
    /// How many workers have had this place, since somebody last reset the count.
    pub(super) starts: u32,
}

/// A worker in its slot as it is shown, or a slot without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotReport {
    /// The slot's number.
    pub slot: SlotId,
    /// What the slot is doing.
    pub state: SlotState,
    /// Whether it is refilled when its worker is gone.
    pub is_wanted: bool,
    /// The worker.
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
            is_restarting: false,
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

    /// A worker takes the place. Only now is it a start here: a successor that fails leaves
    /// everything as it was.
    pub(super) fn enter(&mut self, worker: WorkerId) {
        if self.content != Content::Worker(worker) {
            self.content = Content::Worker(worker);
            self.starts = self.starts.saturating_add(1);
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

impl Supervisor {
    /// Describes every worker that is not reaped, and every slot without one, by slot. In each
    /// slot the worker that has it comes first, then those on their way in or out.
    #[must_use]
    pub fn slot_reports(&self) -> Vec<SlotReport> {
        let mut reports: Vec<SlotReport> = self.slots.iter().map(report).collect();
        for (worker, record) in self.workers() {
            let slot = self.slots.get_key_value(&record.slot);
            if slot.is_some_and(|(_, slot)| slot.worker() == Some(worker)) {
                continue;
            }
            // A slot that was scaled away goes with the worker that had it, and one that was
            // replaced before may outlive that.
            let of_gone = SlotReport {
                slot: record.slot,
                state: SlotState::Occupied,
                is_wanted: false,
                worker: None,
                starts: 0,
            };
            let place = slot.map_or(of_gone, report);
            let worker = Some(worker);
            reports.push(SlotReport { worker, ..place });
        }
        reports.sort_by_key(|report| report.slot); // Stable: who has the slot stays first.
        reports
    }
}

fn report((&id, slot): (&SlotId, &Slot)) -> SlotReport {
    SlotReport {
        slot: id,
        state: slot.state(),
        is_wanted: slot.is_wanted,
        worker: slot.worker(),
        starts: slot.starts,
    }
}
