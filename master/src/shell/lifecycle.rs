//! Carries out what the supervisor orders: start, drain, signal, bury.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use maitred_core::dispatch::Input;
use maitred_core::id::{Generation, ServerId, SlotId, WorkerId};
use maitred_core::supervise::{
    Announcement, ExitStatus, Fact, Order, Outcome, SlotState, WorkerState,
};
use maitred_protocol::message::UserMessage;
use maitred_protocol::{MasterToWorker, fd};
use tokio::io::Interest;
use tokio::sync::oneshot;

use super::dialect;
use super::master::{Master, Member};
use super::process::{SpawnOrder, Spawned};
use super::worker_link::{Attended, WorkerLink, abandon, attend};
use crate::event::Event;
use crate::launch::{Ipc, Launch};
use crate::settings::{KEEPALIVE_GRACE, LINE_MAX};
use crate::worker::Worker;

/// What programs are told that end themselves when they hear it: pm2's word, as JSON.
const SHUTDOWN: &str = r#""shutdown""#;

/// What a program listens on that does so by itself, if it does. Our own begin with 1.
const UNSEEN_SERVER: ServerId = ServerId(0);

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
            Order::Announce(announcement) => self.pass_on(announcement),
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
        if self
            .link_of(worker)
            .is_some_and(|link| link.ipc() == Ipc::None)
        {
            return self.supervise(now, Fact::Answered(worker));
        }
        self.pings = self.pings.wrapping_add(1);
        let nonce = self.pings;
        self.tell(now, worker, MasterToWorker::Ping { nonce });
    }

    fn pass_on(&mut self, announcement: Announcement) {
        let Some(announcement) = self.pass_on_operation(announcement) else {
            return;
        };
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

    fn spawn(&mut self, now: Instant, worker: WorkerId, (slot, generation): (SlotId, Generation)) {
        let mut member = Member::new(now, slot, generation);
        member.listen_by = now.checked_add(self.supervisor.limits().listen_timeout);
        self.members.insert(worker, member);
        let Some(launch) = Launch::of(&self.settings) else {
            self.enrol(now, worker, Err(io::ErrorKind::NotFound.into()));
            return;
        };
        let mut env = self.settings.env.clone();
        env.extend(self.fork_env.take().unwrap_or_default());
        let order = SpawnOrder {
            worker,
            slot,
            launch,
            preload: self.settings.preload.clone(),
            cwd: self.settings.cwd.clone(),
            env,
            output: self.settings.output.unwrap_or_default(),
            user: (self.settings.uid, self.settings.gid),
        };
        if !self.outlets.spawner.order(order) {
            let busy = io::Error::new(io::ErrorKind::WouldBlock, "too many spawns at once");
            self.enrol(now, worker, Err(busy));
        }
    }

    /// Starts one worker that is not replaced, and answers with its handle.
    pub(super) fn fork(
        &mut self,
        now: Instant,
        env: BTreeMap<OsString, OsString>,
        reply: oneshot::Sender<Worker>,
    ) {
        let known = self.members.keys().next_back().copied();
        self.fork_env = Some(env);
        self.supervise(now, Fact::ForkAsked);
        self.fork_env = None;
        // The first new number is the one just ordered (a respawn that was due may follow);
        // after a shutdown there is none, and the dropped reply says so.
        let new = (
            known.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let forked = self.members.range(new).next().map(|(worker, _)| *worker);
        if let Some(worker) = forked.and_then(|worker| self.handle_of(worker)) {
            // Whoever asked may have given up waiting.
            reply.send(worker).map(drop).unwrap_or_default();
        }
    }

    /// Takes in a worker that was started, or the news that it was not.
    pub(super) fn enrol(&mut self, now: Instant, worker: WorkerId, outcome: io::Result<Spawned>) {
        match outcome.and_then(|spawned| self.attach(worker, spawned)) {
            Ok(pid) => {
                if let Some(member) = self.members.get(&worker) {
                    let slot = member.slot;
                    self.announce(Event::Fork { worker, slot, pid });
                }
                self.supervise(now, Fact::Spawned { worker, pid });
                self.take_at_its_word(now, worker);
            }
            Err(error) => {
                self.announce(Event::SpawnFailed {
                    worker,
                    reason: error.to_string(),
                });
                self.bury(now, worker, ExitStatus::default());
                self.supervise(now, Fact::SpawnFailed { worker });
                self.tidy_up(now);
            }
        }
    }

    /// A program without a channel says nothing: that it runs has to do for all that others
    /// say until they are ready.
    fn take_at_its_word(&mut self, now: Instant, worker: WorkerId) {
        if self
            .link_of(worker)
            .is_none_or(|link| link.ipc() != Ipc::None)
        {
            return;
        }
        self.came_online(now, worker);
        let server = UNSEEN_SERVER;
        self.supervise(now, Fact::Listening { worker, server });
    }

    /// Ties a started process to its member: channel, pidfd, output. If that fails, which
    /// takes a system out of memory, the process is ended.
    fn attach(&mut self, worker: WorkerId, spawned: Spawned) -> io::Result<u32> {
        let Spawned {
            pid,
            pidfd,
            ipc,
            channel,
            output,
        } = spawned;
        let line_max = self.settings.line_max.unwrap_or(LINE_MAX);
        let watched = dialect::open(ipc, channel, line_max)
            .and_then(|ends| Ok((ends, fd::watch(pidfd, Interest::READABLE)?)));
        let ((end, inbox), pidfd) = watched.inspect_err(|_| abandon(pid))?;
        let Some(member) = self.members.get_mut(&worker) else {
            debug_assert!(false, "a worker is a member from its order to its end");
            abandon(pid);
            return Err(io::ErrorKind::NotFound.into());
        };
        let reaped = Arc::new(AtomicBool::new(false));
        member.link = Some(WorkerLink::new(end, pid, reaped.clone()));
        member.pid = Some(pid);
        let number = member.pid_number();
        member.status.send_modify(|status| {
            status.pid = Some(number);
            status.connected = ipc != Ipc::None;
        });
        self.outlets.outputs.pump(worker, member.slot, output);
        let attended = Attended {
            worker,
            pid,
            pidfd,
            inbox,
            reaped,
        };
        tokio::spawn(attend(attended, self.outlets.reports.clone()));
        Ok(number)
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
            && link.ipc() == Ipc::None
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

    /// Looks, after a worker is gone, at what only waited for that.
    fn tidy_up(&mut self, now: Instant) {
        self.close_left_behind(now);
        self.check_departures(now);
        self.check_closing(now);
    }

    fn bury(&mut self, now: Instant, worker: WorkerId, exit: ExitStatus) {
        let exited_after_disconnect = self.supervisor.exited_after_disconnect(worker);
        self.servers.forget(worker, exited_after_disconnect);
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
