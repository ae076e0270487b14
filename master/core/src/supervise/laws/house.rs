//! A house run by proptest: the supervisor is real, the shell and the workers are played.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::id::{ServerId, SlotId, WorkerId};
use crate::supervise::{
    Activity, Announcement, ExitCodes, ExitStatus, Fact, Limits, Order, Outcome, Probe, ReloadWish,
    SIGKILL, SIGTERM, Supervisor,
};

/// Servers that there are. Workers can differ in where they listen, and yet often agree.
pub(super) const SERVERS: u32 = 3;

/// The code that may mean "do not start me again".
pub(super) const STOP_CODE: u8 = 3;

/// What a late master grants from then on, at the least.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// What may happen next. A first number chooses among the workers there are, modulo how
/// many there are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Scale(u32),
    Fork,
    /// The oldest order to spawn is answered: it runs, or it does not.
    Start(bool),
    ComeOnline(u8),
    Listen(u8, ServerId),
    Close(u8, ServerId),
    SayReady(u8),
    Answer(u8),
    Look(u8, Probe),
    Disconnect(u8),
    Leave(u8),
    CloseChannel(u8),
    Breach(u8),
    Kill(u8, i32),
    Exit(u8, ExitStatus),
    Reload(ReloadWish),
    Restart(Option<SlotId>),
    Stop,
    Reset(Option<SlotId>),
    /// A report that was given before, or contradicts one.
    Repeat(u8, bool),
    /// Any fact of a worker that is gone or yet to come.
    Lie(u8, u8),
    Shutdown,
    CloseServers,
    /// Time passes, up to the next deadline or regardless of it.
    WaitForDeadline,
    Wait(u64),
}

/// The width of a range is the weight of a deed. This is no `prop_oneof`, since that readies
/// every alternative for each deed, which took nine tenths of the time of all laws.
fn any_deed() -> impl Strategy<Value = Deed> {
    (0_u8..92, any::<u8>(), any::<u8>()).prop_map(|(kind, number, other)| match kind {
        0..8 => Deed::WaitForDeadline,
        8..20 => Deed::Start(other % 5 > 0),
        20..24 => Deed::ComeOnline(number),
        24..36 => Deed::Listen(number, server(other)),
        36..38 => Deed::Close(number, server(other)),
        38..42 => Deed::Answer(number),
        42..45 => Deed::Look(number, look(other)),
        45..53 => Deed::Exit(number, status(other)),
        53..57 => Deed::Scale(u32::from(number % 6)),
        57..59 => Deed::Fork,
        59..61 => Deed::Disconnect(number),
        61..63 => Deed::Leave(number),
        63..65 => Deed::CloseChannel(number),
        65 => Deed::Breach(number),
        66..68 => Deed::Kill(number, signal(other)),
        68..70 => Deed::Repeat(number, other % 2 == 0),
        70..72 => Deed::Lie(number, other),
        72 => Deed::Shutdown,
        73..75 => Deed::CloseServers,
        75..80 => Deed::Reload(wish(other)),
        80 => Deed::Restart(slot(other)),
        81 => Deed::Stop,
        82 => Deed::Reset(slot(other)),
        83..87 => Deed::SayReady(number),
        _ => Deed::Wait(u64::from(other) * 20),
    })
}

pub(super) fn server(number: u8) -> ServerId {
    ServerId(u32::from(number) % SERVERS)
}

pub(super) fn wish(number: u8) -> ReloadWish {
    ReloadWish {
        parallel: u32::from(number % 4),
        allow_listen_change: number > 200,
    }
}

pub(super) fn look(number: u8) -> Probe {
    let activities = [Activity::Stopped, Activity::Running, Activity::Waiting];
    Probe {
        unanswered_for: millis(u64::from(number / 4) * 20),
        activity: activities[usize::from(number % 3)],
        cpu: u64::from(number / 128),
    }
}

fn status(number: u8) -> ExitStatus {
    ExitStatus::code(if number.is_multiple_of(8) {
        STOP_CODE.into()
    } else {
        1
    })
}

