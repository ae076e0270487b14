//! The event loop: virtual time, a played shell, and the laws after every step.

mod fate;
mod shell;
mod staff;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Instant;

use maitred_core::dispatch::replay::{Model, Step};
use maitred_core::dispatch::{Dispatcher, PolicyName};
use maitred_core::id::{ServerId, WorkerId};

use super::Outcome;
use super::kernel::{Fortune, Listener};
use super::plan::{Fate, Plan};
use super::random::Random;
use super::worker::{FakeWorker, Message};

/// The broken law, in words.
type Law = Result<(), String>;

/// What will happen at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    ClientConnects(ServerId),
    AcceptTurn(ServerId),
    /// One accept that was under way when the pause was ordered.
    LateAccept(ServerId),
    WorkerTurn(WorkerId),
    WorkerRecovers(WorkerId),
    ChannelReadable(WorkerId),
    HangNoticed(WorkerId),
    Reaped(WorkerId),
    Spawned,
    ListenAgain(WorkerId, ServerId),
    FateStrikes,
    OpenAgain(ServerId),
    /// The last event that is planned: from here on things can only get better.
    Finale,
}

/// The house and all who come and go.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    random: Random,
    dispatcher: Dispatcher,
    model: Model,
    origin: Instant,
    now: u64,
    // The middle number keeps events of the same time in the order of their planning.
    agenda: BinaryHeap<Reverse<(u64, u64, Event)>>,
    planned: u64,
    listeners: BTreeMap<ServerId, Listener>,
    workers: BTreeMap<WorkerId, FakeWorker>,
    workers_ever: u32,
    windows_sum_max: usize,
    /// The most workers there ever were at once.
    crowd_max: usize,
    /// How many handoffs there were.
    issued: u64,
    fortunes: Vec<Fortune>,
    ended: usize,
    trace: Vec<Step>,
    outcome: Outcome,
}

impl World {
    /// Prepares a history.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        Self {
            random: Random::new(plan.seed),
            plan,
            dispatcher: Dispatcher::new(),
            model: Model::new(),
            origin: Instant::now(), // Any instant: only differences are ever looked at.
            now: 0,
            agenda: BinaryHeap::new(),
            planned: 0,
            listeners: BTreeMap::new(),
            workers: BTreeMap::new(),
            workers_ever: 0,
            windows_sum_max: 0,
            crowd_max: 0,
            issued: 0,
            fortunes: Vec::new(),
            ended: 0,
            trace: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    /// Plays to the end.
    ///
    /// # Errors
    ///
    /// The first law that was broken.
    pub fn play(&mut self) -> Law {
        self.open_the_house()?;
        while let Some(Reverse((time, _, event))) = self.agenda.pop() {
            self.now = time;
            self.happen(event)?;
        }
        self.check_the_end()
    }

    /// Returns the counts.
    #[must_use]
    pub fn into_outcome(self) -> Outcome {
        Outcome {
            requeued: self.model.report().requeued,
            ..self.outcome
        }
    }

    /// Returns every step so far.
    #[must_use]
    pub fn into_trace(self) -> Vec<Step> {
        self.trace
    }

    fn open_the_house(&mut self) -> Law {
        for server in 0..self.plan.servers {
            self.open(ServerId(u32::try_from(server).unwrap_or(0)))?;
        }
        for _ in 0..self.plan.workers {
            self.spawn(false)?;
        }
        for _ in 0..self.plan.clients {
            let server = ServerId(u32::try_from(self.random.below(self.plan.servers)).unwrap_or(0));
            self.plan_within(self.plan.rush, Event::ClientConnects(server));
        }
        for _ in 0..self.plan.strikes {
            self.plan_within(self.plan.rush, Event::FateStrikes);
        }
        self.plan_in(self.plan.rush + 1, Event::Finale);
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Law {
        match event {
            Event::ClientConnects(server) => self.client_connects(server),
            Event::AcceptTurn(server) => self.accept(server, true),
            Event::LateAccept(server) => self.accept(server, false),
            Event::WorkerTurn(worker) => self.worker_turn(worker),
            Event::WorkerRecovers(worker) => self.write(worker, Message::Ready),
            Event::ChannelReadable(worker) => self.read_one(worker),
            Event::HangNoticed(worker) => self.hang_noticed(worker),
            Event::Reaped(worker) => self.reaped(worker),
            Event::Spawned => self.spawn(false),
            Event::ListenAgain(worker, server) => self.listen(worker, server),
            Event::FateStrikes => self.strike(),
            Event::OpenAgain(server) => self.reopen(server),
            Event::Finale => self.finale(),
        }
    }

    fn plan_in(&mut self, delay: u64, event: Event) {
        self.planned += 1;
        self.agenda
            .push(Reverse((self.now + delay, self.planned, event)));
    }

    fn plan_within(&mut self, delay_max: u64, event: Event) {
        let delay = self.random.between(0, delay_max);
        self.plan_in(delay, event);
    }

    fn check_laws(&self) -> Law {
        let (accepted, held) = (self.fortunes.len(), self.dispatcher.held());
        law(accepted == self.ended + held, || {
            format!(
                "{accepted} accepted, but {} ended and {held} held",
                self.ended
            )
        })?;
        // Under `sticky` so many may wait for each worker that is full, while one is not.
        let is_ever_sticky =
            self.plan.policy == PolicyName::Sticky || self.plan.fates.contains(&Fate::Respread);
        let others = self.crowd_max.saturating_sub(1).max(1);
        let queues = if is_ever_sticky { others } else { 1 };
        let bound = self.plan.pending_max * queues + self.windows_sum_max;
        for &server in self.listeners.keys() {
            let pending = self.dispatcher.pending_of(server);
            law(pending <= bound, || {
                format!("{pending} wait for {server}, above {bound}")
            })?;
        }
        for (&id, worker) in &self.workers {
            let (in_flight, window) = (self.dispatcher.in_flight_of(id), worker.window);
            law(in_flight <= window, || {
                format!("{id}: {in_flight} in flight, window {window}")
            })?;
            let owes = self.dispatcher.oldest_handoff(id).is_some();
            law(owes == (in_flight > 0), || {
                format!("{id}: {in_flight} in flight, owes: {owes}")
            })?;
        }
        Ok(())
    }

    fn check_the_end(&self) -> Law {
        for (server, listener) in &self.listeners {
            let waiting = listener.backlog;
            law(waiting == 0, || {
                format!("{waiting} clients of {server} wait for ever")
            })?;
        }
        let held = self.dispatcher.held();
        law(held == 0, || format!("{held} connections wait for ever"))?;
        match self.fortunes.iter().position(|fortune| !fortune.is_just()) {
            Some(place) => Err(format!(
                "connection {place} ended as {:?}",
                self.fortunes[place]
            )),
            None => Ok(()),
        }
    }
}

fn law(holds: bool, otherwise: impl FnOnce() -> String) -> Law {
    if holds { Ok(()) } else { Err(otherwise()) }
}
