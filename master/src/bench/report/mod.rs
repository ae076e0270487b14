//! What a load has shown, in figures.

mod figures;
mod tables;

use std::time::Duration;

use serde::Serialize;

use super::course::Course;
use super::options::Options;
use super::outcome::Outcome;
use super::tally::Tally;
use figures::{Latency, Rate};

pub(super) use tables::tables;

/// Everything that is shown; as it stands, the answer for programs.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    url: String,
    connections: u32,
    pipelining: u32,
    close: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    think_ms: Option<[f64; 2]>,
    elapsed_seconds: f64,
    interrupted: bool,
    latency_ms: Latency,
    requests_per_second: Rate,
    bytes_per_second: Rate,
    samples: usize,
    totals: Totals,
    /// By the worker's name, in order.
    workers: Vec<WorkerShare>,
    /// Answers of workers beyond those that are told apart.
    other_workers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_reason: Option<String>,
}

/// What was counted.
#[derive(Debug, Serialize)]
struct Totals {
    /// Requests that have ended; those below add up to it.
    requests: u64,
    ok: u64,
    refused: u64,
    reset_before_answer: u64,
    closed_before_answer: u64,
    timeout: u64,
    bad_answer: u64,
    /// Those of `closed_before_answer` on connections whose end the server had announced.
    announced: u64,
    /// Requests that were given up when the load was interrupted twice.
    unfinished: u64,
    status_1xx: u64,
    status_2xx: u64,
    status_3xx: u64,
    status_4xx: u64,
    status_5xx: u64,
    connections: u64,
    /// Those of them that the server closed while they lay idle.
    closed_idle: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

/// What one worker was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct WorkerShare {
    worker: String,
    requests: u64,
    connections: u64,
}

impl Report {
    /// Draws up the figures.
    pub(super) fn new(options: &Options, course: &Course, tally: &Tally, unfinished: u64) -> Self {
        Self {
            url: options.target.url().to_owned(),
            connections: options.connections,
            pipelining: options.pipelining,
            close: options.close,
            think_ms: options
                .think
                .map(|think| [think.min, think.max].map(millis)),
            elapsed_seconds: course.elapsed.as_secs_f64(),
            interrupted: course.interrupted,
            latency_ms: Latency::of(tally.latencies()),
            requests_per_second: Rate::of(&course.samples.requests),
            bytes_per_second: Rate::of(&course.samples.bytes),
            samples: course.samples.requests.len(),
            totals: Totals::of(tally, unfinished),
            workers: shares(tally),
            other_workers: tally.other_workers,
            first_reason: tally.first_reason.clone(),
        }
    }
}

impl Totals {
    fn of(tally: &Tally, unfinished: u64) -> Self {
        let [status_1xx, status_2xx, status_3xx, status_4xx, status_5xx] = tally.statuses;
        Self {
            requests: tally.ended(),
            ok: tally.count(Outcome::Ok),
            refused: tally.count(Outcome::Refused),
            reset_before_answer: tally.count(Outcome::ResetBeforeAnswer),
            closed_before_answer: tally.count(Outcome::ClosedBeforeAnswer),
            timeout: tally.count(Outcome::Timeout),
            bad_answer: tally.count(Outcome::BadAnswer),
            announced: tally.announced,
            unfinished,
            status_1xx,
            status_2xx,
            status_3xx,
            status_4xx,
            status_5xx,
            connections: tally.connections,
            closed_idle: tally.closed_idle,
            received_bytes: tally.received_bytes,
            sent_bytes: tally.sent_bytes,
        }
    }

    fn count(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Ok => self.ok,
            Outcome::Refused => self.refused,
            Outcome::ResetBeforeAnswer => self.reset_before_answer,
            Outcome::ClosedBeforeAnswer => self.closed_before_answer,
            Outcome::Timeout => self.timeout,
            Outcome::BadAnswer => self.bad_answer,
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns the shares of the workers: by number those that have one, then the others by name.
fn shares(tally: &Tally) -> Vec<WorkerShare> {
    let mut shares: Vec<WorkerShare> = tally
        .workers
        .iter()
        .map(|(worker, share)| WorkerShare {
            worker: worker.as_str().to_owned(),
            requests: share.requests,
            connections: share.connections,
        })
        .collect();
    shares.sort_by_cached_key(|share| {
        let number = share.worker.parse().unwrap_or(u64::MAX);
        (number, share.worker.clone())
    });
    shares
}
