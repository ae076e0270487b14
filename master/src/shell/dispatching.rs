//! Carries out what the dispatcher orders: accept, hand off, release.

use std::time::Instant;

use maitred_core::dispatch::{Effect, Input};
use maitred_core::id::{ConnectionId, HandoffId, ServerId, WorkerId};
use maitred_protocol::MasterToWorker;

use super::acceptor::{ACCEPTS_PER_TURN, AcceptFailure, classify};
use super::dialect::Wording;
use super::master::Master;
use super::outbox::{Cargo, Delivery, Handed};
use super::server::Gate;
use super::worker_link::WorkerLink;
use crate::accept_errors;
use crate::clock::Moment;
use crate::event::Event;
use crate::launch::Dialect;

impl Master {
    /// Tells the dispatcher a fact and carries out what it orders.
    ///
    /// Carrying out may bring new facts (a worker that must go since its outbox is full).
    /// They queue behind: a `PauseAccept` of theirs must not be undone by a `ResumeAccept`
    /// that was ordered before, but not yet carried out.
    pub(super) fn dispatch(&mut self, now: Instant, input: Input) {
        self.inputs.push_back(input);
        if std::mem::replace(&mut self.is_dispatching, true) {
            return;
        }
        while let Some(input) = self.inputs.pop_front() {
            self.dispatch_one(now, input);
        }
        self.is_dispatching = false;
    }

    fn dispatch_one(&mut self, now: Instant, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        let wanted = self.outlets.trace.is_some() || self.outlets.recorder.is_some();
        let recorded = wanted.then(|| input.clone());
        self.dispatcher.handle(now, input, &mut effects);
        if let Some(input) = recorded {
            self.record(now, input, &effects);
        }
        for effect in effects.drain(..) {
            self.perform(now, effect);
        }
        self.effects = effects;
    }

    /// Notes a decision before it is carried out, for whoever asked for that.
    fn record(&mut self, now: Instant, input: Input, effects: &[Effect]) {
        if let Some(recorder) = &mut self.outlets.recorder {
            recorder.record(Moment::now(), &input, effects);
        }
        if let Some(trace) = &mut self.outlets.trace {
            trace.record(now, input, effects);
        }
    }

    fn perform(&mut self, now: Instant, effect: Effect) {
        match effect {
            Effect::HandOff {
                handoff,
                connection,
                worker,
                server,
            } => {
                self.hand_off(now, (handoff, connection), worker, server);
            }
            Effect::Release { connection, .. } => drop(self.connections.close(connection)),
            Effect::Refuse { connection, reason } => {
                self.connections.close(connection);
                let reason = format!("{reason:?}");
                self.announce(Event::Refused { reason });
            }
            Effect::PauseAccept(server) => self.set_gate(server, Gate::Paused),
            Effect::ResumeAccept(server) => self.set_gate(server, Gate::Open),
            Effect::JoinRotation { worker, server } => self.join_rotation(worker, server),
            Effect::LeaveRotation { worker, server } => self.leave_rotation(worker, server),
            Effect::Expel { worker, breach } => {
                let reason = format!("it answered a handoff that it does not have ({breach:?})");
                self.expel_for(now, worker, &reason);
            }
        }
    }

    /// Hands a connection to a worker; the table keeps the master's copy until the answer.
    ///
    /// To a Rust worker it goes at the end of the turn, with all others that the turn has for
    /// it; Node takes one at a time. What cannot be sent waits in the worker's outbox, still in
    /// flight. If the channel is broken the worker's end will be reported, and the connection
    /// taken back then: never before, for the worker might still read.
    fn hand_off(
        &mut self,
        now: Instant,
        (handoff, connection): (HandoffId, ConnectionId),
        worker: WorkerId,
        server: ServerId,
    ) {
        let client = self.connections.client(connection);
        let message = MasterToWorker::NewConnection {
            handoff,
            server,
            client,
        };
        let link = self
            .members
            .get_mut(&worker)
            .and_then(|member| member.link.as_mut());
        match link.map(|link| (link.dialect(), link)) {
            Some((Dialect::Native, link)) => {
                if link.put_handoff(Handed {
                    message,
                    connection,
                }) {
                    self.unsent.push_back(worker);
                }
            }
            Some((Dialect::Node, link)) => {
                let Ok(Wording::Frame(frame)) = link.encode(&message) else {
                    debug_assert!(false, "a worker that has joined has words for a connection");
                    return self.dispatch(now, Input::Rejected { worker, handoff });
                };
                let delivery = link.send((frame, Cargo::Connection(connection)), &self.connections);
                self.settle(now, worker, delivery);
            }
            Some((Dialect::None, _)) | None => {
                self.dispatch(now, Input::Rejected { worker, handoff });
            }
        }
    }

