//! How many workers there should be, and who follows one that is gone.

use std::time::{Duration, Instant};

use super::exit::ExitStatus;
use super::order::{Announcement, Order};
use super::record::Record;
use super::restart::Verdict;
use super::restarting::RestartFailure;
use super::slot::{Content, Slot};
use super::supervisor::Supervisor;
use crate::id::{SlotId, WorkerId};

/// A worker that has left its slot empty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    pub(super) slot: SlotId,
    pub(super) worker: WorkerId,
    /// How it ended; nothing if it never ran.
    pub(super) status: Option<ExitStatus>,
}

impl Supervisor {
    /// Makes so many slots wanted: new ones at the lowest free numbers, fewer from the top.
    ///
    /// A slot that was scaled away stays its old worker's until that is gone, so a scale up
    /// in the meantime takes other slots rather than wait for a drain.
    pub(super) fn scale(&mut self, now: Instant, count: u32, orders: &mut Vec<Order>) {
        if !self.may_scale() {
            return;
        }
        let count = count.min(self.limits.workers_max) as usize;
        let wanted: Vec<SlotId> = self.wanted_slots().map(|(id, _)| id).collect();
        for &slot in wanted.iter().skip(count) {
            self.scale_away(now, slot, orders);
        }
        for &slot in wanted.iter().take(count) {
            self.restart_given_up(now, slot, orders);
        }
        for _ in wanted.len()..count {
            self.spawn_in_new_slot(now, true, orders);
        }
    }

    /// Tells whether another number of workers may be asked for now.
    #[must_use]
    pub fn may_scale(&self) -> bool {
        self.phase.is_running()
    }

    /// Starts one unmanaged worker.
    pub(super) fn fork(&mut self, now: Instant, orders: &mut Vec<Order>) {
        if self.phase.is_running() {
            self.spawn_in_new_slot(now, false, orders);
        }
    }

