//! What the master wrote down, and whether it can be true.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, BufRead};

use maitred::{ConnectionId, HandoffId, Moment, WorkerId};
use serde::Deserialize;

use super::findings::Tally;
use super::lines::each_line;
use super::{Doubt, Record};

/// Why a connection was refused whose worker died and may have taken it.
const ANSWER_LOST: &str = "answer_lost";

/// The cluster as its master saw it.
#[derive(Debug, Default)]
pub(super) struct Master {
    pub(super) lives: HashMap<ConnectionId, Life>,
    pub(super) exits: HashMap<WorkerId, Exit>,
    /// Workers that passed their drain deadline, and when.
    pub(super) cuts: HashMap<WorkerId, Moment>,
    pub(super) accepted: u64,
    pub(super) acked: u64,
    pub(super) refused: u64,
    /// Steps that cannot follow from those before.
    pub(super) breaches: Tally,
    pub(super) doubts: Vec<Doubt>,
}

/// One connection, from accept to its end in the master.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) port: Option<u16>,
    pub(super) accepted: Moment,
    /// The handoff that is in flight, and to whom.
    pub(super) in_flight: Option<(HandoffId, WorkerId)>,
    pub(super) end: Option<End>,
}

/// How a connection left the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is that worker's.
    Acked { at: Moment, worker: WorkerId },
    /// It was closed unserved.
    Refused { at: Moment, reason: String },
    /// That worker died while it had it, and may have taken it.
    AnswerLost { at: Moment, worker: WorkerId },
}

/// The end of a worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    pub(super) at: Moment,
    /// It was asked to leave, or wanted to, and left without a failure.
    pub(super) is_orderly: bool,
}

/// What every line has. The rest is read once it is known what it is: nearly all lines are
/// steps of connections, and there may be millions.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
}

/// A step of a connection.
#[derive(Deserialize)]
struct StepLine<'a> {
    monotonic_ns: Moment,
    connection: ConnectionId,
    handoff: Option<HandoffId>,
    worker: Option<WorkerId>,
    peer_port: Option<u16>,
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
}

/// The end of a worker, or of its patience.
#[derive(Deserialize)]
struct WorkerLine {
    monotonic_ns: Moment,
    worker: WorkerId,
    code: Option<i32>,
    #[serde(default)]
    exited_after_disconnect: bool,
}

/// What is missing, since the last such line.
#[derive(Deserialize)]
struct CountLine {
    count: u64,
}

/// What is missing in all.
#[derive(Deserialize)]
struct EndLine {
    lost: u64,
    dropped: u64,
}

/// A record that is being read.
#[derive(Default)]
struct Reader {
    master: Master,
    lost: u64,
    dropped: u64,
    has_end: bool,
}

impl Master {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(super) fn read(record: impl BufRead) -> io::Result<Self> {
        let mut reader = Reader::default();
        let stopped = each_line(record, |number, line| reader.take(number, line))?;
        let mut master = reader.master;
        if reader.dropped > 0 {
            master.doubts.push(Doubt::Dropped(reader.dropped));
            // Steps do not follow from those before if some of those are missing.
            master.breaches = Tally::default();
        }
        if reader.lost > 0 {
            master.doubts.push(Doubt::Lost(reader.lost));
        }
        if stopped.is_none() && !reader.has_end {
            master.doubts.push(Doubt::NoEnd(Record::Events));
        }
        master.doubts.extend(stopped);
        Ok(master)
    }

    /// Counts the connections that have no end.
    pub(super) fn held(&self) -> u64 {
        self.lives
            .values()
            .filter(|life| life.end.is_none())
            .count() as u64
    }
}

impl Reader {
    fn take(&mut self, number: u64, line: &[u8]) -> Option<Doubt> {
        if self.has_end {
            return Some(Doubt::BehindEnd(Record::Events));
        }
        // A line that was cut off is what a kill leaves behind.
        self.understand(line)
            .err()
            .map(|error| match error.is_eof() {
                true => Doubt::NoEnd(Record::Events),
                false => Doubt::BadLine {
                    file: Record::Events,
                    number,
                    reason: error.to_string(),
                },
            })
    }

