//! The dispatcher's other half: how workers come, rest, drain and go.
//!
//! Two things are kept in line here. A server's `with_room` counts the workers of its
//! rotation that have room; and each of those stands in its policy's ring. So a ring is
//! never empty while someone has room, and a count never promises room that is not there.

use std::collections::HashMap;

use super::policy::{PolicyName, Staff};
use super::worker::{Standing, Worker};
use super::{Breach, Dispatcher, Effect};
use crate::id::{ServerId, SlotId, WorkerId};

impl Staff for HashMap<WorkerId, Worker> {
    fn has_room(&self, worker: WorkerId) -> bool {
        self.get(&worker).is_some_and(Worker::has_room)
    }

    fn load(&self, worker: WorkerId) -> u64 {
        self.get(&worker).map_or(0, Worker::load)
    }
}

impl Dispatcher {
    /// A worker is here; it will say where it listens. One that is known stays as it is.
    pub(super) fn join(&mut self, worker: WorkerId, slot: SlotId, window: u32) {
        self.workers
            .entry(worker)
            .or_insert_with(|| Worker::new(slot, window));
    }

    /// A worker enters a server's rotation, at the tail of its ring.
    pub(super) fn enter_rotation(
        &mut self,
        id: WorkerId,
        server: ServerId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(worker) = self
            .workers
            .get_mut(&id)
            .filter(|worker| worker.may_listen())
        else {
            return;
        };
        let Some(target) = self.servers.touch(server) else {
            return;
        };
        // Twice the same word must not count twice.
        if target.rotation.insert(id) {
            worker.servers.push(server);
            if worker.standing == Standing::Serving {
                target.seat(worker.seat(id));
            }
            if target.rotates_in_kernel() {
                effects.push(Effect::JoinRotation { worker: id, server });
            }
            if worker.has_room() {
                target.gain_room(id);
            }
        }
    }

    /// A worker leaves one rotation and keeps its others.
    pub(super) fn leave_rotation(
        &mut self,
        id: WorkerId,
        server: ServerId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let listened = worker.servers.len();
        worker.servers.retain(|&other| other != server);
        if worker.servers.len() < listened
            && let Some(target) = self.servers.touch(server)
        {
            target.remove(id, worker.has_room());
            if target.rotates_in_kernel() {
                effects.push(Effect::LeaveRotation { worker: id, server });
            }
        }
    }

    /// A worker takes no more connections, ever; it still answers for those it was sent.
    pub(super) fn drain(&mut self, worker: WorkerId, effects: &mut Vec<Effect>) {
        self.retire(worker, Standing::Draining, effects);
    }

    /// A worker broke the protocol: it gets nothing more, and the shell will kill it.
    pub(super) fn expel(&mut self, worker: WorkerId, breach: Breach, effects: &mut Vec<Effect>) {
        // Once is enough. A hostile worker must not be able to flood the log.
        if self.retire(worker, Standing::Expelled, effects) {
            effects.push(Effect::Expel { worker, breach });
        }
    }

    /// Takes a worker out of every rotation; returns whether it was not expelled before.
    fn retire(&mut self, id: WorkerId, standing: Standing, effects: &mut Vec<Effect>) -> bool {
        let known = self.workers.get_mut(&id);
        let Some(worker) = known.filter(|worker| worker.standing != Standing::Expelled) else {
            return false;
        };
        let had_room = worker.has_room();
        worker.standing = standing;
        for server in worker.servers.drain(..) {
            if let Some(target) = self.servers.touch(server) {
                target.remove(id, had_room);
                if target.rotates_in_kernel() {
                    effects.push(Effect::LeaveRotation { worker: id, server });
                }
            }
        }
        true
    }

    /// A worker rejected: it stays in its rotations, but no turn comes to it.
    pub(super) fn rest(&mut self, id: WorkerId) {
        self.change_worker(id, |worker| {
            if worker.standing == Standing::Serving {
                worker.standing = Standing::Resting;
            }
        });
        let Some(worker) = self.workers.get(&id) else {
            return;
        };
        for &server in &worker.servers {
            if let Some(target) = self.servers.touch(server) {
                target.pass_over(id);
            }
        }
    }

    /// A worker that rested has room again. From any other worker the word means nothing.
    pub(super) fn end_rest(&mut self, id: WorkerId) {
        let known = self.workers.get(&id);
        let Some(worker) = known.filter(|worker| worker.standing == Standing::Resting) else {
            return;
        };
        for &server in &worker.servers {
            if let Some(target) = self.servers.touch(server) {
                target.seat(worker.seat(id));
            }
        }
        self.change_worker(id, |worker| worker.standing = Standing::Serving);
    }

    /// A server's connections are spread in another way from now on.
    pub(super) fn change_policy(&mut self, server: ServerId, policy: PolicyName) {
        let Some(target) = self.servers.touch(server) else {
            return;
        };
        if target.policy_name.has_workers_accept() || policy.has_workers_accept() {
            return;
        }
        target.begin_policy(policy);
        for id in target.rotation.clone() {
            let Some(worker) = self.workers.get(&id) else {
                continue;
            };
            if worker.standing == Standing::Serving {
                target.seat(worker.seat(id));
            }
            if worker.has_room() {
                target.enter_again(id);
            }
        }
    }

    /// A worker told how many connections it has open.
    pub(super) fn note_report(&mut self, worker: WorkerId, open: u32) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.note_report(open);
        }
    }

    /// A worker has another share from now on.
    pub(super) fn weigh(&mut self, id: WorkerId, weight: u32) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        worker.weight = weight;
        for &server in &worker.servers {
            if let Some(target) = self.servers.touch(server) {
                target.weigh(id, weight);
            }
        }
    }

    /// Tells whether one more connection may be handed to a worker.
    pub(super) fn has_room(&self, worker: WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(Worker::has_room)
    }

    /// Changes a worker, and tells its servers if that gave it room or took it.
    ///
    /// Returns `None` if there is no such worker. Costs a step for each server the worker
    /// listens on, and only when its room changed.
    pub(super) fn change_worker<R>(
        &mut self,
        id: WorkerId,
        change: impl FnOnce(&mut Worker) -> R,
    ) -> Option<R> {
        let worker = self.workers.get_mut(&id)?;
        let had_room = worker.has_room();
        let result = change(worker);
        let has_room = worker.has_room();
        for &server in worker.servers.iter().filter(|_| had_room != has_room) {
            if let Some(target) = self.servers.touch(server) {
                if has_room {
                    target.gain_room(id)
                } else {
                    target.lose_room(id)
                }
            }
        }
        Some(result)
    }
}
