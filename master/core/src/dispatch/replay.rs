//! A second opinion on what the dispatcher did.
//!
//! The shell can record every input with the orders it led to. Such a recording proves the
//! scheduling of a real run exactly, where counting connections per worker only makes it
//! plausible: [`check`] follows it with a model that is written as naively as possible
//! (plain vectors, long searches, nothing shared with the dispatcher) and knows at each
//! moment which order is due. [`replay`] also feeds the inputs to a fresh dispatcher, which
//! must order the same again.
//!
//! Two implementations agree on a mistake only if somebody made it twice.

mod choice;
mod model;
mod notes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Dispatcher, Effect, Input};
use crate::id::{ServerId, WorkerId};
pub use model::Model;

/// One input and the orders it led to: a line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, counted from the start of the recording.
    pub at_micros: u64,
    /// What the dispatcher was told.
    pub input: Input,
    /// What it answered.
    pub effects: Vec<Effect>,
}

/// What a recording contains, and how evenly the connections were spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Inputs.
    pub steps: u64,
    /// Connections that came in.
    pub accepted: u64,
    /// Attempts to give one to a worker: all of them to the one whose turn it was.
    pub handoffs: u64,
    /// Connections that a worker took.
    pub released: u64,
    /// Connections that went back to the queue, after a reject or a death.
    pub requeued: u64,
    /// Connections closed unserved.
    pub refused: u64,
    /// The share of each worker that ever listened.
    pub per_worker: BTreeMap<WorkerId, Share>,
    /// The share of each server that was ever open.
    pub per_server: BTreeMap<ServerId, Share>,
    /// `(max − min) / mean` of the connections that each worker took; 0 if none did.
    ///
    /// It means little when workers came and went, for a late one had fewer turns.
    pub spread: f64,
}

/// What one worker or one server had of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Attempts.
    pub handoffs: u64,
    /// Connections taken.
    pub released: u64,
}

/// A recording and the rules differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step}, {input:?}: expected {expected}, found {found}")]
#[non_exhaustive]
pub struct ReplayError {
    /// Which step, the first being 0.
    pub step: usize,
    /// The input of that step.
    pub input: Input,
    /// What the rules ask for at this place.
    pub expected: String,
    /// What the recording has there.
    pub found: String,
}

/// What was expected in a step and what was found; the caller knows which step it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
#[non_exhaustive]
pub struct Mismatch {
    /// What the rules ask for at this place.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// Checks a recording, made from the dispatcher's first input on, against the naive model.
///
/// # Errors
///
/// The first step in which an order is missing, too many, or not the one that is due.
pub fn check(steps: &[Step]) -> Result<Report, ReplayError> {
    let mut model = Model::new();
    for (number, step) in steps.iter().enumerate() {
        let found = model.observe(&step.input, &step.effects);
        found.map_err(|mismatch| at_step(number, step, mismatch))?;
    }
    Ok(model.report())
}

/// Checks a recording like [`check`], and that a fresh dispatcher orders the same again.
///
/// `origin` stands for the start of the recording; any instant will do.
///
/// # Errors
///
/// The first step in which the recording differs from the model or from the dispatcher.
pub fn replay(origin: Instant, steps: &[Step]) -> Result<Report, ReplayError> {
    let report = check(steps)?;
    let (mut dispatcher, mut effects) = (Dispatcher::new(), Vec::new());
    for (number, step) in steps.iter().enumerate() {
        effects.clear();
        let now = origin + Duration::from_micros(step.at_micros);
        dispatcher.handle(now, step.input.clone(), &mut effects);
        if effects != step.effects {
            let (expected, found) = (format!("{effects:?}"), format!("{:?}", step.effects));
            return Err(at_step(number, step, Mismatch { expected, found }));
        }
    }
    Ok(report)
}

fn at_step(step: usize, recorded: &Step, mismatch: Mismatch) -> ReplayError {
    let Mismatch { expected, found } = mismatch;
    ReplayError {
        step,
        input: recorded.input.clone(),
        expected,
        found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::PolicyName;
    use crate::id::{ConnectionId, HandoffId, SlotId};

    /// Three workers, and nine connections that are acked at once.
    fn recording() -> (Instant, Vec<Step>) {
        let (server, policy) = (ServerId(0), PolicyName::Rr);
        let mut inputs = vec![Input::ServerOpened {
            server,
            policy,
            pending_max: 1,
        }];
        for worker in [1, 2, 3].map(WorkerId) {
            inputs.push(Input::Joined {
                worker,
                slot: SlotId(worker.0),
                window: 1,
            });
            inputs.push(Input::Listening { worker, server });
        }
        for number in 0..9 {
            let (connection, handoff) = (ConnectionId(number.into()), HandoffId(number.into()));
            inputs.push(Input::Accepted {
                connection,
                server,
                client: None,
            });
            inputs.push(Input::Acked {
                worker: WorkerId(number % 3 + 1),
                handoff,
            });
        }
        let (origin, mut dispatcher) = (Instant::now(), Dispatcher::new());
        let record = |(at_micros, input): (u64, Input)| {
            let mut effects = Vec::new();
            dispatcher.handle(origin, input.clone(), &mut effects);
            Step {
                at_micros,
                input,
                effects,
            }
        };
        (origin, (0..).zip(inputs).map(record).collect())
    }

    #[test]
    fn a_true_recording_is_reported() {
        let (origin, steps) = recording();
        let report = replay(origin, &steps).unwrap();
        assert_eq!(
            (report.accepted, report.handoffs, report.released),
            (9, 9, 9)
        );
        let shares: Vec<_> = report
            .per_worker
            .values()
            .map(|share| share.released)
            .collect();
        assert_eq!((shares, report.spread), (vec![3, 3, 3], 0.0));
    }

    #[test]
    fn a_handoff_that_did_not_go_to_the_head_is_named() {
        let (_, mut steps) = recording();
        if let Some(Effect::HandOff { worker, .. }) = steps[7].effects.first_mut() {
            *worker = WorkerId(2);
        }
        let error = check(&steps).unwrap_err();
        assert_eq!(error.step, 7);
        assert!(error.expected.contains("WorkerId(1)"), "{error}");
        assert!(error.found.contains("WorkerId(2)"), "{error}");
    }

    #[test]
    fn an_order_that_is_missing_is_named() {
        let (_, mut steps) = recording();
        steps[8].effects.clear();
        let error = check(&steps).unwrap_err();
        assert_eq!(
            (error.step, error.found.contains("nothing")),
            (8, true),
            "{error}"
        );
        assert!(error.expected.contains("Release"), "{error}");
    }
}