fn signal(number: u8) -> i32 {
    const SIGNALS: [i32; 5] = [0, 1, SIGKILL, SIGTERM, -7];
    SIGNALS[usize::from(number) % SIGNALS.len()]
}

/// One slot of those that there often are, or all.
pub(super) fn slot(number: u8) -> Option<SlotId> {
    Some(SlotId(u32::from(number % 8))).filter(|slot| slot.0 < 5)
}

pub(super) fn any_deeds() -> impl Strategy<Value = Vec<Deed>> {
    prop::collection::vec(any_deed(), 0..80)
}

/// Small numbers, zero among them, so that every limit is met often enough to be tested.
pub(super) fn any_limits() -> impl Strategy<Value = Limits> {
    let timeout = || prop_oneof![Just(0_u64), Just(1000), Just(3000)].prop_map(millis);
    let backoff = || prop_oneof![Just(0_u64), Just(100), Just(700)].prop_map(millis);
    let patience = || prop_oneof![Just(0_u64), Just(800)].prop_map(millis);
    let timeouts = (timeout(), timeout(), timeout());
    let patiences = (patience(), patience());
    let backoffs = (backoff(), backoff(), 0_u32..4);
    let wishes = (any::<bool>(), any::<bool>(), any::<bool>());
    (timeouts, patiences, backoffs, wishes).prop_map(
        |(timeouts, patiences, backoffs, (stays, stops, waits))| Limits {
            drain_timeout: timeouts.0,
            kill_timeout: timeouts.1,
            kill_signal: SIGTERM,
            backoff_initial: backoffs.0,
            backoff_max: backoffs.1,
            max_boot_failures: backoffs.2,
            wait_ready: waits,
            listen_timeout: timeouts.2,
            ack_timeout: patiences.0,
            heartbeat_timeout: patiences.1,
            stop_codes: if stops {
                ExitCodes::NONE.with(STOP_CODE)
            } else {
                ExitCodes::NONE
            },
            workers_max: 4,
            stay_when_errored: stays,
        },
    )
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One fact, and what was ordered about it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) now: Instant,
    pub(super) fact: Fact,
    pub(super) orders: Vec<Order>,
    /// Whether workers were wanted until then.
    pub(super) was_running: bool,
}

/// A supervisor with everything around it played by the test.
pub(super) struct House {
    pub(super) supervisor: Supervisor,
    pub(super) now: Instant,
    pub(super) steps: Vec<Step>,
    /// The place of each worker that is ordered and not gone.
    pub(super) places: BTreeMap<WorkerId, SlotId>,
    /// Those of them that have no process yet.
    pub(super) unborn: BTreeSet<WorkerId>,
    /// Those that got a SIGKILL, which nobody survives.
    pub(super) killed: BTreeSet<WorkerId>,
    /// Those that were told anything from which a well-behaved worker exits.
    pub(super) asked: BTreeSet<WorkerId>,
    /// How many managed workers were asked for last.
    pub(super) wanted: u32,
    /// Slots that stay empty because a worker, or an operator, said so.
    pub(super) halted: BTreeSet<SlotId>,
    /// What the master's lateness may have added to any deadline, all in all.
    pub(super) forgiven: Duration,
    pub(super) outcome: Option<Outcome>,
}

impl House {
    pub(super) fn new(limits: Limits, foreground: bool) -> Self {
        Self {
            supervisor: Supervisor::new(limits, foreground),
            now: Instant::now(),
            steps: Vec::new(),
            places: BTreeMap::new(),
            unborn: BTreeSet::new(),
            killed: BTreeSet::new(),
            asked: BTreeSet::new(),
            wanted: 0,
            halted: BTreeSet::new(),
            forgiven: Duration::ZERO,
            outcome: None,
        }
    }

    /// A house after all that.
    pub(super) fn after(limits: Limits, foreground: bool, deeds: Vec<Deed>) -> Self {
        let mut house = Self::new(limits, foreground);
        deeds.into_iter().for_each(|deed| drop(house.perform(deed)));
        house
    }

    /// Returns the living worker that a number means.
    pub(super) fn worker(&self, number: u8) -> Option<WorkerId> {
        let index = usize::from(number).checked_rem(self.places.len())?;
        self.places.keys().nth(index).copied()
    }

