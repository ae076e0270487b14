//! A house run by proptest: the supervisor is real, the shell and the workers are played.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::id::{SlotId, WorkerId};
use crate::supervise::{
    Announcement, ExitStatus, Fact, Limits, Order, Outcome, SIGKILL, SIGTERM, Supervisor,
};

pub(super) use super::deeds::*;

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
