//! One behaviour each: these facts, at these times, lead to exactly these orders.
//!
//! Written in a shorthand in which `w` is a worker and `s` a slot. Times are milliseconds
//! since the start of the test. Worker 1 takes slot 0, worker 2 slot 1, and so on, until one
//! is replaced.

mod errored;
mod hang;
mod leaving;
mod operations;
mod readiness;
mod reload;
mod reload_failure;
mod reload_one;
mod restart;
mod shutdown;
mod start;

use std::time::{Duration, Instant};

use super::Announcement::{BackingOff, CutAtDeadline, Errored, Ready};
use super::Fact::{
    Breached, ChannelClosed, DisconnectAsked, ForkAsked, LeavingVoluntarily, Online, ScaleAsked,
    ServedOut, ServersClosed, ShutdownAsked, Tick,
};
use super::Order::{Announce, CloseServers, Finish};
use super::{
    Announcement, ExitCodes, ExitStatus, Fact, Limits, Order, Outcome, SIGKILL, SIGTERM, SlotState,
    Supervisor, WorkerState,
};
use crate::id::{Generation, ServerId, SlotId, WorkerId};

const W: [WorkerId; 8] = [
    WorkerId(0),
    WorkerId(1),
    WorkerId(2),
    WorkerId(3),
    WorkerId(4),
    WorkerId(5),
    WorkerId(6),
    WorkerId(7),
];

/// Asks whether a process exists; POSIX calls it the null signal.
const NULL_SIGNAL: i32 = 0;
const SIGHUP: i32 = 1;
const CRASH: ExitStatus = ExitStatus::code(1);

/// Where workers listen if nothing else is said.
const SERVER: ServerId = ServerId(1);

/// Round numbers, so that the tables can be checked in one's head. Nobody is watched for
/// hangs, since pings would be in every table.
const LIMITS: Limits = Limits {
    drain_timeout: Duration::from_secs(30),
    kill_timeout: Duration::from_secs(5),
    kill_signal: SIGTERM,
    backoff_initial: Duration::from_millis(100),
    backoff_max: Duration::from_millis(300),
    max_boot_failures: 4,
    wait_ready: false,
    listen_timeout: Duration::from_secs(3),
    ack_timeout: Duration::ZERO,
    heartbeat_timeout: Duration::ZERO,
    stop_codes: ExitCodes::NONE,
    workers_max: 6,
    stay_when_errored: false,
};

/// A supervisor, and the instant that its table calls 0.
struct Scene {
    supervisor: Supervisor,
    origin: Instant,
}

type Line<'a> = (u64, Fact, &'a [Order]);

impl Scene {
    fn new(limits: Limits, foreground: bool) -> Self {
        Self {
            supervisor: Supervisor::new(limits, foreground),
            origin: Instant::now(),
        }
    }

    fn tell(&mut self, at: u64, fact: Fact) -> Vec<Order> {
        let mut orders = Vec::new();
        let now = self.origin + Duration::from_millis(at);
        self.supervisor.handle(now, fact, &mut orders);
        orders
    }

