//! What the supervisor knows of one worker process, and how one worker is made to leave.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::hang::{Debt, Heartbeat};
use super::limits::{Limits, SIGKILL, SIGNAL_MAX};
use super::order::{Announcement, Order};
use super::worker_state::{WorkerEvent, WorkerState};
use crate::id::{Generation, ServerId, SlotId, WorkerId};

/// How long a worker's coming up lasts after its first listen. Programs open their listeners
/// one after another, in milliseconds; a second covers a slow start, and hardly any work.
const COMING_UP: Duration = Duration::from_secs(1);

/// How long a worker that has served all may take to exit before it gets the kill signal: what a
/// program needs that ends by itself, once its last handle is closed, on a busy machine. One
/// that has a timer or a connection of its own never does, and waits for nothing.
const FAREWELL: Duration = Duration::from_secs(1);

/// One worker process, from the order to spawn it until it is reaped.
///
/// A worker that has to leave climbs a ladder, one rung per deadline: drain, kill signal,
/// SIGKILL. It may be put on a higher rung, never on a lower one, so each worker's deadlines
/// only move forward, and a worker that ignores everything is still gone in finite time.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its number.
    pub worker: WorkerId,
    /// Its place.
    pub slot: SlotId,
    /// The set of workers it belongs to.
    pub generation: Generation,
    /// Its process, once it runs.
    pub pid: Option<u32>,
    /// Where it is in its life.
    pub state: WorkerState,
    /// Whether it is respawned.
    pub managed: bool,
    /// Whether it ever was ready. Its state forgets that when it drains.
    pub was_ready: bool,
    /// Whether its program has said that it is.
    pub(super) said_ready: bool,
    /// Whether it leaves because it, or the master, wanted so: Node's word for it.
    pub exited_after_disconnect: bool,
    /// Whether somebody asked the master to make it end, so that its exit says nothing about
    /// the program. A kill that the program brought about itself (it broke the protocol, or
    /// closed its channel and stayed) counts like any exit: it would happen to the successor
    /// too, and without backoff for ever. Who is not replaced in any case needs no mark.
    pub(super) ended_by_master: bool,
    /// Where it listens.
    pub(super) servers: BTreeSet<ServerId>,
    /// Where it listened when it had come up, which a successor has to equal.
    pub(super) boot_servers: BTreeSet<ServerId>,
    /// When it first listened.
    ready_at: Option<Instant>,
    pub(super) heartbeat: Heartbeat,
    pub(super) debt: Option<Debt>,
    /// When it climbs the next rung.
    deadline: Option<Instant>,
    /// Whether it drained, and has nothing left that could be cut.
    has_served_out: bool,
    /// Whether it is on the last rung.
    pub(super) is_killed: bool,
    /// What it is to be told as soon as there is a process to tell.
    owed: Owed,
}

/// Orders that wait for `Spawned`.
///
/// A fork takes its time, and a worker may have to leave before it is through. Without a pid
/// there is nothing to signal; and were the wish dropped, nobody would ever end that worker.
#[derive(Clone, Debug, Default)]
struct Owed {
    drain: bool,
    /// As in the kernel, what is pending is a set: a later signal does not undo an earlier
    /// one, and the lowest number goes first. At most [`SIGNAL_MAX`] fit.
    signals: BTreeSet<i32>,
}

impl Record {
    pub(super) fn new(
        worker: WorkerId,
        (slot, generation): (SlotId, Generation),
        managed: bool,
    ) -> Self {
        Self {
            worker,
            slot,
            generation,
            pid: None,
            state: WorkerState::Starting,
            managed,
            was_ready: false,
            said_ready: false,
            exited_after_disconnect: false,
            ended_by_master: false,
            servers: BTreeSet::new(),
            boot_servers: BTreeSet::new(),
            ready_at: None,
            heartbeat: Heartbeat::default(),
            debt: None,
            deadline: None,
            has_served_out: false,
            is_killed: false,
            owed: Owed::default(),
        }
    }