    /// Does it, unless it makes no sense just now, and returns what is ordered about it.
    pub(super) fn perform(&mut self, deed: Deed) -> Vec<Order> {
        let fact = match deed {
            Deed::Scale(count) => Some(Fact::ScaleAsked(count)),
            Deed::Fork => Some(Fact::ForkAsked),
            Deed::Start(succeeds) => self.start(succeeds),
            Deed::ComeOnline(number) => self.worker(number).map(Fact::Online),
            Deed::Listen(number, server) => {
                let worker = self.worker(number);
                worker.map(|worker| Fact::Listening { worker, server })
            }
            Deed::Close(number, server) => {
                let worker = self.worker(number);
                worker.map(|worker| Fact::Closed { worker, server })
            }
            Deed::SayReady(number) => self.worker(number).map(Fact::SaidReady),
            Deed::Answer(number) => self.worker(number).map(Fact::Answered),
            Deed::Look(number, probe) => {
                let worker = self.worker(number);
                worker.map(|worker| Fact::Probed { worker, probe })
            }
            Deed::Disconnect(number) => self.worker(number).map(Fact::DisconnectAsked),
            Deed::Leave(number) => self.worker(number).map(Fact::LeavingVoluntarily),
            Deed::CloseChannel(number) => self.worker(number).map(Fact::ChannelClosed),
            Deed::Breach(number) => self.worker(number).map(Fact::Breached),
            Deed::Kill(number, signal) => {
                let worker = self.worker(number);
                worker.map(|worker| Fact::KillAsked { worker, signal })
            }
            Deed::Exit(number, status) => {
                let worker = self.worker(number);
                let runs = worker.filter(|worker| !self.unborn.contains(worker));
                runs.map(|worker| Fact::Exited { worker, status })
            }
            Deed::Reload(wish) => Some(Fact::ReloadAsked(wish)),
            Deed::Restart(slot) => Some(Fact::RestartAsked(slot)),
            Deed::Stop => Some(Fact::StopAsked),
            Deed::Reset(slot) => Some(Fact::ResetAsked(slot)),
            Deed::Repeat(number, runs) => self.repeat(number, runs),
            Deed::Lie(number, fact) => Some(self.lie(number, fact)),
            Deed::Shutdown => Some(Fact::ShutdownAsked),
            Deed::CloseServers => Some(Fact::ServersClosed),
            Deed::WaitForDeadline => {
                self.now = self.supervisor.deadline().unwrap_or(self.now);
                Some(Fact::Tick)
            }
            Deed::Wait(time) => {
                self.now += millis(time);
                Some(Fact::Tick)
            }
        };
        fact.map_or_else(Vec::new, |fact| self.tell(fact))
    }

    pub(super) fn start(&self, succeeds: bool) -> Option<Fact> {
        let worker = *self.unborn.first()?;
        Some(if succeeds {
            let pid = worker.0 + 100;
            Fact::Spawned { worker, pid }
        } else {
            Fact::SpawnFailed { worker }
        })
    }

    fn repeat(&self, number: u8, runs: bool) -> Option<Fact> {
        let worker = self.worker(number)?;
        let pid = worker.0 + 200;
        (!self.unborn.contains(&worker)).then_some(if runs {
            Fact::Spawned { worker, pid }
        } else {
            Fact::SpawnFailed { worker }
        })
    }

    /// Returns a fact of a worker that is gone, never was, or is a while to come.
    pub(super) fn lie(&self, number: u8, fact: u8) -> Fact {
        let worker = WorkerId(number.into());
        let worker = if self.places.contains_key(&worker) {
            WorkerId(u32::MAX)
        } else {
            worker
        };
        let server = server(fact);
        match fact % 14 {
            0 => Fact::Spawned { worker, pid: 7 },
            1 => Fact::SpawnFailed { worker },
            2 => Fact::Online(worker),
            3 => Fact::Listening { worker, server },
            4 => Fact::DisconnectAsked(worker),
            5 => Fact::LeavingVoluntarily(worker),
            6 => Fact::ChannelClosed(worker),
            7 => Fact::Breached(worker),
            8 => Fact::KillAsked {
                worker,
                signal: SIGKILL,
            },
            9 => Fact::Closed { worker, server },
            10 => Fact::Answered(worker),
            11 => Fact::Probed {
                worker,
                probe: look(number),
            },
            12 => Fact::SaidReady(worker),
            _ => exited(worker),
        }
    }

