//! The dispatcher itself: what each fact does to a connection.
//!
//! Every input goes the same way. First the fact is noted, which may put connections into
//! the pending queue or make room for them; then whatever can move is handed off, oldest
//! first; and last, accepting is paused or resumed where that changed. So an accepted
//! connection is "pending" for a moment even when a worker waits for it, and there is one
//! place in the code from which connections go to workers.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::in_flight::Handoff;
use super::pending::HeldConnection;
use super::server::{AcceptChange, Servers};
use super::snapshot::Totals;
use super::worker::Worker;
use super::{Breach, Effect, Input, RefusalReason};
use crate::id::{ConnectionId, HandoffId, ServerId, WorkerId};

/// Decides which worker receives each accepted connection.
///
/// See the [module](super) for the idea and a walk through one connection's life.
#[derive(Debug, Default)]
pub struct Dispatcher {
    // Hash maps, for a handoff must not cost more with more workers. Their order is
    // random, so nothing that becomes an effect may ever come from walking one of them.
    pub(super) servers: Servers,
    pub(super) workers: HashMap<WorkerId, Worker>,
    pub(super) totals: Totals,
    arrivals: u64,
    handoffs: u64,
}

impl Dispatcher {
    /// Makes a dispatcher that knows no server and no worker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a fact and appends the orders that follow from it to `effects`.
    ///
    /// `now` is only noted beside handoffs, for [`oldest_handoff`](Self::oldest_handoff);
    /// no decision depends on it.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Joined {
                worker,
                slot,
                window,
            } => self.join(worker, slot, window),
            Input::Listening { worker, server } => self.enter_rotation(worker, server, effects),
            Input::Closed { worker, server } => self.leave_rotation(worker, server, effects),
            Input::Draining(worker) => self.drain(worker, effects),
            Input::Ready(worker) => self.end_rest(worker),
            Input::Acked { worker, handoff } => self.release(worker, handoff, effects),
            Input::Rejected { worker, handoff } => self.take_back(worker, handoff, effects),
            Input::AnswerLost { worker, handoff } => self.give_up(worker, handoff, effects),
            Input::Accepted {
                connection,
                server,
                client,
            } => {
                let connection = self.arrive(connection, client);
                self.take_in(connection, server, effects);
            }
            Input::WorkerGone(worker) => self.requeue_all_of(worker, effects),
            Input::ServerOpened {
                server,
                policy,
                pending_max,
            } => {
                self.servers.open(server, policy, pending_max);
            }
            Input::PolicyChanged { server, policy } => self.change_policy(server, policy),
            Input::Reported { worker, open } => self.note_report(worker, open),
            Input::Weighed { worker, weight } => self.weigh(worker, weight),
            Input::ServerClosed(server) => self.close_server(server, effects),
            Input::Tick => {}
        }
        self.hand_off_pending(now, effects);
        self.servers.settle_accept(|change| {
            effects.push(match change {
                AcceptChange::Resume(server) => Effect::ResumeAccept(server),
                AcceptChange::Pause(server) => Effect::PauseAccept(server),
            });
        });
    }

    /// Counts the connections that the master answers for, pending and in flight.
    ///
    /// Counted where they are and not by a running sum, so that a connection that got lost
    /// is missing here.
    #[must_use]
    pub fn held(&self) -> usize {
        let pending: usize = self
            .servers
            .iter()
            .map(|(_, server)| server.pending.len())
            .sum();
        let in_flight: usize = self
            .workers
            .values()
            .map(|worker| worker.in_flight.len())
            .sum();
        pending + in_flight
    }

    /// Counts the connections a worker was sent and has not answered.
    #[must_use]
    pub fn in_flight_of(&self, worker: WorkerId) -> usize {
        self.workers
            .get(&worker)
            .map_or(0, |worker| worker.in_flight.len())
    }

    /// Returns the connections that a worker was sent and has not answered, oldest first.
    pub fn handoffs_of(&self, worker: WorkerId) -> impl Iterator<Item = (HandoffId, ConnectionId)> {
        let worker = self.workers.get(&worker).into_iter();
        worker.flat_map(|worker| worker.in_flight.ids())
    }

    /// Counts a server's connections that no worker holds.
    #[must_use]
    pub fn pending_of(&self, server: ServerId) -> usize {
        self.servers
            .get(server)
            .map_or(0, |server| server.pending.len())
    }

    /// Returns since when a worker has owed an answer, if it owes one.
    ///
    /// An ack costs a worker one wake-up, so a long debt is a sign that it hangs. The
    /// dispatcher draws no conclusion: to give the connection to someone else while the
    /// worker may still wake and read would serve it twice.
    #[must_use]
    pub fn oldest_handoff(&self, worker: WorkerId) -> Option<Instant> {
        self.workers.get(&worker)?.in_flight.oldest()
    }

    /// Gives a new connection its place in the order of arrival.
    fn arrive(&mut self, id: ConnectionId, client: Option<SocketAddr>) -> HeldConnection {
        let arrival = self.arrivals;
        self.arrivals += 1;
        HeldConnection::new(id, client, arrival)
    }

    /// A connection has arrived: it waits, however briefly, for its worker.
    fn take_in(&mut self, connection: HeldConnection, server: ServerId, effects: &mut Vec<Effect>) {
        self.count(server, |totals| totals.accepted += 1);
        let reason = match self.servers.touch(server) {
            None => RefusalReason::ServerClosed,
            Some(target) if target.is_shared() => RefusalReason::SharedServer,
            Some(target) if target.must_refuse() => RefusalReason::PendingFull,
            Some(target) => return target.pending.push_back(connection),
        };
        effects.push(self.refuse(connection.id, server, reason));
    }

    /// Hands off whatever can move, oldest first.
    fn hand_off_pending(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        while let Some((server, place)) = self.servers.longest_waiting() {
            if self.hand_off_at(now, server, place, effects).is_none() {
                break;
            }
        }
    }

    /// Gives a server's pending connection that was found to the worker whose turn it is.
    fn hand_off_at(
        &mut self,
        now: Instant,
        server: ServerId,
        place: usize,
        effects: &mut Vec<Effect>,
    ) -> Option<HandoffId> {
        let target = self.servers.touch(server)?;
        let (connection, worker) = target.next_handoff(place, &self.workers)?;

        let handoff = HandoffId(self.handoffs);
        self.handoffs += 1;
        self.count(server, |totals| totals.handed_off += 1);
        effects.push(Effect::HandOff {
            handoff,
            connection: connection.id,
            worker,
            server,
        });
        self.change_worker(worker, |worker| {
            worker.handed_off += 1;
            worker.in_flight.push(Handoff {
                id: handoff,
                server,
                since: now,
                connection,
            });
        });
        // At once, and not when the ack comes: with a window above one the worker would
        // else wait out an ack's round trip with free places, behind slower colleagues.
        if self.has_room(worker) {
            self.servers.touch(server)?.enter_again(worker);
        }
        Some(handoff)
    }

    /// A worker took a connection: it is that worker's from now on.
    fn release(&mut self, worker: WorkerId, handoff: HandoffId, effects: &mut Vec<Effect>) {
        let Some(settled) = self.settle(worker, handoff) else {
            return self.expel(worker, Breach::AckedUnknown(handoff), effects);
        };
        self.change_worker(worker, |worker| worker.acked += 1);
        self.count(settled.server, |totals| totals.acked += 1);
        effects.push(Effect::Release {
            connection: settled.connection.id,
            worker,
        });
    }

    /// A worker gave a connection back unread: it rests, and the connection goes on.
    fn take_back(&mut self, worker: WorkerId, handoff: HandoffId, effects: &mut Vec<Effect>) {
        let Some(mut settled) = self.settle(worker, handoff) else {
            return self.expel(worker, Breach::RejectedUnknown(handoff), effects);
        };
        self.change_worker(worker, |worker| worker.rejected += 1);
        self.count(settled.server, |totals| totals.rejected += 1);
        self.rest(worker);
        if let Some(server) = self.servers.get(settled.server) {
            settled.connection.note_reject(worker, &server.rotation);
        }
        self.put_back(settled.server, settled.connection, effects);
    }

    /// A worker that is dead may have taken a connection: nobody else may have it then.
    fn give_up(&mut self, worker: WorkerId, handoff: HandoffId, effects: &mut Vec<Effect>) {
        self.drain(worker, effects); // Or what waits would be handed to it: it has room now.
        if let Some(settled) = self.settle(worker, handoff) {
            let reason = RefusalReason::AnswerLost;
            effects.push(self.refuse(settled.connection.id, settled.server, reason));
        }
    }

    /// A worker is gone: what it had not acked goes to others.
    ///
    /// Each connection finds its place by its arrival, so those of several workers that die
    /// at once come back in order too, whichever death is reported first.
    fn requeue_all_of(&mut self, worker: WorkerId, effects: &mut Vec<Effect>) {
        self.drain(worker, effects); // Out of every rotation, which then no longer counts it.
        let Some(gone) = self.workers.remove(&worker) else {
            return;
        };
        for mut handoff in gone.in_flight {
            handoff.connection.note_death();
            self.put_back(handoff.server, handoff.connection, effects);
        }
    }

    /// Returns a connection to its queue, unless there is reason to give it up.
    fn put_back(
        &mut self,
        server: ServerId,
        connection: HeldConnection,
        effects: &mut Vec<Effect>,
    ) {
        let reason = match self.servers.touch(server) {
            None => Some(RefusalReason::ServerClosed),
            // Closed and opened again, as one that has no queue here.
            Some(target) if target.is_shared() => Some(RefusalReason::ServerClosed),
            Some(target) => connection.poisoned(&target.rotation),
        };
        if let Some(reason) = reason {
            return effects.push(self.refuse(connection.id, server, reason));
        }
        self.count(server, |totals| totals.requeued += 1);
        if let Some(target) = self.servers.touch(server) {
            target.pending.put_back(connection);
        }
    }

    /// The listener is closed: what waits for it will not be served.
    fn close_server(&mut self, id: ServerId, effects: &mut Vec<Effect>) {
        let Some(server) = self.servers.close(id) else {
            return;
        };
        for worker in &server.rotation {
            if let Some(worker) = self.workers.get_mut(worker) {
                worker.servers.retain(|&other| other != id);
            }
        }
        for connection in server.pending.into_ids() {
            effects.push(self.refuse(connection, id, RefusalReason::ServerClosed));
        }
    }

    /// Takes out the handoff that a worker answered, if the worker holds it.
    ///
    /// An answer to what it does not hold is a lie or a bug on the other side; to believe
    /// it would release or requeue another worker's connection. So the caller expels the
    /// worker and does nothing else. Of a worker that is gone, the answer is just late.
    fn settle(&mut self, worker: WorkerId, handoff: HandoffId) -> Option<Handoff> {
        self.change_worker(worker, |worker| worker.in_flight.settle(handoff))?
    }

    /// Counts a refusal and returns the order for it.
    fn refuse(
        &mut self,
        connection: ConnectionId,
        server: ServerId,
        reason: RefusalReason,
    ) -> Effect {
        self.count(server, |totals| totals.refused += 1);
        Effect::Refuse { connection, reason }
    }

    /// Counts something in the totals of a server and of the whole.
    fn count(&mut self, server: ServerId, count: impl Fn(&mut Totals)) {
        count(&mut self.totals);
        if let Some(server) = self.servers.touch(server) {
            count(&mut server.totals);
        }
    }
}
