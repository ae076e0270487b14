//! Replaces every worker, or that of one slot, by a new one, without a moment of less capacity.
//!
//! For each slot a successor is started beside its worker. Only when it is ready, and listens
//! wherever its predecessor did, is it put in that one's place, and only then does the old
//! worker drain. If a successor fails, the reload ends there: what was not replaced stays, as if nothing had
//! been asked. A slot without a worker gets one, which has to come up all the same.
//!
//! ```text
//!            spawn                    listens               drained
//!  to do ───────────► starting ───────────────► leaving ───────────────► done
//!                        │ exits, or is not ready in time
//!                        └──► the reload has failed; this one is stopped
//! ```
//!
//! The drains overlap: all together last no longer than one drain timeout. `parallel` bounds
//! how many successors start at once, which is what costs CPU.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::order::{Announcement, Order};
use super::record::Record;
use super::reload_failure::ReloadFailure;
use super::supervisor::Supervisor;
use super::worker_state::WorkerState;
use crate::id::{Generation, ServerId, SlotId, WorkerId};

/// A reload that is under way.
#[derive(Debug)]
pub(super) struct Reload {
    generation: Generation,
    wish: ReloadWish,
    /// Slots whose turn is still to come.
    to_do: VecDeque<SlotId>,
    /// New workers that are not ready. At most `parallel`.
    starting: BTreeMap<WorkerId, Starting>,
    /// Old workers on their way out.
    leaving: BTreeSet<WorkerId>,
}

/// How to reload: by default every worker, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadWish {
    /// Only the worker of this slot. All others stay, of the generation that they are.
    #[serde(default)]
    pub only: Option<SlotId>,
    /// How many successors may start at once. 0 is taken as 1.
    pub parallel: u32,
    /// Whether successors may listen elsewhere than their predecessors.
    pub allow_listen_change: bool,
}

/// A new worker that is not ready.
#[derive(Debug)]
struct Starting {
    slot: SlotId,
    /// By when it has to be ready.
    deadline: Option<Instant>,
    /// Where it has to listen.
    wanted: BTreeSet<ServerId>,
    /// Whether it has to listen at all, as its predecessor does.
    must_listen: bool,
}

impl Reload {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.starting.values().filter_map(|new| new.deadline).min()
    }

    pub(super) fn postpone(&mut self, postpone: impl Fn(Instant) -> Option<Instant>) {
        for new in self.starting.values_mut() {
            new.deadline = new.deadline.and_then(&postpone);
        }
    }

    /// Tells whether somebody is still to be replaced. Otherwise only drains are awaited.
    pub(super) fn is_replacing(&self) -> bool {
        !self.to_do.is_empty() || !self.starting.is_empty()
    }

    /// Returns who has a place of the new generation, or is on the way to one.
    #[cfg(test)]
    pub(super) fn starting(&self) -> impl Iterator<Item = (WorkerId, SlotId)> {
        self.starting
            .iter()
            .map(|(&worker, new)| (worker, new.slot))
    }
}

impl Supervisor {
    /// Begins to replace every worker, or the one that is meant. Does nothing while another reload runs, or an ending.
    pub(super) fn reload(&mut self, wish: ReloadWish, orders: &mut Vec<Order>) {
        if !self.may_reload(wish.only) {
            return;
        }
        self.generation = Generation(self.generation.0 + 1);
        let to_do: VecDeque<SlotId> = self.slots_to_reload(wish.only).collect();
        orders.push(Order::Announce(Announcement::ReloadBegun {
            generation: self.generation,
            workers: to_do.len(),
        }));
        self.reload = Some(Reload {
            generation: self.generation,
            wish,
            to_do,
            starting: BTreeMap::new(),
            leaving: BTreeSet::new(),
        });
    }

    /// Tells whether a reload may be asked for now, of one slot or of all.
    #[must_use]
    pub fn may_reload(&self, only: Option<SlotId>) -> bool {
        let has_any = self.slots_to_reload(only).next().is_some();
        self.phase.is_running() && self.reload.is_none() && has_any
    }

    fn slots_to_reload(&self, only: Option<SlotId>) -> impl Iterator<Item = SlotId> {
        let slots = self.wanted_slots().map(|(id, _)| id);
        slots.filter(move |id| only.is_none_or(|only| only == *id))
    }

    /// Tells whether a reload runs.
    #[must_use]
    pub fn is_reloading(&self) -> bool {
        self.reload.is_some()
    }

    /// Does what the reload can do next. Ends it when nothing is left to do.
    pub(super) fn advance_reload(&mut self, now: Instant, orders: &mut Vec<Order>) {
        self.fail_late_successors(now, orders);
        self.start_successors(now, orders);
        // With no patience at all, who was just ordered is late.
        self.fail_late_successors(now, orders);
        let is_done = |reload: &mut Reload| {
            reload.to_do.is_empty() && reload.starting.is_empty() && reload.leaving.is_empty()
        };
        if let Some(reload) = self.reload.take_if(is_done) {
            let generation = reload.generation;
            orders.push(Order::Announce(Announcement::Reloaded { generation }));
        }
    }

    fn start_successors(&mut self, now: Instant, orders: &mut Vec<Order>) {
        while let Some(reload) = &mut self.reload
            && reload.starting.len() < reload.wish.parallel.max(1) as usize
            && let Some(slot) = reload.to_do.pop_front()
        {
            self.begin_replacement(now, slot, orders);
        }
    }

