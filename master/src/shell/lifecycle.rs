//! Carries out what the supervisor orders: drain, signal, bury. `joining.rs` starts workers.

use std::time::Instant;

use maitred_core::dispatch::Input;
use maitred_core::id::{HandoffId, WorkerId};
use maitred_core::supervise::{
    Announcement, ExitStatus, Fact, Order, Outcome, SlotState, WorkerState,
};
use maitred_protocol::MasterToWorker;
use maitred_protocol::message::UserMessage;
use tokio::sync::oneshot;

use super::master::Master;
use crate::event::Event;
use crate::launch::Dialect;
use crate::settings::KEEPALIVE_GRACE;

/// What programs are told that end themselves when they hear it: pm2's word, as JSON.
const SHUTDOWN: &str = r#""shutdown""#;

impl Master {
    /// Tells the supervisor a fact and carries out what it orders.
    ///
    /// Carrying out may bring new facts (a spawn that cannot even be ordered); their orders
    /// queue behind, so that each fact's orders stay together and nothing recurses.
    pub(super) fn supervise(&mut self, now: Instant, fact: Fact) {
        let mut orders = Vec::new();
        self.supervisor.handle(now, fact, &mut orders);
        let idle = self.orders.is_empty();
        self.orders.extend(orders);
        if !idle {
            return;
        }
        while let Some(order) = self.orders.front().cloned() {
            self.obey(now, order);
            self.orders.pop_front();
        }
        self.publish_states();
    }

    fn obey(&mut self, now: Instant, order: Order) {
        match order {
            Order::Spawn {
                worker,
                slot,
                generation,
            } => {
                self.spawn(now, worker, (slot, generation));
            }
            Order::Drain(worker) => self.drain(now, worker),
            Order::Signal { worker, signal } => {
                if let Some(link) = self
                    .members
                    .get(&worker)
                    .and_then(|member| member.link.as_ref())
                {
                    link.signal(signal);
                }
            }
            Order::Ping(worker) => self.ping(now, worker),
            Order::CloseServers => self.begin_closing(now),
            Order::Announce(announcement) => self.pass_on(now, announcement),
            Order::Finish(outcome) => {
                for server in self.servers.ids() {
                    self.close_server(now, server);
                }
                // The supervisor knows deadlines, and not what a worker held at them.
                let is_harmless = outcome == Outcome::Cut && !self.has_cut;
                self.outcome = Some(if is_harmless { Outcome::Done } else { outcome });
            }
        }
    }

    fn ping(&mut self, now: Instant, worker: WorkerId) {
        if self.link_of(worker).is_some_and(|link| link.is_silent()) {
            return self.supervise(now, Fact::Answered(worker));
        }
        self.pings = self.pings.wrapping_add(1);
        let nonce = self.pings;
        self.tell(now, worker, MasterToWorker::Ping { nonce });
    }

    fn pass_on(&mut self, now: Instant, announcement: Announcement) {
        let Some(announcement) = self.pass_on_operation(announcement) else {
            return;
        };
        if let Announcement::Hung { worker, .. } = announcement {
            // It is about to be killed: nothing more is to come to it meanwhile.
            self.dispatch(now, Input::Draining(worker));
        }
        self.announce(match announcement {
            Announcement::Ready => Event::Ready {
                workers: self.ready(),
            },
            // Said by `exited`, which knows the process.
            Announcement::Exited { .. } => return,
            Announcement::BackingOff {
                slot,
                delay,
                failures,
            } => {
                let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                Event::BackingOff {
                    slot,
                    delay_ms,
                    failures,
                }
            }
            Announcement::Errored {
                slot,
                worker,
                status,
                failures,
            } => Event::Errored {
                slot,
                worker,
                status,
                failures,
                last_lines: self.outlets.outputs.last_lines(worker),
            },
            Announcement::Stopped { slot } => Event::Stopped { slot },
            Announcement::Hung { worker, sign } => Event::Hung {
                worker,
                pid: self.pid_of(worker),
                sign,
            },
            // Those were passed on as operations.
            Announcement::CutAtDeadline { .. }
            | Announcement::Resting
            | Announcement::Restarted { .. }
            | Announcement::RestartFailed { .. }
            | Announcement::ReloadBegun { .. }
            | Announcement::Replaced { .. }
            | Announcement::Reloaded { .. }
            | Announcement::ReloadFailed { .. } => return,
        });
    }

    fn ready(&self) -> usize {
        let workers = self.supervisor.workers();
        workers.filter(|(_, record)| record.is_ready()).count()
    }

    /// Out of the rings first, so that nothing more is handed over; then the notice; then
    /// the wish that it leave.
    fn drain(&mut self, now: Instant, worker: WorkerId) {
        self.dispatch(now, Input::Draining(worker));
        let grace = self.settings.keepalive_grace.unwrap_or(KEEPALIVE_GRACE);
        self.tell(now, worker, MasterToWorker::Drain { grace });
        if self.settings.shutdown_with_message == Some(true) {
            let json = SHUTDOWN.to_owned();
            self.tell(now, worker, MasterToWorker::User(UserMessage { json }));
        }
        self.tell(now, worker, MasterToWorker::Disconnect);
        let kill_signal = self.supervisor.limits().kill_signal;
        if let Some(link) = self.link_of(worker)
            && link.is_silent()
        {
            // It hears nothing else.
            link.signal(kill_signal);
        }
    }

    pub(super) fn is_leaving(&self, worker: WorkerId) -> bool {
        let leaves = matches!(
            self.supervisor.state(worker),
            None | Some(WorkerState::Draining | WorkerState::Stopping | WorkerState::Dead)
        );
        leaves || self.supervisor.exited_after_disconnect(worker)
    }