    pub(super) fn wanted_slots(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.is_wanted)
            .map(|(&id, slot)| (id, slot))
    }

    fn scale_away(&mut self, now: Instant, id: SlotId, orders: &mut Vec<Order>) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.is_wanted = false;
        let worker = slot.worker();
        self.fail_restart(id, RestartFailure::ScaledAway, orders);
        self.leave_out_of_reload(now, id, orders);
        let deadline = self.drain_deadline(now);
        if let Some(record) = worker.and_then(|worker| self.workers.get_mut(&worker)) {
            record.send_away(now, deadline, &self.limits, orders);
        } else {
            self.slots.remove(&id);
        }
    }

    fn restart_given_up(&mut self, now: Instant, id: SlotId, orders: &mut Vec<Order>) {
        if let Some(slot) = self.slots.get_mut(&id)
            && slot.is_given_up()
        {
            slot.restart.start_afresh();
            self.spawn(now, id, orders);
        }
    }

    fn spawn_in_new_slot(&mut self, now: Instant, managed: bool, orders: &mut Vec<Order>) {
        let lowest_free = (0..).map(SlotId).find(|id| !self.slots.contains_key(id));
        if let Some(id) = lowest_free {
            self.slots.insert(id, Slot::empty(managed));
            self.spawn(now, id, orders);
        }
    }

    /// Orders the next worker for a slot that has none.
    pub(super) fn spawn(&mut self, now: Instant, id: SlotId, orders: &mut Vec<Order>) -> WorkerId {
        let worker = self.order_worker(now, id, orders);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.enter(worker);
        }
        worker
    }

    /// Orders a worker that takes its slot only when it is ready.
    pub(super) fn spawn_successor(
        &mut self,
        now: Instant,
        id: SlotId,
        orders: &mut Vec<Order>,
    ) -> WorkerId {
        let worker = self.order_worker(now, id, orders);
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.successor = Some(worker);
        }
        worker
    }

    fn order_worker(&mut self, now: Instant, id: SlotId, orders: &mut Vec<Order>) -> WorkerId {
        self.last_worker += 1;
        let (worker, generation) = (WorkerId(self.last_worker), self.generation);
        let slot = self.slots.get_mut(&id);
        let managed = slot.is_some_and(|slot| {
            slot.restart.spawned(now);
            slot.is_wanted
        });
        orders.push(Order::Spawn {
            worker,
            slot: id,
            generation,
        });
        let record = Record::new(worker, (id, generation), managed);
        self.workers.insert(worker, record);
        worker
    }

    /// Begins the counts of starts anew. The one of the present worker counts.
    pub(super) fn reset(&mut self, which: Option<SlotId>) {
        for (id, slot) in &mut self.slots {
            if which.is_none_or(|which| which == *id) {
                slot.starts = slot.starts.min(1);
            }
        }
    }

    /// Counts an exit by what it says about the program.
    pub(super) fn judge(&mut self, now: Instant, record: &Record, status: ExitStatus) -> Verdict {
        if record.ended_by_master {
            // Nothing: the program did not choose to end.
            return Verdict::RetryAfter(Duration::ZERO);
        }
        if self.limits.stop_codes.contains(status) {
            return Verdict::Stop;
        }
        if !record.was_ready {
            return self.boot_failed(record.slot);
        }
        // Leaving by its own will is no crash, yet it is paced like one: a program that gets
        // ready and leaves, over and over, must not fork as fast as the machine can.
        let slot = self.slots.get_mut(&record.slot);
        slot.map_or(Verdict::GiveUp, |slot| slot.restart.died_in_service(now))
    }

    pub(super) fn boot_failed(&mut self, id: SlotId) -> Verdict {
        let slot = self.slots.get_mut(&id);
        slot.map_or(Verdict::GiveUp, |slot| {
            slot.restart.boot_failed(&self.limits)
        })
    }

    /// Empties a slot and decides what becomes of it.
    pub(super) fn vacate(
        &mut self,
        now: Instant,
        gone: Gone,
        verdict: Verdict,
        orders: &mut Vec<Order>,
    ) {
        let id = gone.slot;
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if !slot.is_wanted {
            self.slots.remove(&id);
        } else if !self.phase.is_running() {
            slot.content = Content::Stopped;
        } else {
            match verdict {
                Verdict::GiveUp => {
                    slot.content = Content::Errored;
                    let failures = slot.restart.boot_failures();
                    orders.push(Order::Announce(Announcement::Errored {
                        slot: id,
                        worker: gone.worker,
                        status: gone.status,
                        failures,
                    }));
                    self.fail_restart(id, RestartFailure::of(gone), orders);
                }
                Verdict::Stop => {
                    slot.content = Content::Stopped;
                    orders.push(Order::Announce(Announcement::Stopped { slot: id }));
                    self.fail_restart(id, RestartFailure::Stopped, orders);
                }
                Verdict::RetryAfter(delay) => {
                    // The spawn itself follows when the deadlines are looked at, in this turn
                    // if there is no wait: so that a run which gives up now spawns nothing more.
                    let until = now.checked_add(delay);
                    slot.content = Content::Backoff { until };
                    let has_failed = slot.restart.boot_failures() > 0;
                    self.announce_backoff(id, delay, orders);
                    if has_failed {
                        self.fail_restart(id, RestartFailure::of(gone), orders);
                    }
                }
            }
        }
    }

    /// Says that a slot waits since its program does not come up. Not so of a death in
    /// service, whose wait is too short to be news, nor of a run that gives up just now.
    fn announce_backoff(&self, id: SlotId, delay: Duration, orders: &mut Vec<Order>) {
        let slot = self.slots.get(&id);
        let failures = slot.map_or(0, |slot| slot.restart.boot_failures());
        if failures > 0 && !delay.is_zero() && self.reason_to_give_up().is_none() {
            orders.push(Order::Announce(Announcement::BackingOff {
                slot: id,
                delay,
                failures,
            }));
        }
    }

    /// Says once that the start, or a restart, is over: when all that is wanted is ready.
    pub(super) fn announce_ready(&mut self, orders: &mut Vec<Order>) {
        if self.was_ready_announced || !self.phase.is_running() {
            return;
        }
        if self.all_are_ready() {
            self.was_ready_announced = true;
            orders.push(Order::Announce(Announcement::Ready));
        }
    }

    /// Tells whether every wanted slot holds a ready worker, and there is one.
    fn all_are_ready(&self) -> bool {
        let mut wanted = self.wanted_slots().peekable();
        wanted.peek().is_some()
            && wanted.all(|(_, slot)| {
                let record = slot.worker().and_then(|worker| self.workers.get(&worker));
                record.is_some_and(Record::is_ready)
            })
    }

    /// Does whatever is due, so that afterwards nothing is.
    pub(super) fn act_on_deadlines(&mut self, now: Instant, orders: &mut Vec<Order>) {
        if self
            .phase
            .deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.servers_closed(now, orders);
        }
        for record in self.workers.values_mut() {
            if record.climb(now, &self.limits, orders) {
                self.phase.note_cut();
            }
        }
        let is_due = |slot: &Slot| slot.deadline().is_some_and(|until| until <= now);
        let due: Vec<SlotId> = self
            .slots
            .iter()
            .filter(|(_, slot)| is_due(slot))
            .map(|(&id, _)| id)
            .collect();
        for slot in due {
            self.spawn(now, slot, orders);
        }
    }
}
