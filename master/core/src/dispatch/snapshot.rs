//! What the dispatcher looks like from outside: for `list`, the metrics and the page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dispatcher::Dispatcher;
use super::policy::PolicyName;
use super::worker::Standing;
use crate::id::{ServerId, SlotId, WorkerId};

/// The state of the dispatcher at one moment, sorted by id.
///
/// Taking one costs a walk over everything, so the shell takes it for people, not for each
/// connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Every open server.
    pub servers: Vec<ServerSnapshot>,
    /// Every worker that is not yet gone.
    pub workers: Vec<WorkerSnapshot>,
    /// Counts since the start, servers that are closed by now included.
    pub totals: Totals,
}

/// One server at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSnapshot {
    /// Which server.
    pub server: ServerId,
    /// How its connections are spread.
    pub policy: PolicyName,
    /// Whether the master accepts for it just now.
    pub is_accepting: bool,
    /// Who gets the next connections, first to last; busy and resting workers are absent. Under
    /// `least-connections` the order among equals, under `sticky` and `weighted` no order.
    pub ring: Vec<WorkerId>,
    /// Every worker that listens and does not drain.
    pub rotation: Vec<WorkerId>,
    /// How many workers of the rotation have room.
    pub with_room: usize,
    /// How many connections no worker holds.
    pub pending: usize,
    /// How many of these wait for a certain worker, which only `sticky` lets them do.
    pub waiting: BTreeMap<WorkerId, usize>,
    /// How many may wait, requeued ones not counted.
    pub pending_max: usize,
    /// How many connections were handed off and are not yet acked.
    pub in_flight: usize,
    /// Counts since it was opened.
    pub totals: Totals,
}

/// One worker at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSnapshot {
    /// Which worker.
    pub worker: WorkerId,
    /// Its place.
    pub slot: SlotId,
    /// Whether it may be handed connections.
    pub standing: Standing,
    /// The most handoffs it may have in flight.
    pub window: usize,
    /// The servers in whose rotation it stands.
    pub servers: Vec<ServerId>,
    /// How many connections it was sent and has not answered.
    pub in_flight: usize,
    /// How many it was sent.
    pub handed_off: u64,
    /// How many it took.
    pub acked: u64,
    /// How many it gave back.
    pub rejected: u64,
    /// How many it has, as far as can be known: what it reported, and what it was given since.
    pub load: u64,
    /// Its share under `weighted`.
    pub weight: u32,
}

/// Counts that only grow.
///
/// `accepted = acked + refused + held`, and `handed_off = acked + requeued + in flight` plus
/// those refused instead of requeued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Connections that came in.
    pub accepted: u64,
    /// Attempts to give one to a worker.
    pub handed_off: u64,
    /// Attempts that a worker took.
    pub acked: u64,
    /// Attempts that a worker gave back.
    pub rejected: u64,
    /// Connections that went back to the queue, after a reject or a death.
    pub requeued: u64,
    /// Connections closed unserved.
    pub refused: u64,
}

impl Dispatcher {
    /// Returns the state as plain values that can be printed, compared and sent.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut servers: Vec<_> = self.servers.iter().map(|(id, _)| id).collect();
        let mut workers: Vec<_> = self.workers.keys().copied().collect();
        servers.sort_unstable();
        workers.sort_unstable();
        Snapshot {
            servers: servers
                .into_iter()
                .filter_map(|id| self.server_snapshot(id))
                .collect(),
            workers: workers
                .into_iter()
                .filter_map(|id| self.worker_snapshot(id))
                .collect(),
            totals: self.totals,
        }
    }

    /// Returns the worker that a pending connection waits for, if it is a certain one.
    #[cfg(test)]
    pub(super) fn waits_for(&self, connection: crate::id::ConnectionId) -> Option<WorkerId> {
        let mut pending = self
            .servers
            .iter()
            .flat_map(|(_, server)| server.pending.iter());
        pending.find(|held| held.id == connection)?.waits_for
    }

    fn server_snapshot(&self, id: ServerId) -> Option<ServerSnapshot> {
        let server = self.servers.get(id)?;
        let in_flight = self
            .workers
            .values()
            .map(|worker| worker.in_flight.count_of(id))
            .sum();
        let has_room = |worker: &WorkerId| self.has_room(*worker);
        Some(ServerSnapshot {
            server: id,
            policy: server.policy_name,
            is_accepting: server.is_accepting,
            // The ring may still list workers that another server has filled.
            ring: server.order().into_iter().filter(has_room).collect(),
            rotation: server.rotation.iter().copied().collect(),
            with_room: server.with_room,
            pending: server.pending.len(),
            waiting: waiting(server.pending.iter().filter_map(|held| held.waits_for)),
            pending_max: server.pending.max(),
            in_flight,
            totals: server.totals,
        })
    }

    fn worker_snapshot(&self, id: WorkerId) -> Option<WorkerSnapshot> {
        let worker = self.workers.get(&id)?;
        Some(WorkerSnapshot {
            worker: id,
            slot: worker.slot,
            standing: worker.standing,
            window: worker.window,
            servers: worker.servers.clone(),
            in_flight: worker.in_flight.len(),
            handed_off: worker.handed_off,
            acked: worker.acked,
            rejected: worker.rejected,
            load: worker.load(),
            weight: worker.weight,
        })
    }
}

fn waiting(awaited: impl Iterator<Item = WorkerId>) -> BTreeMap<WorkerId, usize> {
    let mut counts = BTreeMap::new();
    for worker in awaited {
        *counts.entry(worker).or_default() += 1;
    }
    counts
}