    /// The worker closed its end: it cannot be handed anything any more.
    pub(super) fn channel_closed(&mut self, now: Instant, worker: WorkerId) {
        self.dispatch(now, Input::Draining(worker));
        self.note_disconnect(worker);
        self.supervise(now, Fact::ChannelClosed(worker));
        // Node does so in a drain once no server of the worker's has a connection. A Rust
        // program may do so to go on without a master.
        if self
            .link_of(worker)
            .is_some_and(|link| link.dialect() == Dialect::Node)
        {
            self.supervise(now, Fact::ServedOut(worker));
        }
    }

    fn note_disconnect(&mut self, worker: WorkerId) {
        let Some(member) = self.members.get(&worker) else {
            return;
        };
        let was_connected = member
            .status
            .send_if_modified(|status| std::mem::replace(&mut status.connected, false));
        if was_connected {
            let pid = member.pid_number();
            self.announce(Event::Disconnect { worker, pid });
        }
    }

    /// The worker is reaped and its channel read to the end: only now may what it had not
    /// acked go to others.
    pub(super) fn exited(&mut self, now: Instant, worker: WorkerId, status: ExitStatus) {
        self.note_disconnect(worker);
        let pid = self.pid_of(worker);
        let exited_after_disconnect = self.supervisor.exited_after_disconnect(worker);
        self.bury(now, worker, status);
        self.announce(Event::Exit {
            worker,
            pid,
            status,
            exited_after_disconnect,
        });
        self.supervise(now, Fact::Exited { worker, status });
        self.tidy_up(now);
    }

    /// The worker is reaped, and answers of its may be lost: whoever got what it was sent might
    /// serve it a second time. What was not sent yet goes to others like that of any dead one.
    pub(super) fn cut_off(&mut self, now: Instant, worker: WorkerId) {
        let link = self
            .members
            .get(&worker)
            .and_then(|member| member.link.as_ref());
        let is_sent = |connection| link.is_none_or(|link| !link.is_waiting(connection));
        let handoffs = self.dispatcher.handoffs_of(worker);
        let sent: Vec<HandoffId> = handoffs
            .filter(|(_, connection)| is_sent(*connection))
            .map(|(handoff, _)| handoff)
            .collect();
        for handoff in sent {
            self.dispatch(now, Input::AnswerLost { worker, handoff });
        }
    }

    /// Looks, after a worker is gone, at what only waited for that.
    pub(super) fn tidy_up(&mut self, now: Instant) {
        self.close_left_behind(now);
        self.clear_groups();
        self.check_departures(now);
        self.check_closing(now);
    }

    pub(super) fn bury(&mut self, now: Instant, worker: WorkerId, exit: ExitStatus) {
        let exited_after_disconnect = self.supervisor.exited_after_disconnect(worker);
        self.servers.forget(worker, exited_after_disconnect);
        self.servers.expect_successor_of(worker);
        if let Some(member) = self.members.remove(&worker) {
            member.status.send_modify(|status| {
                status.state = WorkerState::Dead;
                status.exit = Some(exit);
                status.connected = false;
                status.exited_after_disconnect = exited_after_disconnect;
            });
        }
        self.dispatch(now, Input::WorkerGone(worker));
    }

    fn publish_states(&self) {
        for (worker, member) in &self.members {
            let Some(state) = self.supervisor.state(*worker) else {
                continue;
            };
            let voluntary = self.supervisor.exited_after_disconnect(*worker);
            member.status.send_if_modified(|status| {
                let changed = status.state != state || status.exited_after_disconnect != voluntary;
                status.state = state;
                status.exited_after_disconnect = voluntary;
                changed
            });
        }
    }

    /// Drains all workers; the answer comes when none is left.
    pub(super) fn disconnect_all(&mut self, now: Instant, reply: oneshot::Sender<()>) {
        self.departures.push(reply);
        // Those that would be replaced must not be.
        self.supervise(now, Fact::ScaleAsked(0));
        let workers: Vec<WorkerId> = self.members.keys().copied().collect();
        for worker in workers {
            self.supervise(now, Fact::DisconnectAsked(worker));
        }
        self.check_departures(now);
    }

    /// Returns whether nobody is there, nor going to be.
    pub(super) fn is_deserted(&self) -> bool {
        self.members.is_empty() && !self.supervisor.expects_worker()
    }

    /// Closes the listeners to which nobody will come back, so that clients are refused
    /// rather than hung: nobody is alive, and nobody is going to be started.
    ///
    /// Of workers that are started by the owner it cannot be known. So, as in Node, a server
    /// goes with the last of them that leaves by intent; after a death it stays.
    fn close_left_behind(&mut self, now: Instant) {
        if !self.members.is_empty() || self.closing.is_some() {
            return;
        }
        let slots: Vec<SlotState> = self.supervisor.slots().map(|(_, slot)| slot).collect();
        let left = if slots.is_empty() {
            self.servers.left_behind()
        } else if slots
            .iter()
            .all(|slot| matches!(slot, SlotState::Errored | SlotState::Stopped))
        {
            self.servers.ids()
        } else {
            return;
        };
        for server in left {
            self.close_server(now, server);
        }
    }

    pub(super) fn check_departures(&mut self, now: Instant) {
        if self.departures.is_empty() || !self.is_deserted() {
            return;
        }
        for server in self.servers.ids() {
            self.close_server(now, server);
        }
        for reply in self.departures.drain(..) {
            // Whoever asked may have given up waiting.
            reply.send(()).unwrap_or_default();
        }
    }
}