    /// Sends the handoffs that this turn has put together.
    pub(crate) fn send_handoffs(&mut self, now: Instant) {
        // In the order of their connections. Sending may have a worker expelled, and what it had
        // handed to others, who then stand behind: no more often than there are workers.
        while let Some(worker) = self.unsent.pop_front() {
            self.flush(now, worker);
        }
    }

    /// Follows up on a frame that was given to a worker's link.
    pub(super) fn settle(&mut self, now: Instant, worker: WorkerId, delivery: Delivery) {
        match delivery {
            // What is held goes on with the worker's next word.
            Delivery::Sent | Delivery::Gone | Delivery::Held => {}
            Delivery::Queued => self.await_room(worker),
            Delivery::Overflow => self.expel_for(now, worker, "it does not read its channel"),
        }
    }

    fn await_room(&mut self, worker: WorkerId) {
        let reports = &self.outlets.reports;
        let Some(link) = self
            .members
            .get_mut(&worker)
            .and_then(|member| member.link.as_mut())
        else {
            return;
        };
        link.await_room(worker, reports);
        self.retry_at = [self.retry_at, link.retry_at].into_iter().flatten().min();
    }

    pub(super) fn room_came(&mut self, now: Instant, worker: WorkerId) {
        if let Some(link) = self.link_of(worker) {
            link.room_came();
        }
        self.flush(now, worker);
    }

    /// Sends what waits for a worker, as far as its channel takes it.
    pub(super) fn flush(&mut self, now: Instant, worker: WorkerId) {
        if let Some(member) = self.members.get_mut(&worker)
            && let Some(link) = &mut member.link
        {
            let delivery = link.flush(now, &self.connections);
            self.settle(now, worker, delivery);
        }
    }

    /// Returns a worker's link, if it was started and is not buried.
    pub(super) fn link_of(&mut self, worker: WorkerId) -> Option<&mut WorkerLink> {
        self.members.get_mut(&worker)?.link.as_mut()
    }

    /// Tries again what the kernel refused for a time.
    pub(super) fn retry(&mut self, now: Instant) {
        let is_refused = |link: &WorkerLink| link.retry_at.is_some();
        let refused: Vec<WorkerId> = self
            .members
            .iter()
            .filter(|(_, member)| member.link.as_ref().is_some_and(is_refused))
            .map(|(worker, _)| *worker)
            .collect();
        for worker in refused {
            self.flush(now, worker);
        }
    }

    /// Accepts what this turn allows, from each open server in turn. Returns whether more may
    /// be waiting.
    pub(crate) fn accept_turn(&mut self, now: Instant) -> bool {
        let (mut accepted, mut empty) = (0, 0);
        while accepted < ACCEPTS_PER_TURN {
            let Some(server) = self.servers.after(self.last_accepted) else {
                return false;
            };
            self.last_accepted = server;
            if self.accept_one(now, server) {
                (accepted, empty) = (accepted + 1, 0);
            } else {
                empty += 1;
                if empty >= self.servers.count() {
                    return false;
                }
            }
        }
        true
    }

    /// Accepts one connection; returns whether one was there, or an error that concerns one.
    fn accept_one(&mut self, now: Instant, server: ServerId) -> bool {
        let Some(entry) = self.servers.get_mut(server) else {
            return false;
        };
        let error = match entry.accept(self.closing.is_some()) {
            Ok((descriptor, client)) => {
                let connection = self.connections.admit(descriptor, client);
                self.dispatch(
                    now,
                    Input::Accepted {
                        connection,
                        server,
                        client,
                    },
                );
                self.count_closing(now, server);
                return true;
            }
            Err(error) => error,
        };
        let failure = classify(&error);
        if failure != AcceptFailure::Empty {
            self.accept_errors.count(&error);
        }
        match failure {
            AcceptFailure::Empty => self.backlog_served(now, server),
            AcceptFailure::NextAtOnce => return true,
            AcceptFailure::Rest => {
                if entry.rest(now) {
                    self.announce(Event::AcceptPaused {
                        server,
                        error: accept_errors::name(&error),
                        reason: error.to_string(),
                    });
                }
            }
            AcceptFailure::Fatal => self.close_server(now, server),
        }
        false
    }

    pub(super) fn set_gate(&mut self, server: ServerId, gate: Gate) {
        if let Some(entry) = self.servers.get_mut(server) {
            entry.gate = match (entry.gate, gate) {
                // A rest ends by its own time, lest every ack begins the spin again.
                (Gate::Resting(until), Gate::Open) => Gate::Resting(until),
                (Gate::Shut, _) => Gate::Shut,
                (_, gate) => gate,
            };
        }
    }

    /// Closes a server: who waits in its backlog is refused, what is in flight settles.
    pub(super) fn close_server(&mut self, now: Instant, server: ServerId) {
        if self.servers.close(server) {
            self.dispatch(now, Input::ServerClosed(server));
            self.announce(Event::ServerClosed { server });
        }
    }
}
