//! The pending queue: accepted connections that no worker holds.
//!
//! It is nearly always empty. The master accepts only while a worker has room, so what
//! waits does so in the kernel's backlog, where it costs no descriptor. Here are only
//! connections that were taken back, and the few that were accepted in the moment in which
//! the last room went.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::RefusalReason;
use crate::id::{ConnectionId, WorkerId};

/// How many workers may go away while they hold a connection before it is refused.
///
/// One death is chance and two may be a bad moment. A request that kills whoever is given
/// it would, from the front of the queue, take down every worker in turn for ever.
const DEATHS_MAX: u8 = 3;

/// How often each worker of the rotation must reject a connection before it is refused.
///
/// Once is not enough: a worker that was full a moment ago may have room by now.
const REJECTS_MAX: u8 = 2;

/// How often one worker alone may reject a connection before it is refused.
///
/// While the others rest, one that says `Ready` and rejects would be sent the same connection
/// for ever. A worker that is honestly short of something pauses 50 ms before it says `Ready`
/// again, so it gets there in 12 seconds, when most clients have left; a broken one at once.
const REJECTS_OF_ONE_MAX: u8 = 250;

/// A connection that the master answers for, pending or in flight.
///
/// Made when it is accepted and dropped when it is released or refused. In between it moves,
/// as one value, between the pending queue and a worker's handoffs: so it cannot be in two
/// places, and its history goes with it.
#[derive(Debug)]
pub(super) struct HeldConnection {
    pub(super) id: ConnectionId,
    pub(super) client: Option<SocketAddr>,
    /// The place in the order of arrival, over all servers.
    pub(super) arrival: u64,
    /// The worker it waits for while another might have room: only policies that send a client
    /// to a certain worker set it, and only while it is pending.
    pub(super) waits_for: Option<WorkerId>,
    deaths: u8,
    // Stays empty, and so free of allocations, for all but a few.
    rejects: BTreeMap<WorkerId, u8>,
}

impl HeldConnection {
    pub(super) fn new(id: ConnectionId, client: Option<SocketAddr>, arrival: u64) -> Self {
        Self {
            id,
            client,
            arrival,
            waits_for: None,
            deaths: 0,
            rejects: BTreeMap::new(),
        }
    }

    /// Notes that a worker went away while it held this connection.
    pub(super) fn note_death(&mut self) {
        self.deaths = self.deaths.saturating_add(1);
    }

    /// Notes that a worker of `rotation` gave this connection back.
    ///
    /// Workers that have left since are forgotten, so that the record stays as small as the
    /// rotation however long the connection is passed around. The reject of a worker that
    /// is itself outside (it drains, or closed its listener) says nothing against the
    /// connection and is not noted at all.
    pub(super) fn note_reject(&mut self, worker: WorkerId, rotation: &BTreeSet<WorkerId>) {
        let count = self.rejects.entry(worker).or_default();
        *count = count.saturating_add(1);
        self.rejects.retain(|worker, _| rotation.contains(worker));
    }

    fn is_rejected_for_good(&self) -> bool {
        let mut counts = self.rejects.values();
        counts.any(|&count| count >= REJECTS_OF_ONE_MAX)
    }

    /// Returns why this connection should not be tried again, if so.
    pub(super) fn poisoned(&self, rotation: &BTreeSet<WorkerId>) -> Option<RefusalReason> {
        let is_rejected_by = |worker| {
            self.rejects
                .get(worker)
                .is_some_and(|&count| count >= REJECTS_MAX)
        };
        if self.deaths >= DEATHS_MAX {
            Some(RefusalReason::WorkersDied)
        // An empty rotation has rejected nothing: all workers may just be restarting.
        } else if self.is_rejected_for_good()
            || !rotation.is_empty() && rotation.iter().all(is_rejected_by)
        {
            Some(RefusalReason::RejectedByAll)
        } else {
            None
        }
    }
}

/// One server's waiting connections, always in the order in which they arrived.
///
/// New ones come at the back, until `max` wait. Those taken back go where their arrival
/// puts them, which is the front, since whatever was handed off had arrived before whatever
/// still waits. They may exceed `max`: they hold no more descriptors than they did in
/// flight, and to refuse them would break the promise that what no worker has acked is not
/// lost. So the queue is bounded by `max` and the windows of the workers.
#[derive(Debug)]
pub(super) struct Pending {
    line: VecDeque<HeldConnection>,
    max: usize,
}

impl Pending {
    pub(super) fn new(max: usize) -> Self {
        Self {
            line: VecDeque::new(),
            max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.line.len()
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.line.len() >= self.max
    }

    pub(super) fn get(&self, place: usize) -> Option<&HeldConnection> {
        self.line.get(place)
    }

    /// Takes a connection out; it waits for nobody any more. Without effort at the front.
    pub(super) fn take(&mut self, place: usize) -> Option<HeldConnection> {
        let mut connection = self.line.remove(place)?;
        connection.waits_for = None;
        Some(connection)
    }

    /// Returns all that wait, first to last.
    pub(super) fn iter(&self) -> impl Iterator<Item = &HeldConnection> {
        self.line.iter()
    }

    /// Returns all that wait, first to last, to note for whom they do.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut HeldConnection> {
        self.line.iter_mut()
    }

    /// Lets those that wait for a worker wait for anybody.
    pub(super) fn free(&mut self, worker: WorkerId) {
        for connection in &mut self.line {
            connection.waits_for.take_if(|awaited| *awaited == worker);
        }
    }

    /// Lets all wait for anybody.
    pub(super) fn free_all(&mut self) {
        for connection in &mut self.line {
            connection.waits_for = None;
        }
    }

    /// Adds a connection that has just arrived.
    pub(super) fn push_back(&mut self, connection: HeldConnection) {
        self.line.push_back(connection);
    }

    /// Puts a connection back that had left the queue.
    ///
    /// By arrival and not simply in front: when two workers reject, the younger connection
    /// may come back last, and must not overtake the older one.
    pub(super) fn put_back(&mut self, connection: HeldConnection) {
        let place = self
            .line
            .partition_point(|other| other.arrival < connection.arrival);
        self.line.insert(place, connection);
    }

    /// Empties the queue, first to last.
    pub(super) fn into_ids(self) -> impl Iterator<Item = ConnectionId> {
        self.line.into_iter().map(|connection| connection.id)
    }
}
