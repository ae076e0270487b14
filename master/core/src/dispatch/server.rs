//! One server: its rotation, its pending queue, and whether the master accepts for it.

use std::collections::{BTreeSet, HashMap};

use super::pending::{HeldConnection, Pending};
use super::policy::{Policy, PolicyName, Seat, Staff};
use super::snapshot::Totals;
use crate::id::{ServerId, WorkerId};

/// A server from `ServerOpened` to `ServerClosed`.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) policy_name: PolicyName,
    pub(super) pending: Pending,
    /// The workers that listen here and do not drain, with room or without.
    pub(super) rotation: BTreeSet<WorkerId>,
    /// How many workers of the rotation have room.
    ///
    /// Kept as a count, since the ring cannot tell: it may list a worker that another
    /// server's connection has filled. To accept on the strength of such a ring would pile
    /// up in the master what can wait in the kernel.
    pub(super) with_room: usize,
    pub(super) is_accepting: bool,
    pub(super) totals: Totals,
    policy: Box<dyn Policy>,
    is_touched: bool,
}

impl Server {
    fn new(policy_name: PolicyName, pending_max: usize) -> Self {
        Self {
            policy_name,
            pending: Pending::new(pending_max),
            rotation: BTreeSet::new(),
            with_room: 0,
            is_accepting: false,
            totals: Totals::default(),
            policy: policy_name.instantiate(),
            is_touched: false,
        }
    }

    /// Tells whether the workers accept for themselves here.
    pub(super) fn is_shared(&self) -> bool {
        !self.policy_name.accepts_in_master()
    }

    /// Tells whether the kernel has to be told who is in the rotation.
    pub(super) fn rotates_in_kernel(&self) -> bool {
        self.policy_name.rotates_in_kernel()
    }

    /// Tells whether the master should accept: someone has room, and nobody waits before.
    fn wants_accept(&self) -> bool {
        !self.is_shared() && self.goes_straight_on()
    }

    /// Tells whether one more connection has someone to go to.
    ///
    /// Who waits for a certain worker does not stand before it. Those are bounded otherwise:
    /// while someone has room, only so many wait for each of the others.
    fn goes_straight_on(&self) -> bool {
        self.with_room > 0 && (self.pending.is_empty() || self.policy.waits_for_one())
    }

    /// Tells whether one more connection could only wait in a queue that is full.
    pub(super) fn must_refuse(&self) -> bool {
        !self.goes_straight_on() && self.pending.is_full()
    }

    /// Spreads connections in another way; whoever is in the rotation must be seated again.
    pub(super) fn begin_policy(&mut self, policy: PolicyName) {
        self.policy_name = policy;
        self.policy = policy.instantiate();
        self.pending.free_all();
    }

    /// A worker of the rotation may be picked as soon as it has room.
    pub(super) fn seat(&mut self, seat: Seat) {
        self.policy.joined(seat);
    }

    /// A worker of the rotation has another share.
    pub(super) fn weigh(&mut self, worker: WorkerId, weight: u32) {
        self.policy.weighed(worker, weight);
    }

    /// A worker of the rotation has come to have room.
    pub(super) fn gain_room(&mut self, worker: WorkerId) {
        self.with_room += 1;
        self.policy.entered(worker);
    }

    /// A worker of the rotation has no room any more.
    ///
    /// It keeps its place in the rotation until its turn comes: if there is room again by then,
    /// being busy with another server's connection has cost it nothing.
    pub(super) fn lose_room(&mut self, worker: WorkerId) {
        self.with_room -= 1;
        self.policy.filled(worker);
    }

    /// A worker that was picked has room for more, so it takes its place at the tail.
    pub(super) fn enter_again(&mut self, worker: WorkerId) {
        self.policy.entered(worker);
    }

    /// A worker stays in the rotation but must not be picked.
    pub(super) fn pass_over(&mut self, worker: WorkerId) {
        self.policy.left(worker);
        self.pending.free(worker);
    }