    #[track_caller]
    fn check(&mut self, table: &[Line<'_>]) {
        for (number, &(at, fact, expected)) in table.iter().enumerate() {
            let orders = self.tell(at, fact);
            assert_eq!(orders, expected, "line {number}: {fact:?} at {at}");
        }
    }

    fn state(&self, worker: usize) -> Option<WorkerState> {
        self.supervisor.state(W[worker])
    }

    /// Follows every deadline until then, and returns what was ordered when.
    fn idle_until(&mut self, end: u64) -> Vec<(u64, Vec<Order>)> {
        let end_at = self.origin + Duration::from_millis(end);
        let mut log = Vec::new();
        while let Some(deadline) = self.supervisor.deadline().filter(|at| *at <= end_at) {
            let mut orders = Vec::new();
            self.supervisor.handle(deadline, Tick, &mut orders);
            let at = (deadline - self.origin).as_millis();
            log.push((at.try_into().unwrap(), orders));
        }
        log.retain(|(_, orders)| !orders.is_empty());
        log
    }

    fn slots(&self) -> Vec<(u32, SlotState)> {
        let slots = self.supervisor.slots();
        slots.map(|(slot, state)| (slot.0, state)).collect()
    }
}

/// Nobody waits at a terminal, and nothing is wanted yet.
fn idle() -> Scene {
    Scene::new(LIMITS, false)
}

/// So many workers wanted and ordered, none of them started yet.
fn ordered(count: u32) -> Scene {
    let mut scene = idle();
    scene.tell(0, ScaleAsked(count));
    scene
}

/// The same, and each process runs.
fn started(count: u32) -> Scene {
    let mut scene = ordered(count);
    (1..=count as usize).for_each(|w| drop(scene.tell(0, spawned(w))));
    scene
}

/// The same, and each worker listens.
fn ready(count: u32) -> Scene {
    let mut scene = started(count);
    (1..=count as usize).for_each(|w| drop(scene.tell(0, listening(w))));
    scene
}

/// So many workers wanted and started by somebody who waits at a terminal.
fn started_in_foreground(count: u32, limits: Limits) -> Scene {
    let mut scene = Scene::new(limits, true);
    scene.tell(0, ScaleAsked(count));
    (1..=count as usize).for_each(|w| drop(scene.tell(0, spawned(w))));
    scene
}

fn spawned(w: usize) -> Fact {
    Fact::Spawned {
        worker: W[w],
        pid: W[w].0 + 100,
    }
}

fn listening(w: usize) -> Fact {
    listening_on(w, SERVER)
}

fn listening_on(w: usize, server: ServerId) -> Fact {
    Fact::Listening {
        worker: W[w],
        server,
    }
}

fn spawn_failed(w: usize) -> Fact {
    Fact::SpawnFailed { worker: W[w] }
}

fn crashed(w: usize) -> Fact {
    Fact::Exited {
        worker: W[w],
        status: CRASH,
    }
}

fn kill_asked(w: usize, signal: i32) -> Fact {
    Fact::KillAsked {
        worker: W[w],
        signal,
    }
}

fn spawn(w: usize, s: u32) -> Order {
    spawn_in(0, w, s)
}

fn spawn_in(generation: u32, w: usize, s: u32) -> Order {
    Order::Spawn {
        worker: W[w],
        slot: SlotId(s),
        generation: Generation(generation),
    }
}

fn drain(w: usize) -> Order {
    Order::Drain(W[w])
}

fn signal(w: usize, signal: i32) -> Order {
    Order::Signal {
        worker: W[w],
        signal,
    }
}

/// The news that a worker crashed, or whatever it did, by its own doing.
fn gone(w: usize, s: u32) -> Order {
    exited(w, s, false)
}

/// The news that a worker left because it, or the master, wanted so.
fn left(w: usize, s: u32) -> Order {
    exited(w, s, true)
}

fn exited(w: usize, s: u32, exited_after_disconnect: bool) -> Order {
    Announce(Announcement::Exited {
        worker: W[w],
        slot: SlotId(s),
        status: CRASH,
        exited_after_disconnect,
    })
}

fn backing_off(s: u32, delay: u64, failures: u32) -> Order {
    Announce(BackingOff {
        slot: SlotId(s),
        delay: Duration::from_millis(delay),
        failures,
    })
}

fn errored(w: usize, s: u32, failures: u32) -> Order {
    Announce(Errored {
        slot: SlotId(s),
        worker: W[w],
        status: Some(CRASH),
        failures,
    })
}

fn cut(w: usize) -> Order {
    Announce(CutAtDeadline { worker: W[w] })
}

fn boot_failed(slots: &[u32]) -> Order {
    let slots = slots.iter().copied().map(SlotId).collect();
    Finish(Outcome::BootFailed { slots })
}
