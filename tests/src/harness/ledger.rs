//! The closing check of every cluster, whatever its test was about: does what the master said
//! of each connection add up?
//!
//! A load has its own judge, `maitred check-loss`, which knows the client's side as well. This
//! one needs no client, so it holds in every test that lets a master say its events. It says
//! how it would be wrong, in the order of the invariants:
//!
//! 1. What was accepted was acked or refused, and at a good end nothing is held.
//! 2. A connection ends once, and takes no step before its beginning or behind its end.
//! 3. A worker that is gone is handed nothing more, acks nothing more, and holds nothing.
//!
//! That the master's descriptors are those of the beginning is checked where the cluster ends,
//! since only a living process has any.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::Log;

/// How many of its complaints are told: the first are the cause of the others.
const COMPLAINTS_MAX: usize = 10;

/// What became of one connection so far.
#[derive(Debug, Default)]
struct Life {
    /// The handoff in flight, and the worker that has it.
    holder: Option<(u64, u64)>,
    has_ended: bool,
}

/// What a master said of connections and of the ends of its workers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lives: HashMap<u64, Life>,
    /// When each worker was reported gone.
    gone: HashMap<u64, u64>,
    /// When each worker last took or was given something.
    latest: HashMap<u64, u64>,
    dropped: u64,
    complaints: Vec<String>,
}

impl Ledger {
    /// Reads what a file has, or else the log.
    pub(super) fn of(record: &Path, log: &Log) -> Self {
        let mut ledger = Self::default();
        match File::open(record) {
            Ok(file) => BufReader::new(file)
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| serde_json::from_str(&line).ok())
                .for_each(|event| ledger.take(&event)),
            Err(_) => {
                let steps = log.all_steps();
                let ends = ["exit", "lost", "dropped", "end"].map(|name| log.named(name));
                let events = steps.iter().chain(ends.iter().flatten());
                events.for_each(|event| ledger.take(event));
            }
        }
        ledger
    }

    /// Takes what the master said next. The ends of workers may stand anywhere among the rest.
    fn take(&mut self, event: &Value) {
        let number = |field: &str| event[field].as_u64();
        let name = event["event"].as_str().unwrap_or_default();
        // Without a time, as the library tells of exits, nothing counts as later.
        let at = number("monotonic_ns").unwrap_or(u64::MAX);
        if let Some(connection) = number("connection") {
            let handoff = number("handoff").zip(number("worker"));
            self.step(name, connection, handoff);
            if let ("handed_off" | "acked", Some((_, worker))) = (name, handoff) {
                self.latest.insert(worker, at);
            }
            return;
        }
        match (name, number("worker")) {
            ("exit", Some(worker)) => drop(self.gone.insert(worker, at)),
            ("lost" | "dropped", _) => self.dropped += number("count").unwrap_or_default(),
            _ => {}
        }
    }

    fn step(&mut self, name: &str, connection: u64, handoff: Option<(u64, u64)>) {
        if name == "accepted" {
            let known = self.lives.insert(connection, Life::default());
            self.expect(known.is_none(), || {
                format!("{connection} was accepted twice")
            });
            return;
        }
        let Some(life) = self.lives.get_mut(&connection) else {
            self.complain(format!("{connection} was {name} and never accepted"));
            return;
        };
        let (holder, had_ended) = (life.holder, life.has_ended);
        match name {
            "handed_off" => life.holder = handoff,
            "requeued" => life.holder = None,
            "acked" | "refused" => life.has_ended = true,
            _ => {}
        }
        let can_be = match name {
            "handed_off" => handoff.is_some() && holder.is_none(),
            "refused" => true,
            _ => handoff.is_some() && handoff == holder,
        };
        self.expect(!had_ended, || {
            format!("{connection} was {name} behind its end")
        });
        self.expect(can_be, || {
            format!("{connection} was {name} as {handoff:?}, and {holder:?} had it")
        });
    }

    fn expect(&mut self, holds: bool, complaint: impl FnOnce() -> String) {
        if !holds {
            self.complain(complaint());
        }
    }

    fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(complaint);
        }
    }

    /// Asserts that all of it can be true. After a good end nothing may be held any more.
    ///
    /// # Panics
    ///
    /// If it cannot, or if some of it is missing, so that nothing is shown.
    pub(super) fn assert_sound(mut self, has_ended_well: bool) {
        assert_eq!(
            self.dropped, 0,
            "the master dropped some of what it had to say"
        );
        let mut complaints = std::mem::take(&mut self.complaints);
        for (worker, gone) in &self.gone {
            if self.latest.get(worker).is_some_and(|latest| latest > gone) {
                complaints.push(format!("worker {worker} took something when it was gone"));
            }
        }
        for (connection, life) in self.lives.iter().filter(|(_, life)| !life.has_ended) {
            let is_held_by_the_dead = life
                .holder
                .is_some_and(|(_, worker)| self.gone.contains_key(&worker));
            if has_ended_well || is_held_by_the_dead {
                complaints.push(format!("{connection} is still held: {life:?}"));
            }
        }
        complaints.truncate(COMPLAINTS_MAX);
        assert!(complaints.is_empty(), "of its connections: {complaints:#?}");
    }
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