    /// A worker leaves the rotation.
    pub(super) fn remove(&mut self, worker: WorkerId, had_room: bool) {
        self.rotation.remove(&worker);
        self.pass_over(worker);
        if had_room {
            self.lose_room(worker);
        }
    }

    /// Finds the connection that moves next, if one can: its place in the queue.
    fn seek(&mut self) -> Option<usize> {
        // Asked of every server that is touched, so the common answer comes first.
        if self.with_room == 0 || self.pending.is_empty() {
            return None;
        }
        self.policy.seek(&mut self.pending)
    }

    /// Takes the connection that was found, and the worker whose turn it is.
    pub(super) fn next_handoff(
        &mut self,
        place: usize,
        staff: &dyn Staff,
    ) -> Option<(HeldConnection, WorkerId)> {
        let worker = self.policy.pick(self.pending.get(place)?, staff)?;
        Some((self.pending.take(place)?, worker))
    }

    /// Lists who would be picked, next one first.
    pub(super) fn order(&self) -> Vec<WorkerId> {
        self.policy.order()
    }
}

/// Whether the master should now begin or cease to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptChange {
    Resume(ServerId),
    Pause(ServerId),
}

/// All open servers, and which of them one input has touched.
///
/// A server can be changed only through [`touch`](Self::touch), and every server that was
/// touched is looked at again before the input is done. So no code path can make room and
/// forget to resume accepting: the lost wake-up that would leave clients waiting before
/// idle workers.
#[derive(Debug, Default)]
pub(super) struct Servers {
    open: HashMap<ServerId, Server>,
    // Empty between inputs. Kept for its capacity: no allocation per connection.
    touched: Vec<ServerId>,
}

impl Servers {
    /// Opens a server. One that is open already stays as it is.
    pub(super) fn open(&mut self, id: ServerId, policy: PolicyName, pending_max: usize) {
        self.open
            .entry(id)
            .or_insert_with(|| Server::new(policy, pending_max));
    }

    /// Closes a server and returns what was left of it.
    pub(super) fn close(&mut self, id: ServerId) -> Option<Server> {
        self.open.remove(&id)
    }

    pub(super) fn get(&self, id: ServerId) -> Option<&Server> {
        self.open.get(&id)
    }

    /// Returns all open servers, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ServerId, &Server)> {
        self.open.iter().map(|(&id, server)| (id, server))
    }

    /// Returns a server to change, and notes that it must be looked at again.
    pub(super) fn touch(&mut self, id: ServerId) -> Option<&mut Server> {
        let server = self.open.get_mut(&id)?;
        if !server.is_touched {
            server.is_touched = true;
            self.touched.push(id);
        }
        Some(server)
    }

    /// Returns the touched server where a connection can move that has waited the longest, and
    /// that connection's place in its queue.
    ///
    /// The longest over all servers, not one server after another: a worker with a single
    /// free place would otherwise serve only the first server it listens on.
    pub(super) fn longest_waiting(&mut self) -> Option<(ServerId, usize)> {
        let movable = |&id: &ServerId| {
            let server = self.open.get_mut(&id)?;
            let place = server.seek()?;
            Some((server.pending.get(place)?.arrival, id, place))
        };
        let longest = self.touched.iter().filter_map(movable).min();
        longest.map(|(_, id, place)| (id, place))
    }

    /// Ends an input: reports every touched server on which accepting must change.
    pub(super) fn settle_accept(&mut self, mut report: impl FnMut(AcceptChange)) {
        for id in self.touched.drain(..) {
            let Some(server) = self.open.get_mut(&id) else {
                continue; // Closed by this very input.
            };
            server.is_touched = false;
            let wanted = server.wants_accept();
            if wanted != server.is_accepting {
                server.is_accepting = wanted;
                report(if wanted {
                    AcceptChange::Resume(id)
                } else {
                    AcceptChange::Pause(id)
                });
            }
        }
    }
}