    fn understand(&mut self, line: &[u8]) -> serde_json::Result<()> {
        let name = serde_json::from_slice::<Named<'_>>(line)?.event;
        match &*name {
            "accepted" | "handed_off" | "acked" | "rejected" | "requeued" | "refused" => {
                self.master.step(&name, &serde_json::from_slice(line)?);
            }
            "exit" => self.master.note_exit(&serde_json::from_slice(line)?),
            "cut_at_deadline" => {
                let WorkerLine {
                    monotonic_ns,
                    worker,
                    ..
                } = serde_json::from_slice(line)?;
                self.master.cuts.insert(worker, monotonic_ns);
            }
            "lost" => self.lost += serde_json::from_slice::<CountLine>(line)?.count,
            "dropped" => self.dropped += serde_json::from_slice::<CountLine>(line)?.count,
            "end" => {
                let EndLine { lost, dropped } = serde_json::from_slice(line)?;
                self.has_end = true;
                self.lost = self.lost.max(lost);
                self.dropped = self.dropped.max(dropped);
            }
            // What does not bear on connections.
            _ => {}
        }
        Ok(())
    }
}

impl Master {
    fn note_exit(&mut self, line: &WorkerLine) {
        let exit = Exit {
            at: line.monotonic_ns,
            is_orderly: line.exited_after_disconnect && line.code == Some(0),
        };
        self.exits.insert(line.worker, exit);
    }

    fn step(&mut self, name: &str, line: &StepLine<'_>) {
        let (connection, at) = (line.connection, line.monotonic_ns);
        let handoff = line.handoff.zip(line.worker);
        let wrong = match name {
            "accepted" => self.accept(line),
            "handed_off" => self.with(connection, |life| life.hand_off(handoff)),
            "acked" => {
                self.acked += 1;
                self.with(connection, |life| life.ack(at, handoff))
            }
            // A reject is followed by what becomes of the connection.
            "rejected" => self.with(connection, |life| life.expect(handoff)),
            "requeued" => self.with(connection, |life| life.take_back(handoff)),
            _ => {
                self.refused += 1;
                self.with(connection, |life| life.refuse(at, &line.reason))
            }
        };
        if let Some(what) = wrong {
            self.breaches
                .add(|| format!("the master's connection {} {what}", connection.0));
        }
    }

    fn accept(&mut self, line: &StepLine<'_>) -> Option<&'static str> {
        self.accepted += 1;
        let life = Life {
            port: line.peer_port,
            accepted: line.monotonic_ns,
            in_flight: None,
            end: None,
        };
        let known = self.lives.insert(line.connection, life);
        known.map(|_| "was accepted twice")
    }

    /// Takes a connection one step further; returns what is wrong with that step.
    fn with(
        &mut self,
        connection: ConnectionId,
        step: impl FnOnce(&mut Life) -> Option<&'static str>,
    ) -> Option<&'static str> {
        match self.lives.get_mut(&connection) {
            None => Some("was never accepted"),
            Some(life) if life.end.is_some() => Some("goes on behind its end"),
            Some(life) => step(life),
        }
    }
}

impl Life {
    fn hand_off(&mut self, handoff: Option<(HandoffId, WorkerId)>) -> Option<&'static str> {
        let before = std::mem::replace(&mut self.in_flight, handoff);
        before.map(|_| "was handed to two workers at once")
    }

    fn ack(&mut self, at: Moment, handoff: Option<(HandoffId, WorkerId)>) -> Option<&'static str> {
        let wrong = self.expect(handoff);
        let worker = handoff.map_or(WorkerId(0), |(_, worker)| worker);
        self.end = Some(End::Acked { at, worker });
        wrong
    }

    fn take_back(&mut self, handoff: Option<(HandoffId, WorkerId)>) -> Option<&'static str> {
        let wrong = self.expect(handoff);
        self.in_flight = None;
        wrong
    }

    fn refuse(&mut self, at: Moment, reason: &str) -> Option<&'static str> {
        let lost = self.in_flight.filter(|_| reason == ANSWER_LOST);
        let reason = reason.to_owned();
        self.end = Some(match lost {
            Some((_, worker)) => End::AnswerLost { at, worker },
            None => End::Refused { at, reason },
        });
        None
    }

    fn expect(&self, handoff: Option<(HandoffId, WorkerId)>) -> Option<&'static str> {
        let is_it = handoff.is_some() && handoff == self.in_flight;
        (!is_it).then_some("was answered by a worker that did not have it")
    }
}