    fn begin_replacement(&mut self, now: Instant, id: SlotId, orders: &mut Vec<Order>) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.is_wanted) else {
            return;
        };
        let generation = self.generation;
        let old = slot.worker().and_then(|worker| self.workers.get(&worker));
        // What was there died meanwhile, and was followed by a new one.
        let is_new = |old: &&Record| old.generation == generation && !old.state.is_leaving();
        let (new, wanted, must_listen) = if let Some(new) = old.filter(is_new) {
            if new.is_ready() {
                return;
            }
            (new.worker, BTreeSet::new(), false)
        } else if let Some(old) = old {
            let wanted = old.boot_servers.clone();
            let must_listen = old.state == WorkerState::Listening;
            (self.spawn_successor(now, id, orders), wanted, must_listen)
        } else {
            slot.restart.start_afresh();
            (self.spawn(now, id, orders), BTreeSet::new(), false)
        };
        let starting = Starting {
            slot: id,
            deadline: now.checked_add(self.limits.listen_timeout),
            wanted,
            must_listen,
        };
        if let Some(reload) = &mut self.reload {
            reload.starting.insert(new, starting);
        }
    }

    /// A worker is ready, perhaps to take over; or it was, and listens on one more server.
    pub(super) fn successor_is_ready(
        &mut self,
        now: Instant,
        worker: WorkerId,
        orders: &mut Vec<Order>,
    ) {
        let Some(reload) = &mut self.reload else {
            return;
        };
        let (Some(starting), Some(record)) =
            (reload.starting.get(&worker), self.workers.get(&worker))
        else {
            return;
        };
        // One that is ready by its word need not listen yet.
        let listens = record.state == WorkerState::Listening || !starting.must_listen;
        let listens_wherever = starting.wanted.is_subset(&record.servers);
        if listens && (listens_wherever || reload.wish.allow_listen_change) {
            let id = starting.slot;
            reload.starting.remove(&worker);
            self.replace(now, id, worker, orders);
        }
    }

    /// Puts a new worker into the slot and sends the old one away.
    fn replace(&mut self, now: Instant, id: SlotId, new: WorkerId, orders: &mut Vec<Order>) {
        let deadline = self.drain_deadline(now);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.successor = None;
        let old = slot.worker().filter(|old| *old != new);
        slot.enter(new);
        slot.restart.became_ready();
        self.was_ever_ready = true;
        orders.push(Order::Announce(Announcement::Replaced {
            slot: id,
            old,
            new,
        }));
        if let Some(record) = old.and_then(|old| self.workers.get_mut(&old)) {
            record.ended_by_master = true;
            record.send_away(now, deadline, &self.limits, orders);
            if let Some(reload) = &mut self.reload {
                reload.leaving.insert(record.worker);
            }
        }
    }

    /// A worker is gone: perhaps the reload waited for that, or has failed by it.
    pub(super) fn reload_lost(
        &mut self,
        now: Instant,
        worker: WorkerId,
        failure: ReloadFailure,
        orders: &mut Vec<Order>,
    ) {
        let Some(reload) = &mut self.reload else {
            return;
        };
        reload.leaving.remove(&worker);
        if let Some(starting) = reload.starting.remove(&worker) {
            self.fail_reload(now, Some((worker, starting.slot)), failure, orders);
        }
    }

    fn fail_late_successors(&mut self, now: Instant, orders: &mut Vec<Order>) {
        let Some(reload) = &self.reload else {
            return;
        };
        let is_late = |new: &Starting| new.deadline.is_some_and(|deadline| deadline <= now);
        let mut starting = reload.starting.iter();
        let Some((&worker, late)) = starting.find(|(_, new)| is_late(new)) else {
            return;
        };
        let record = self.workers.get(&worker);
        let listens_on = |server: &ServerId| record.is_some_and(|it| it.servers.contains(server));
        let missing = late.wanted.iter().filter(|server| !listens_on(server));
        let failure = ReloadFailure::NotReady {
            missing: missing.copied().collect(),
            is_silent: self.limits.wait_ready && !record.is_some_and(|it| it.said_ready),
        };
        let culprit = Some((worker, late.slot));
        self.fail_reload(now, culprit, failure, orders);
    }

    /// Ends the reload: successors that are not ready are stopped, everybody else stays.
    ///
    /// So does a new worker in a slot that had none: it replaces nobody, and may yet come up.
    pub(super) fn fail_reload(
        &mut self,
        now: Instant,
        culprit: Option<(WorkerId, SlotId)>,
        failure: ReloadFailure,
        orders: &mut Vec<Order>,
    ) {
        let Some(reload) = self.reload.take() else {
            return;
        };
        let slots: Vec<SlotId> = self.slots.keys().copied().collect();
        for slot in slots {
            self.dismiss_successor(now, slot, orders);
        }
        orders.push(Order::Announce(Announcement::ReloadFailed {
            generation: reload.generation,
            culprit,
            failure,
        }));
    }

    /// A slot is not wanted any more: the reload goes on without it.
    pub(super) fn leave_out_of_reload(
        &mut self,
        now: Instant,
        id: SlotId,
        orders: &mut Vec<Order>,
    ) {
        if let Some(reload) = &mut self.reload {
            reload.starting.retain(|_, new| new.slot != id);
        }
        self.dismiss_successor(now, id, orders);
    }

    fn dismiss_successor(&mut self, now: Instant, id: SlotId, orders: &mut Vec<Order>) {
        let deadline = self.drain_deadline(now);
        let slot = self.slots.get_mut(&id);
        let successor = slot.and_then(|slot| slot.successor.take());
        if let Some(record) = successor.and_then(|worker| self.workers.get_mut(&worker)) {
            record.dismiss(now, deadline, &self.limits, orders);
        }
    }
}
