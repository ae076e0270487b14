//! Finds workers that run and do not work.
//!
//! Two signs, each with its own patience:
//!
//! - *No pong.* Every worker that has come up is pinged now and then. One whose program is stuck does not
//!   answer, even if no connection comes.
//! - *No ack.* A worker with handoffs un-acked (or, where the kernel spreads connections, with
//!   something in its listener's queue that it does not accept) that is stopped, or has slept all the while, is
//!   hung and not busy. One that uses CPU may be doing honest work (2.4 s between two acks were
//!   measured in a healthy, loaded cluster), so it has until the first patience is over.
//!
//! Either is killed; what it had not acked goes to others once it is dead.
//!
//! Both patiences are counted in looks: each counts the time since the one before, but hardly
//! more than the step that was planned. So when the master itself was late (a stall, a stop,
//! a pause of the whole machine), everybody gets that much longer, and what a worker has long
//! answered is read before it is judged. All other deadlines move by the lateness, too.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::order::{Announcement, Order};
use super::record::Record;
use super::supervisor::Supervisor;
use super::worker_state::WorkerState;
use crate::id::WorkerId;

/// Pings in one patience: so a hung worker is found at most an eighth later than it could be.
const PINGS_PER_PATIENCE: u32 = 8;

/// The longest time between two pings: a hang is noticed within a patience and this.
const PING_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Looks in one ack timeout at a worker that owes acks: so one that sleeps is found at most a
/// quarter later than it could be.
const LOOKS_PER_PATIENCE: u32 = 4;

/// The resolution of the shell's timers: to look more often would only spin.
const STEP_MIN: Duration = Duration::from_millis(1);

/// Lateness below this is a busy machine's; above, the master was stopped or starved, and its
/// deadlines have lost their meaning. After that, nobody's time is up for as long again: what
/// waits in the channels is heard first, and to read it takes milliseconds.
const LATENESS_MIN: Duration = Duration::from_millis(250);

/// How a worker's process was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Some signal has stopped it.
    Stopped,
    /// It wants CPU, whether it gets any or not.
    Running,
    /// All of it waits for something.
    Waiting,
}

/// How a hang was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HangSign {
    /// It was stopped, with handoffs un-acked.
    Stopped,
    /// It slept, with handoffs un-acked.
    NoAck,
    /// It did not answer a ping.
    NoPong,
}

/// The heartbeat of one worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeat {
    /// The ping that is not answered.
    silence: Option<Silence>,
    /// When to ask, or to look again. `None` before the worker has come up.
    look_at: Option<Instant>,
}

/// What is known of a ping without an answer.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// When this was last looked at.
    seen_at: Instant,
    /// How long the answer was missing by then, without the master's own lateness.
    lasted: Duration,
}

/// What is known of a worker that owes acks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Debt {
    /// When it was last looked at.
    seen_at: Instant,
    /// How long its oldest ack was missing by then, without the master's own lateness.
    owed_for: Duration,
    /// The CPU time that it had used by then.
    cpu: u64,
    /// How long it had been asleep, look after look, without using any more of that.
    slept_for: Duration,
}

/// A look at a worker that owes acks. As long as it does, one is taken every [`look_pause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// How long ago its oldest un-acked handoff was sent.
    pub unanswered_for: Duration,
    /// What its process does at the moment.
    pub activity: Activity,
    /// The CPU time it has used, in any unit.
    pub cpu: u64,
}

impl Heartbeat {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }
}

fn ping_pause(patience: Duration) -> Duration {
    let pause = (patience / PINGS_PER_PATIENCE).min(PING_PAUSE_MAX);
    pause.max(STEP_MIN)
}

/// Returns the time between two looks at a worker that owes acks.
#[must_use]
pub fn look_pause(ack_timeout: Duration) -> Duration {
    (ack_timeout / LOOKS_PER_PATIENCE).max(STEP_MIN)
}

/// Returns how much of the time since the last look counts, if the next was planned one step
/// later. Half a step more is what a busy machine needs; the rest is the master's own fault.
fn counted(since_last: Duration, step: Duration) -> Duration {
    since_last.min(step.saturating_add(step / 2))
}

impl Record {
    /// The worker has come up, and can be pinged from now on. Not before: a program may load for
    /// long what its successor would have to load, too.
    pub(super) fn start_heartbeat(&mut self, now: Instant, limits: &Limits) {
        if self.heartbeat.look_at.is_none() && !limits.heartbeat_timeout.is_zero() {
            self.heartbeat.look_at = now.checked_add(ping_pause(limits.heartbeat_timeout));
        }
    }

    pub(super) fn answered(&mut self, now: Instant, limits: &Limits) {
        if self.heartbeat.silence.take().is_some() {
            self.heartbeat.look_at = now.checked_add(ping_pause(limits.heartbeat_timeout));
        }
    }

