//! A restart that somebody asked for: who leaves, who follows, and how that went.
//!
//! Whoever asked waits for the slots that were meant, and for no others. So each of these is
//! told of once: that it has a worker which listens, or why it is not to be waited for.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::exit::ExitStatus;
use super::order::{Announcement, Order};
use super::record::Record;
use super::refill::Gone;
use super::reload::Reload;
use super::reload_failure::ReloadFailure;
use super::supervisor::Supervisor;
use crate::id::{SlotId, WorkerId};

/// Why a restart has brought a slot no worker that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartFailure {
    /// The new worker ended before it was ready. The slot may try again.
    BootFailed {
        /// Who failed.
        worker: WorkerId,
        /// How it ended; nothing if it could not even be started.
        status: Option<ExitStatus>,
    },
    /// The new worker ended with a code that says that it shall not be started again.
    Stopped,
    /// Fewer workers are wanted now.
    ScaledAway,
    /// Somebody has asked for a stop meanwhile, or for the end.
    Superseded,
}

impl RestartFailure {
    /// Returns what to say of a slot that was left empty by a worker that did not come up.
    pub(super) fn of(gone: Gone) -> Self {
        Self::BootFailed {
            worker: gone.worker,
            status: gone.status,
        }
    }

    /// Says in a sentence without its full stop what happened.
    #[must_use]
    pub fn describe(self, slot: SlotId) -> String {
        let slot = slot.0;
        match self {
            Self::BootFailed { worker, status } => {
                let who = format!("new worker {} (slot {slot})", worker.0);
                status.map_or_else(
                    || format!("{who} could not be started"),
                    |status| format!("{who} exited with {status} before it was ready"),
                )
            }
            Self::Stopped => {
                format!("the new worker of slot {slot} ended and wants no successor")
            }
            Self::ScaledAway => format!("slot {slot} was scaled away meanwhile"),
            Self::Superseded => format!("slot {slot} was asked to stop meanwhile"),
        }
    }
}

impl Supervisor {
    /// Returns which slots a restart of one slot, or of all, means.
    #[must_use]
    pub fn slots_to_restart(&self, which: Option<SlotId>) -> Vec<SlotId> {
        let wanted = self.wanted_slots().map(|(id, _)| id);
        wanted
            .filter(|id| which.is_none_or(|which| which == *id))
            .collect()
    }

    /// Has the worker of one slot, or every worker, drain and be followed by a new one. While
    /// all is being stopped, that follows upon the rest.
    pub(super) fn restart(&mut self, now: Instant, which: Option<SlotId>, orders: &mut Vec<Order>) {
        let meant = self.slots_to_restart(which);
        if meant.is_empty() || self.is_ending() {
            return;
        }
        for id in &meant {
            if let Some(slot) = self.slots.get_mut(id) {
                slot.is_restarting = true;
            }
        }
        if !self.phase.is_running() {
            return;
        }
        // One that has replaced everybody has done what it was asked for.
        if self.reload.as_ref().is_some_and(Reload::is_replacing) {
            self.fail_reload(now, None, ReloadFailure::Superseded, orders);
        }
        self.was_ready_announced = false;
        for id in meant {
            self.restart_slot(now, id, orders);
        }
    }

    fn restart_slot(&mut self, now: Instant, id: SlotId, orders: &mut Vec<Order>) {
        let deadline = self.drain_deadline(now);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.restart.start_afresh();
        let worker = slot.worker();
        if let Some(record) = worker.and_then(|worker| self.workers.get_mut(&worker)) {
            record.ended_by_master = true;
            record.send_away(now, deadline, &self.limits, orders);
        } else {
            self.spawn(now, id, orders);
        }
    }

    /// Says of each slot that was to be restarted once that it is. Who was there before is
    /// not ready any more, for it leaves; unless the restart is still to come.
    pub(super) fn announce_restarted(&mut self, orders: &mut Vec<Order>) {
        if !self.phase.is_running() {
            return;
        }
        for (&id, slot) in &mut self.slots {
            let record = slot.worker().and_then(|worker| self.workers.get(&worker));
            if record.is_some_and(Record::is_ready) && std::mem::take(&mut slot.is_restarting) {
                orders.push(Order::Announce(Announcement::Restarted { slot: id }));
            }
        }
    }

    /// Says that a slot is not to be waited for, if somebody does.
    pub(super) fn fail_restart(
        &mut self,
        id: SlotId,
        failure: RestartFailure,
        orders: &mut Vec<Order>,
    ) {
        let slot = self.slots.get_mut(&id);
        if slot.is_some_and(|slot| std::mem::take(&mut slot.is_restarting)) {
            let slot = id;
            orders.push(Order::Announce(Announcement::RestartFailed {
                slot,
                failure,
            }));
        }
    }

    /// Says of every slot that somebody waits for that it is to stop.
    pub(super) fn supersede_restarts(&mut self, orders: &mut Vec<Order>) {
        let slots: Vec<SlotId> = self.slots.keys().copied().collect();
        for slot in slots {
            self.fail_restart(slot, RestartFailure::Superseded, orders);
        }
    }
}
