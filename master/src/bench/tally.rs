//! Counts what happens, in memory that does not grow with the load.

use std::collections::HashMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer::{Head, Label};
use super::outcome::Outcome;

/// Significant digits of a latency: wrk has the same.
const LATENCY_DIGITS: u8 = 3;

/// Longest latency that is told apart from longer ones: the longest timeout that can be asked
/// for. In microseconds.
const LATENCY_MAX: u64 = 24 * 60 * 60 * 1_000_000;

/// Most workers that are told apart. A load that kills a worker every 150 ms, as the fault
/// tests do, meets this many in ten minutes.
const WORKERS_MAX: usize = 4_096;

/// Classes of status codes, from 1xx to 5xx; what lies outside is counted with the last.
const STATUS_CLASSES: usize = 5;

/// What one worker was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Answers that named it.
    pub(super) requests: u64,
    /// Connections whose first answer named it.
    pub(super) connections: u64,
}

/// Everything that is counted.
#[derive(Debug)]
pub(super) struct Tally {
    latencies: Histogram<u64>,
    /// How many requests had each outcome, as in [`Outcome::ALL`].
    pub(super) outcomes: [u64; Outcome::ALL.len()],
    /// How many answers had a status of 1xx, 2xx … 5xx.
    pub(super) statuses: [u64; STATUS_CLASSES],
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    /// Connections that came about.
    pub(super) connections: u64,
    /// Connections that the server closed while they lay idle, which costs no request.
    pub(super) closed_idle: u64,
    /// Requests that the server cut off although it had said, in an earlier answer on their
    /// connection, that it would be the last. They are failures all the same.
    pub(super) announced: u64,
    /// What was wrong with the first failure that has a reason, in words.
    pub(super) first_reason: Option<String>,
    pub(super) workers: HashMap<Label, Share>,
    /// Answers of workers beyond those that are told apart.
    pub(super) other_workers: u64,
}

impl Tally {
    /// A tally of nothing.
    pub(super) fn new() -> Self {
        Self {
            latencies: Histogram::new_with_max(LATENCY_MAX, LATENCY_DIGITS)
                .expect("the bounds of the histogram are sound"),
            outcomes: [0; Outcome::ALL.len()],
            statuses: [0; STATUS_CLASSES],
            received_bytes: 0,
            sent_bytes: 0,
            connections: 0,
            closed_idle: 0,
            announced: 0,
            first_reason: None,
            workers: HashMap::new(),
            other_workers: 0,
        }
    }

    /// Counts an answer.
    pub(super) fn answered(&mut self, head: &Head, latency: Duration, is_first: bool) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX);
        self.latencies.saturating_record(micros);
        self.outcomes[Outcome::Ok.index()] += 1;
        let class = usize::from(head.status / 100).clamp(1, STATUS_CLASSES);
        self.statuses[class - 1] += 1;
        if let Some(worker) = head.worker {
            self.served_by(worker, is_first);
        }
    }

    fn served_by(&mut self, worker: Label, is_first: bool) {
        if self.workers.len() >= WORKERS_MAX && !self.workers.contains_key(&worker) {
            self.other_workers += 1;
            return;
        }
        let share = self.workers.entry(worker).or_default();
        share.requests += 1;
        share.connections += u64::from(is_first);
    }

    /// Counts a request that has no answer.
    pub(super) fn failed(&mut self, outcome: Outcome, announced: bool, reason: Option<&str>) {
        self.outcomes[outcome.index()] += 1;
        self.announced += u64::from(announced);
        if self.first_reason.is_none() {
            self.first_reason = reason.map(str::to_owned);
        }
    }

    /// Returns how many requests have ended so.
    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome.index()]
    }

    /// Returns how many requests have ended.
    pub(super) fn ended(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Returns how many requests have failed.
    pub(super) fn failures(&self) -> u64 {
        self.ended() - self.count(Outcome::Ok)
    }

    /// Returns the latencies, in microseconds.
    pub(super) fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, worker: Option<&str>) -> Head {
        Head {
            status,
            closes: false,
            worker: worker.map(|name| Label::new(name.as_bytes())),
        }
    }

    #[test]
    fn answers_are_counted_by_class_and_worker() {
        let mut tally = Tally::new();
        for (status, worker, is_first) in [
            (200, Some("1"), true),
            (204, Some("1"), false),
            (404, Some("2"), true),
            (503, None, true),
            (999, None, true),
        ] {
            tally.answered(&head(status, worker), Duration::from_micros(5), is_first);
        }
        assert_eq!(tally.statuses, [0, 2, 0, 1, 2]);
        let share = |requests, connections| Share {
            requests,
            connections,
        };
        assert_eq!(tally.workers[&Label::new(b"1")], share(2, 1));
        assert_eq!(tally.workers[&Label::new(b"2")], share(1, 1));
        assert_eq!((tally.ended(), tally.failures()), (5, 0));
    }

    #[test]
    fn failures_are_counted_by_kind_and_the_first_reason_is_kept() {
        let mut tally = Tally::new();
        tally.failed(Outcome::Timeout, false, None);
        tally.failed(Outcome::BadAnswer, false, Some("first"));
        tally.failed(Outcome::ClosedBeforeAnswer, true, Some("second"));
        assert_eq!((tally.ended(), tally.failures()), (3, 3));
        assert_eq!(tally.count(Outcome::BadAnswer), 1);
        assert_eq!(tally.announced, 1);
        assert_eq!(tally.first_reason.as_deref(), Some("first"));
    }

    #[test]
    fn a_server_cannot_make_it_grow_without_end() {
        let mut tally = Tally::new();
        for number in 0..WORKERS_MAX + 10 {
            let worker = number.to_string();
            tally.answered(&head(200, Some(&worker)), Duration::ZERO, true);
        }
        assert_eq!(tally.workers.len(), WORKERS_MAX);
        assert_eq!(tally.other_workers, 10);
    }
}