    /// Tells the supervisor a fact; the world is as the fact says before it answers.
    pub(super) fn tell(&mut self, fact: Fact) -> Vec<Order> {
        if let Fact::Spawned { worker, .. } = fact {
            self.unborn.remove(&worker);
        } else if let Fact::Exited { worker, .. } = fact {
            self.places.remove(&worker);
        } else if let Fact::SpawnFailed { worker } = fact
            && self.unborn.remove(&worker)
        {
            self.places.remove(&worker);
        }
        let was_running = self.supervisor.phase.is_running();
        let due = self.supervisor.deadline();
        let late = due.map(|due| self.now.saturating_duration_since(due));
        if let Some(late) = late.filter(|late| *late >= GRACE) {
            self.forgiven += late + GRACE;
        }
        let mut orders = Vec::new();
        self.supervisor.handle(self.now, fact, &mut orders);
        if let Fact::ScaleAsked(count) = fact
            && was_running
        {
            self.wanted = count.min(self.supervisor.limits.workers_max);
        }
        orders.iter().for_each(|order| self.obey(order));
        self.steps.push(Step {
            now: self.now,
            fact,
            orders: orders.clone(),
            was_running,
        });
        orders
    }

    fn obey(&mut self, order: &Order) {
        match *order {
            Order::Spawn { worker, slot, .. } => {
                self.places.insert(worker, slot);
                self.unborn.insert(worker);
                self.halted.remove(&slot);
            }
            Order::Drain(worker) => drop(self.asked.insert(worker)),
            Order::Signal { worker, signal } if signal == SIGKILL => {
                self.killed.insert(worker);
            }
            Order::Signal { worker, signal } if signal == SIGTERM => {
                self.asked.insert(worker);
            }
            Order::Finish(ref outcome) => self.outcome = Some(outcome.clone()),
            Order::Announce(Announcement::Stopped { slot }) => drop(self.halted.insert(slot)),
            Order::Announce(Announcement::Resting) => {
                let slots = self.supervisor.wanted_slots();
                self.halted = slots.map(|(id, _)| id).collect();
            }
            Order::Signal { .. } | Order::Ping(_) | Order::CloseServers | Order::Announce(_) => {}
        }
    }

    /// Plays on until it is finished: workers are forked, killed ones die, and others exit
    /// only as often as `obeys` says. Returns the steps it took, or `None` if nothing could
    /// happen any more or it took more than `steps_max`.
    pub(super) fn play_to_the_end(&mut self, obeys: &[bool], steps_max: usize) -> Option<usize> {
        let mut obeys = obeys.iter().copied().cycle();
        for step in 0..=steps_max {
            if self.outcome.is_some() {
                return Some(step);
            }
            let obeys = obeys.next() == Some(true);
            let fact = if let Some(fact) = self.start(true) {
                fact
            } else if let Some(fact) = self.leave_as_told(obeys) {
                fact
            } else {
                self.now = self.supervisor.deadline()?;
                Fact::Tick
            };
            self.tell(fact);
        }
        None
    }

    /// Who got SIGKILL dies; who was only asked to leave does so if it obeys.
    pub(super) fn leave_as_told(&self, obeys: bool) -> Option<Fact> {
        let runs = |worker: &&WorkerId| !self.unborn.contains(worker);
        let mut living = self.places.keys().filter(runs);
        let dying = living.clone().find(|worker| self.killed.contains(worker));
        let polite = living.find(|worker| self.asked.contains(worker));
        dying.or(polite.filter(|_| obeys)).copied().map(exited)
    }
}

pub(super) fn exited(worker: WorkerId) -> Fact {
    let status = ExitStatus::code(1);
    Fact::Exited { worker, status }
}