    /// Returns when something about this worker is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let both = [self.deadline, self.heartbeat.deadline()];
        both.into_iter().flatten().min()
    }

    /// Tells whether it is ready, and does not leave.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.was_ready && !self.state.is_leaving()
    }

    /// Notes whether it is ready by now: by its word where that is awaited, else by its first
    /// listen. One that already leaves is of no use, so that its late word does not count.
    pub(super) fn note_ready(&mut self, limits: &Limits) {
        self.was_ready |= if limits.wait_ready {
            self.said_ready && !self.state.is_leaving()
        } else {
            self.state == WorkerState::Listening
        };
    }

    /// Grants more time on the way out.
    pub(super) fn postpone(&mut self, postpone: impl Fn(Instant) -> Option<Instant>) {
        self.deadline = self.deadline.and_then(postpone);
    }

    /// Notes that it listens on a server. What it opens within a moment of the first belongs
    /// to its coming up; what comes later may depend on its work, and no successor owes it.
    pub(super) fn listens(&mut self, now: Instant, server: ServerId) {
        let ready_at = *self.ready_at.get_or_insert(now);
        self.servers.insert(server);
        if now.saturating_duration_since(ready_at) <= COMING_UP {
            self.boot_servers.insert(server);
        }
    }

    /// Notes that it does not listen there any more. What it closes in its service, no
    /// successor owes it; what it closes on its way out, a successor does.
    pub(super) fn closes(&mut self, server: ServerId) {
        self.servers.remove(&server);
        if !self.state.is_leaving() {
            self.boot_servers.remove(&server);
        }
    }

    /// The process runs: gives the orders that waited for it. A second report is ignored.
    pub(super) fn spawned(&mut self, pid: u32, orders: &mut Vec<Order>) {
        if self.pid.is_some() {
            return;
        }
        self.pid = Some(pid);
        let owed = std::mem::take(&mut self.owed);
        if owed.signals.contains(&SIGKILL) {
            return self.signal(SIGKILL, orders); // After this one nothing else matters.
        }
        if owed.drain {
            orders.push(Order::Drain(self.worker));
        }
        for signal in owed.signals {
            self.signal(signal, orders);
        }
    }

    /// Makes the worker leave because fewer are wanted: by a drain, if it listens to us.
    ///
    /// One that does not listen holds nothing, and perhaps does not read its channel, so it
    /// gets the kill signal instead of a drain that it might sleep through.
    pub(super) fn send_away(
        &mut self,
        now: Instant,
        deadline: Option<Instant>,
        limits: &Limits,
        orders: &mut Vec<Order>,
    ) {
        self.exited_after_disconnect = true;
        match self.state {
            WorkerState::Starting | WorkerState::Online if !self.is_ready() => {
                self.stop(now, limits, orders);
            }
            WorkerState::Starting
            | WorkerState::Online
            | WorkerState::Listening
            | WorkerState::Draining
            | WorkerState::Stopping
            | WorkerState::Dead => self.drain(deadline, orders),
        }
    }

    /// Makes a worker leave that was to take a place and does not.
    ///
    /// It may serve already, on the servers that it has opened; then it drains like any
    /// other, for a reload loses no connection. One that does not has no reason to stay.
    pub(super) fn dismiss(
        &mut self,
        now: Instant,
        deadline: Option<Instant>,
        limits: &Limits,
        orders: &mut Vec<Order>,
    ) {
        self.ended_by_master = true;
        self.exited_after_disconnect = true;
        match self.state {
            WorkerState::Starting | WorkerState::Online => self.stop(now, limits, orders),
            WorkerState::Listening => self.drain(deadline, orders),
            WorkerState::Draining | WorkerState::Stopping | WorkerState::Dead => {}
        }
    }

    /// Begins the drain. Does nothing to a worker that leaves already.
    pub(super) fn drain(&mut self, deadline: Option<Instant>, orders: &mut Vec<Order>) {
        if self.state.is_leaving() {
            return;
        }
        self.begin_drain(deadline);
        if self.pid.is_some() {
            orders.push(Order::Drain(self.worker));
        } else {
            self.owed.drain = true;
        }
    }

    /// The worker drains by its own will. It gets as long as any other, but no order.
    pub(super) fn leave_voluntarily(&mut self, deadline: Option<Instant>) {
        self.exited_after_disconnect = true;
        if !self.state.is_leaving() {
            self.begin_drain(deadline);
        }
    }

    fn begin_drain(&mut self, deadline: Option<Instant>) {
        self.exited_after_disconnect = true;
        self.state = self.state.next(WorkerEvent::DrainBegun);
        self.deadline = deadline;
    }

    /// The worker closed its channel. One that drains was expected to, and may still finish
    /// what it serves; any other has no way to be told anything, so it has to exit soon.
    pub(super) fn channel_closed(&mut self, now: Instant, limits: &Limits) {
        if !self.state.is_leaving() {
            self.state = self.state.next(WorkerEvent::StopBegun);
            self.deadline = now.checked_add(limits.kill_timeout);
        }
    }

    /// The worker drains and has nothing left to serve: what keeps it is its own.
    pub(super) fn served_out(&mut self, now: Instant) {
        if self.state == WorkerState::Draining {
            self.has_served_out = true;
            let farewell = now.checked_add(FAREWELL);
            self.deadline = self.deadline.into_iter().chain(farewell).min();
        }
    }

    /// Sends the kill signal, with SIGKILL to follow.
    pub(super) fn stop(&mut self, now: Instant, limits: &Limits, orders: &mut Vec<Order>) {
        self.state = self.state.next(WorkerEvent::StopBegun);
        self.deadline = now.checked_add(limits.kill_timeout);
        self.signal(limits.kill_signal, orders);
    }

    /// Ends the worker by force. The kernel does the rest, so no deadline follows.
    pub(super) fn kill(&mut self, orders: &mut Vec<Order>) {
        self.state = self.state.next(WorkerEvent::StopBegun);
        self.deadline = None;
        if !self.is_killed {
            self.is_killed = true;
            self.signal(SIGKILL, orders);
        }
    }

    /// Sends a signal as soon as there is a process to get it. What no process could ever
    /// get (0, which only asks, among them) is not kept until then.
    pub(super) fn signal(&mut self, signal: i32, orders: &mut Vec<Order>) {
        if self.pid.is_some() {
            orders.push(Order::Signal {
                worker: self.worker,
                signal,
            });
        } else if (1..=SIGNAL_MAX).contains(&signal) {
            self.owed.signals.insert(signal);
        }
    }

    /// Climbs every rung that is due: with timeouts of zero that is more than one.
    ///
    /// Returns whether the drain deadline was among them, so that something may be cut.
    pub(super) fn climb(&mut self, now: Instant, limits: &Limits, orders: &mut Vec<Order>) -> bool {
        let mut is_cut = false;
        while self.deadline.is_some_and(|deadline| deadline <= now) {
            if self.state == WorkerState::Draining {
                if !self.has_served_out {
                    is_cut = true;
                    let worker = self.worker;
                    orders.push(Order::Announce(Announcement::CutAtDeadline { worker }));
                }
                self.stop(now, limits, orders);
            } else {
                self.kill(orders);
            }
        }
        is_cut
    }
}
