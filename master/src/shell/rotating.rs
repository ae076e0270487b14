//! Carries out what the dispatcher orders of policy `kernel`: who takes turns in the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use maitred_core::id::{ServerId, SlotId, WorkerId};

use super::master::Master;

impl Master {
    pub(super) fn join_rotation(&mut self, worker: WorkerId, server: ServerId) {
        let slot = self.members.get(&worker).map(|member| member.slot);
        if let Some((slot, group)) = slot.zip(self.servers.group(server)) {
            group.join(slot, worker);
        }
    }

    pub(super) fn leave_rotation(&mut self, worker: WorkerId, server: ServerId) {
        if let Some(group) = self.servers.group(server) {
            group.leave(worker);
        }
    }

    /// Closes the listeners of slots that are no more.
    pub(super) fn clear_groups(&mut self) {
        let slots: BTreeSet<SlotId> = self.supervisor.slots().map(|(slot, _)| slot).collect();
        // Of a slot that was scaled away, a worker may still be on its way out.
        let left = self.members.values().map(|member| member.slot);
        let slots: BTreeSet<SlotId> = slots.into_iter().chain(left).collect();
        for group in self.servers.groups() {
            group.clear(|slot| slots.contains(&slot));
        }
    }

    /// Lets the kernel give nobody anything any more: everything is ending.
    pub(super) fn shut_groups(&mut self) {
        for group in self.servers.groups() {
            group.shut();
        }
    }

    /// Returns who has owed something, and since when: an ack, or under policy `kernel` to
    /// accept what waits in the own queue.
    pub(super) fn owing(&mut self, now: Instant) -> BTreeMap<WorkerId, Instant> {
        let mut owing = BTreeMap::new();
        for group in self.servers.groups() {
            owing.extend(group.look(now));
        }
        for worker in self.members.keys() {
            if let Some(since) = self.dispatcher.oldest_handoff(*worker) {
                let oldest = owing.entry(*worker).or_insert(since);
                *oldest = since.min(*oldest);
            }
        }
        owing
    }
}
