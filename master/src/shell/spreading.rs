//! Changes how connections are spread, while they come.

use std::time::Instant;

use maitred_core::dispatch::{Input, PolicyName, WEIGHT};
use maitred_core::id::{SlotId, WorkerId};

use super::master::Master;
use crate::event::Event;
use crate::policy::{self, PolicyError};

impl Master {
    pub(super) fn policy(&self) -> PolicyName {
        self.settings.policy.unwrap_or(PolicyName::Rr)
    }

    /// Spreads the connections of every server in another way; returns how it was before.
    pub(super) fn change_policy(
        &mut self,
        now: Instant,
        to: PolicyName,
    ) -> Result<PolicyName, PolicyError> {
        let from = self.policy();
        if from == to {
            return Ok(from);
        }
        if from.has_workers_accept() || to.has_workers_accept() {
            return Err(PolicyError::OtherAcceptor { from, to });
        }
        policy::check_reports(to, &self.settings)?;
        self.settings.policy = Some(to);
        for server in self.servers.respread(to) {
            self.dispatch(now, Input::PolicyChanged { server, policy: to });
        }
        self.announce(Event::PolicyChanged { from, to });
        Ok(from)
    }

    /// Gives a slot another weight; returns what it was before.
    pub(super) fn weigh(
        &mut self,
        now: Instant,
        slot: SlotId,
        weight: u32,
    ) -> Result<u32, PolicyError> {
        let workers: Vec<WorkerId> = self
            .members
            .iter()
            .filter(|(_, member)| member.slot == slot)
            .map(|(worker, _)| *worker)
            .collect();
        if workers.is_empty() && !self.supervisor.slots().any(|(known, _)| known == slot) {
            return Err(PolicyError::NoSuchSlot(slot));
        }
        let before = self.weights.insert(slot, weight).unwrap_or(WEIGHT);
        for worker in workers {
            self.dispatch(now, Input::Weighed { worker, weight });
        }
        self.announce(Event::Weighed { slot, weight });
        Ok(before)
    }

    /// Gives a worker that has just joined the weight of its slot.
    pub(super) fn weigh_newcomer(&mut self, now: Instant, worker: WorkerId, slot: SlotId) {
        if let Some(&weight) = self.weights.get(&slot) {
            self.dispatch(now, Input::Weighed { worker, weight });
        }
    }
}
