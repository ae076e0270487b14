//! What the workers do by themselves.

use maitred_core::dispatch::Input;
use maitred_core::id::{ServerId, SlotId, WorkerId};

use super::{Event, Law, World, law};
use crate::sim::worker::{FakeWorker, Message};

/// How often a worker that took a connection tells how many it has, in percent.
const REPORT_CHANCE: u64 = 30;

impl World {
    /// Starts a worker in the lowest slot that is free.
    pub(super) fn spawn(&mut self, is_steady: bool) -> Law {
        self.workers_ever += 1;
        let id = WorkerId(self.workers_ever);
        let window = self.random.between(1, self.plan.window_max);
        let window = u32::try_from(window).unwrap_or(1);
        let is_taken = |slot: &SlotId| self.workers.values().any(|other| other.slot == *slot);
        let slot = (0..).map(SlotId).find(|slot| !is_taken(slot));
        let slot = slot.unwrap_or(SlotId(0));
        self.workers
            .insert(id, FakeWorker::new(slot, window as usize, is_steady));
        self.crowd_max = self.crowd_max.max(self.workers.len());
        let sum = self.workers.values().map(|worker| worker.window).sum();
        self.windows_sum_max = self.windows_sum_max.max(sum);
        self.tell(Input::Joined {
            worker: id,
            slot,
            window,
        })?;
        let servers: Vec<_> = self.listeners.keys().copied().collect();
        for server in servers {
            if is_steady || self.random.chance(85) {
                self.listen(id, server)?;
            }
        }
        Ok(())
    }

    pub(super) fn listen(&mut self, worker: WorkerId, server: ServerId) -> Law {
        let known = self
            .workers
            .get_mut(&worker)
            .filter(|worker| worker.is_well());
        let Some(listening) = known else {
            return Ok(());
        };
        listening.servers.push(server);
        self.tell(Input::Listening { worker, server })
    }

    /// A worker looks at the next thing it was sent: takes it or gives it back.
    pub(super) fn worker_turn(&mut self, id: WorkerId) -> Law {
        let reject_chance = self.plan.reject_chance;
        let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.is_well()) else {
            return Ok(());
        };
        let Some((handoff, connection)) = worker.inbox.pop_front() else {
            return Ok(());
        };
        let chance = if worker.drains { 50 } else { reject_chance };
        if !worker.is_steady && self.random.chance(chance) {
            self.plan_within(100, Event::WorkerRecovers(id));
            return self.write(id, Message::Rejected(handoff));
        }
        worker.open += 1;
        let taken_by = self.fortune(connection)?.taken_by.replace(id);
        law(taken_by.is_none(), || {
            format!("{connection} served by {taken_by:?} and {id}")
        })?;
        self.write(id, Message::Acked(handoff))?;
        self.report_now_and_then(id)
    }

    /// Some of what a worker has taken ends, and it tells what is left.
    fn report_now_and_then(&mut self, id: WorkerId) -> Law {
        if !self.random.chance(REPORT_CHANCE) {
            return Ok(());
        }
        let Some(worker) = self.workers.get_mut(&id) else {
            return Ok(());
        };
        let ended = self.random.between(0, worker.open.into());
        worker.open -= u32::try_from(ended).unwrap_or(0);
        let open = worker.open;
        self.write(id, Message::Reported(open))
    }

    pub(super) fn write(&mut self, id: WorkerId, message: Message) -> Law {
        if let Some(worker) = self.workers.get_mut(&id).filter(|worker| worker.is_well()) {
            worker.outbox.push_back(message);
            self.plan_within(10, Event::ChannelReadable(id));
        }
        Ok(())
    }

    /// A worker that drains exits when the master owes it nothing more.
    pub(super) fn let_drained_go(&mut self, id: WorkerId) {
        let drains = self.workers.get(&id).is_some_and(|worker| worker.drains);
        if drains && self.dispatcher.in_flight_of(id) == 0 {
            self.kill(id);
        }
    }
}