    /// Pings if it is time; returns whether the worker has not answered for too long.
    fn beat(&mut self, now: Instant, limits: &Limits, orders: &mut Vec<Order>) -> bool {
        if self.heartbeat.look_at.is_none_or(|look_at| look_at > now) {
            return false;
        }
        if !matches!(self.state, WorkerState::Online | WorkerState::Listening) {
            // One that leaves has a deadline of its own.
            self.heartbeat = Heartbeat::default();
            return false;
        }
        let timeout = limits.heartbeat_timeout;
        let pause = ping_pause(timeout);
        if self.pid.is_none() {
            // It spoke, but the news that it runs is still on its way.
            self.heartbeat.look_at = now.checked_add(pause);
            return false;
        }
        let lasted = if let Some(silence) = self.heartbeat.silence {
            silence.lasted + counted(now.saturating_duration_since(silence.seen_at), pause)
        } else {
            orders.push(Order::Ping(self.worker));
            Duration::ZERO
        };
        let seen_at = now;
        self.heartbeat.silence = Some(Silence { seen_at, lasted });
        let left = timeout.saturating_sub(lasted);
        self.heartbeat.look_at = now.checked_add(pause.min(left));
        left.is_zero()
    }

    /// Judges a look at a worker that owes acks; returns how it hangs, if it does.
    fn judge_probe(&mut self, now: Instant, probe: Probe, limits: &Limits) -> Option<HangSign> {
        if self.is_killed {
            return None; // It was judged, and is only not reaped yet.
        }
        let patience = limits.ack_timeout;
        let debt = self.look_at_debt(now, probe, look_pause(patience));
        self.debt = Some(debt);
        if debt.owed_for < patience {
            return None;
        }
        match probe.activity {
            Activity::Stopped => Some(HangSign::Stopped),
            Activity::Waiting => (debt.slept_for >= patience).then_some(HangSign::NoAck),
            Activity::Running => None,
        }
    }

    fn look_at_debt(&self, now: Instant, probe: Probe, step: Duration) -> Debt {
        let age = |debt: &Debt| now.saturating_duration_since(debt.seen_at);
        // What was seen several looks ago says nothing: in between all was acked, or else the
        // master was away.
        let last = self
            .debt
            .filter(|debt| age(debt) / LOOKS_PER_PATIENCE < step);
        let since_last = counted(last.as_ref().map_or(Duration::MAX, age), step);
        let sleeps_on = |last: &Debt| probe.activity == Activity::Waiting && last.cpu == probe.cpu;
        let owed_for = last.map_or(Duration::ZERO, |last| last.owed_for) + since_last;
        Debt {
            seen_at: now,
            owed_for: owed_for.min(probe.unanswered_for),
            cpu: probe.cpu,
            slept_for: last
                .filter(sleeps_on)
                .map_or(Duration::ZERO, |last| last.slept_for + since_last),
        }
    }
}

impl Supervisor {
    /// Takes a look at a worker that owes acks.
    pub(super) fn probed(
        &mut self,
        now: Instant,
        worker: WorkerId,
        probe: Probe,
        orders: &mut Vec<Order>,
    ) {
        if self.limits.ack_timeout.is_zero() {
            return;
        }
        let limits = &self.limits;
        let record = self.workers.get_mut(&worker);
        let sign = record.and_then(|record| record.judge_probe(now, probe, limits));
        if let Some(sign) = sign {
            self.end_hung(worker, sign, orders);
        }
    }

    /// Pings whoever is due, and ends whoever did not answer.
    pub(super) fn beat_hearts(&mut self, now: Instant, orders: &mut Vec<Order>) {
        let mut silent = Vec::new();
        for record in self.workers.values_mut() {
            if record.beat(now, &self.limits, orders) {
                silent.push(record.worker);
            }
        }
        for worker in silent {
            self.end_hung(worker, HangSign::NoPong, orders);
        }
    }

    fn end_hung(&mut self, worker: WorkerId, sign: HangSign, orders: &mut Vec<Order>) {
        if let Some(record) = self.workers.get_mut(&worker) {
            orders.push(Order::Announce(Announcement::Hung { worker, sign }));
            // The master's kill, and not the program's own exit: so it does not count.
            record.ended_by_master = true;
            record.heartbeat = Heartbeat::default();
            record.kill(orders);
        }
    }

    /// Moves every deadline that somebody has to meet if the master is late for the earliest.
    /// A backoff stays: that is a wait of the master's own.
    pub(super) fn forgive_own_lateness(&mut self, now: Instant) {
        let late = self
            .deadline()
            .map(|deadline| now.saturating_duration_since(deadline));
        let Some(late) = late.filter(|late| *late >= LATENESS_MIN) else {
            return;
        };
        let earliest = now.checked_add(LATENESS_MIN);
        let postpone = |deadline: Instant| deadline.checked_add(late).max(earliest);
        for record in self.workers.values_mut() {
            record.postpone(postpone);
        }
        if let Some(reload) = &mut self.reload {
            reload.postpone(postpone);
        }
        self.phase.postpone(postpone);
    }
}
