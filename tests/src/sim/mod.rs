//! A whole cluster without processes or sockets: one seed, one history.
//!
//! The dispatcher is the real one. Around it everything is played in virtual time: clients
//! and the kernel's backlog ([`kernel`]), workers that are slow, full, hung, lying or dead
//! ([`worker`]), a shell that performs orders and reports facts ([`world`]). A
//! [`plan::Plan`] drawn from the seed says how many there are of each and which faults may
//! strike; each seed allows some kinds of fault and forbids others, since a fault that is
//! always there hides what happens without it.
//!
//! [`run`] plays until nothing is left to happen, within a bound on the steps, so that a
//! livelock is a failure and not a test that hangs. After every step the naive model of
//! [`maitred_core::dispatch::replay`] must agree with each order, every connection must be
//! somewhere, and none may be handed on that a worker has taken. At the end every client was
//! served once, or refused with a reason.

pub mod kernel;
pub mod plan;
pub mod random;
pub mod worker;
pub mod world;

use std::fmt;

use maitred_core::dispatch::replay::Step;

use plan::Plan;
use world::World;

/// What a history contained, summed over seeds to show that the faults did strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Inputs to the dispatcher.
    pub steps: u64,
    /// Connections the master accepted.
    pub accepted: u64,
    /// Connections a worker took.
    pub served: u64,
    /// Accepted while accepting was paused, with a full queue.
    pub refused_full: u64,
    /// Refused since workers kept dying with them.
    pub refused_deaths: u64,
    /// Refused since every worker kept rejecting them.
    pub refused_rejects: u64,
    /// Refused since their server was closed.
    pub refused_closed: u64,
    /// Never accepted: in the backlog when the listener was closed, or too late for it.
    pub reset: u64,
    /// Went back to the queue.
    pub requeued: u64,
    /// Workers that were reaped, for whatever reason.
    pub deaths: u64,
    /// Acks that were read from the channel of a worker that was dead already.
    pub late_acks: u64,
    /// Workers that broke the protocol and were expelled.
    pub expelled: u64,
}

impl Outcome {
    /// Adds another history's counts.
    pub fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.accepted += other.accepted;
        self.served += other.served;
        self.refused_full += other.refused_full;
        self.refused_deaths += other.refused_deaths;
        self.refused_rejects += other.refused_rejects;
        self.refused_closed += other.refused_closed;
        self.reset += other.reset;
        self.requeued += other.requeued;
        self.deaths += other.deaths;
        self.late_acks += other.late_acks;
        self.expelled += other.expelled;
    }
}

/// A law was broken.
#[derive(Debug)]
pub struct Failure {
    /// The seed of the history.
    pub seed: u64,
    /// Which law, and how.
    pub law: String,
    /// All that happened up to then; the page can play it.
    pub trace: Vec<Step>,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, law, trace } = self;
        write!(formatter, "seed {seed}, step {}: {law}", trace.len())
    }
}

impl std::error::Error for Failure {}

/// Plays the history of one seed to its end.
///
/// # Errors
///
/// The first law that was broken.
pub fn run(seed: u64) -> Result<Outcome, Failure> {
    run_plan(Plan::from_seed(seed))
}

/// Plays the history of one seed and returns its steps, as the page would play them.
///
/// # Errors
///
/// The first law that was broken.
pub fn record(seed: u64) -> Result<Vec<Step>, Failure> {
    let mut world = World::new(Plan::from_seed(seed));
    match world.play() {
        Ok(()) => Ok(world.into_trace()),
        Err(law) => Err(Failure {
            seed,
            law,
            trace: world.into_trace(),
        }),
    }
}

/// Plays a plan, for tests that want a certain one.
///
/// # Errors
///
/// The first law that was broken.
pub fn run_plan(plan: Plan) -> Result<Outcome, Failure> {
    let seed = plan.seed;
    let mut world = World::new(plan);
    match world.play() {
        Ok(()) => Ok(world.into_outcome()),
        Err(law) => Err(Failure {
            seed,
            law,
            trace: world.into_trace(),
        }),
    }
}
