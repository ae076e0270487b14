//! Sorts requests that failed by what the master knows of their connections.

use std::time::Duration;

use maitred::{Moment, WorkerId};

use super::findings::{Class, Findings};
use super::join::Joined;
use super::load::{Connection, Failure, Load};
use super::master::{End, Exit, Life, Master};
use super::{Demands, Doubt};
use crate::bench::Outcome;

/// Judges a load.
pub(super) fn judge(load: &Load, master: &Master, joined: &Joined, demands: Demands) -> Findings {
    let mut findings = Findings {
        doubts: [&load.doubts[..], &master.doubts[..]].concat(),
        joined: joined.count,
        strangers: joined.strangers,
        requests: load.requests,
        accepted: master.accepted,
        acked: master.acked,
        refused: master.refused,
        held: master.held(),
        breaches: master.breaches.clone(),
        ..Findings::default()
    };
    let bench = Bench {
        load,
        master,
        joined,
        demands,
    };
    bench.check_joins(&mut findings);
    bench.check_invariants(&mut findings);
    bench.sort_failures(&mut findings);
    let looked_at = findings.joined + findings.direct;
    if looked_at < demands.min_connections {
        findings.doubts.push(Doubt::TooFew {
            joined: looked_at,
            wanted: demands.min_connections,
        });
    }
    findings
}

/// Everything that is known.
pub(super) struct Bench<'a> {
    load: &'a Load,
    pub(super) master: &'a Master,
    joined: &'a Joined,
    demands: Demands,
}

impl Bench<'_> {
    fn life(&self, index: usize) -> Option<&Life> {
        self.master.lives.get(&self.joined.lives[index]?)
    }

    /// Looks at every connection that was answered: the master must have had it at that time,
    /// and the worker that acked must be the one that answered.
    fn check_joins(&self, findings: &mut Findings) {
        let (mut unjoined, mut wrong) = (Examples::default(), Examples::default());
        for (index, connection) in self.load.connections.iter().enumerate() {
            if !connection.is_answered {
                continue;
            }
            let Some(life) = self.life(index).filter(|life| overlap(connection, life)) else {
                if self.demands.workers_accept {
                    findings.direct += 1;
                } else {
                    unjoined.add(connection);
                }
                continue;
            };
            match (&life.end, connection.worker) {
                (Some(End::Acked { worker, .. } | End::AnswerLost { worker, .. }), Some(by))
                    if by != *worker =>
                {
                    wrong.add(connection);
                }
                // The ack may be what was lost.
                (Some(End::Acked { .. } | End::AnswerLost { .. }), _) => {}
                (Some(End::Refused { .. }) | None, _) => {
                    let name = name(connection);
                    findings
                        .breaches
                        .add(|| format!("{name} was answered though no worker had acked it"));
                }
            }
        }
        let Examples { count, example } = unjoined;
        if count > 0 {
            findings.doubts.push(Doubt::Unjoined { count, example });
        }
        let Examples { count, example } = wrong;
        if count > 0 {
            findings.doubts.push(Doubt::WrongWorker { count, example });
        }
    }

    fn check_invariants(&self, findings: &mut Findings) {
        let Findings {
            accepted,
            acked,
            refused,
            held,
            ..
        } = *findings;
        let has_gap = findings
            .doubts
            .iter()
            .any(|doubt| matches!(doubt, Doubt::Dropped(_)));
        if accepted != acked + refused + held && !has_gap {
            findings
                .breaches
                .add(|| "the sum of the master's connections is wrong".into());
        }
    }

    fn sort_failures(&self, findings: &mut Findings) {
        let mut order: Vec<usize> = (0..self.load.connections.len()).collect();
        let number = |index: &usize| self.load.connections[*index].number;
        order.sort_unstable_by_key(number);
        for failure in &self.load.failures {
            let place = order.binary_search_by_key(&failure.connection, number).ok();
            // Without its line the record is incomplete, which is a doubt already.
            let Some(index) = place.map(|place| order[place]) else {
                findings.add(Class::Other, || {
                    "its connection is not in the record".into()
                });
                continue;
            };
            let (connection, life) = (&self.load.connections[index], self.life(index));
            let (class, why, excuse) = match life {
                None if self.demands.workers_accept => self.class_of_direct(failure, connection),
                _ => {
                    let (class, why) = self.class_of(failure, connection, life);
                    (class, why, self.excuse(class, life))
                }
            };
            findings.note_excuse(excuse, failure.ended);
            findings.add(class, || {
                let (name, number) = (name(connection), failure.number);
                let outcome = failure.outcome.in_words();
                format!("request {number} of {name} {outcome}: {why}")
            });
        }
    }

    fn class_of(
        &self,
        failure: &Failure,
        connection: &Connection,
        life: Option<&Life>,
    ) -> (Class, String) {
        let Some(life) = life else {
            return unaccepted(connection);
        };
        match &life.end {
            None => (
                Class::NeverAcked,
                "the master still held it at the end".into(),
            ),
            Some(End::Refused { at, reason }) => {
                let when = between(failure.ended, *at);
                (
                    Class::NeverAcked,
                    format!("the master refused it {when} ({reason})"),
                )
            }
            Some(End::AnswerLost { at, worker }) => self.died_with(*worker, failure, *at),
            // What a client sees may be read by the master a moment later: the ack is in the
            // channel by then.
            Some(End::Acked { at, worker }) if *at > self.later(failure.ended) => {
                let when = between(failure.ended, *at);
                (
                    Class::NeverAcked,
                    format!("worker {} acked it only {when}", worker.0),
                )
            }
            Some(End::Acked { worker, .. }) => self.acked_by(*worker, failure),
        }
    }

    /// A connection whose worker died before it was known whether it had acked it. Where it was
    /// closed for that, it has shared that worker's fate, whatever ended it.
    fn died_with(&self, worker: WorkerId, failure: &Failure, at: Moment) -> (Class, String) {
        let (id, when) = (worker.0, between(failure.ended, at));
        let class = if at <= self.later(failure.ended) {
            Class::WorkerDied
        } else {
            Class::NeverAcked
        };
        (
            class,
            format!("worker {id} had died by {when}, and its ack, if any, with it"),
        )
    }

    /// Looks for an excuse for a failure on a connection that was this worker's.
    pub(super) fn acked_by(&self, worker: WorkerId, failure: &Failure) -> (Class, String) {
        let by_then = |at: Moment| at <= self.later(failure.ended);
        let (id, exit) = (worker.0, self.master.exits.get(&worker));
        if let Some(at) = self
            .master
            .cuts
            .get(&worker)
            .copied()
            .filter(|at| by_then(*at))
        {
            let when = between(failure.ended, at);
            let is_hung = exit.is_some_and(|exit| self.is_left_hanging(failure, exit));
            let class = if is_hung { Class::Other } else { Class::Cut };
            return (
                class,
                format!("worker {id} passed its drain deadline {when}"),
            );
        }
        if let Some(exit) = exit.filter(|exit| by_then(exit.at) && !exit.is_orderly) {
            let when = between(failure.ended, exit.at);
            let class = if self.is_left_hanging(failure, exit) {
                Class::Other
            } else {
                Class::WorkerDied
            };
            return (class, format!("worker {id} exited {when}"));
        }
        if self.is_reuse_race(failure) {
            return (
                Class::IdleReuse,
                format!("worker {id} had answered on it before"),
            );
        }
        if failure.announced {
            return (
                Class::BehindLast,
                format!("worker {id} had said `Connection: close`"),
            );
        }
        let fate = match exit {
            None => "never exited".to_owned(),
            Some(exit) if by_then(exit.at) => {
                format!("left in good order {}", between(failure.ended, exit.at))
            }
            Some(exit) => format!("exited only {}", between(failure.ended, exit.at)),
        };
        (Class::Other, format!("worker {id} acked it and {fate}"))
    }

    /// Whether a client noticed nothing of its worker's end until its patience was over: a
    /// process that ends closes its connections, however it came to that.
    fn is_left_hanging(&self, failure: &Failure, exit: &Exit) -> bool {
        failure.outcome == Outcome::Timeout && self.later(exit.at) < failure.ended
    }

    /// Returns when that happened which excuses a failure of this class.
    fn excuse(&self, class: Class, life: Option<&Life>) -> Option<Moment> {
        match life.and_then(|life| life.end.as_ref()) {
            Some(End::Acked { worker, .. } | End::AnswerLost { worker, .. }) => {
                self.excuse_by(class, worker)
            }
            Some(End::Refused { .. }) | None => None,
        }
    }

    /// As [`excuse`](Self::excuse), of a connection that was this worker's.
    pub(super) fn excuse_by(&self, class: Class, worker: &WorkerId) -> Option<Moment> {
        match class {
            Class::WorkerDied => self.master.exits.get(worker).map(|exit| exit.at),
            Class::Cut => self.master.cuts.get(worker).copied(),
            Class::NeverAcked | Class::IdleReuse | Class::BehindLast | Class::Other => None,
        }
    }

    /// Whether the server closed an idle connection while the request was on its way: then
    /// the client hears of it as soon as it has sent it, and not a byte comes before.
    fn is_reuse_race(&self, failure: &Failure) -> bool {
        let is_end = matches!(
            failure.outcome,
            Outcome::ResetBeforeAnswer | Outcome::ClosedBeforeAnswer
        );
        let at_once = failure
            .sent
            .is_none_or(|sent| failure.ended <= self.later(sent));
        failure.reused && failure.number > 1 && !failure.is_begun && is_end && at_once
    }

    pub(super) fn later(&self, moment: Moment) -> Moment {
        moment + self.demands.slack
    }
}

/// A failure on a connection that the master never had.
pub(super) fn unaccepted(connection: &Connection) -> (Class, String) {
    match connection {
        Connection { port: None, .. } => (Class::Other, "it got no port".into()),
        Connection {
            is_connected: false,
            ..
        } => (Class::NeverAcked, "no connection came about".into()),
        _ => (Class::NeverAcked, "the master never accepted it".into()),
    }
}

/// Whether the master accepted a connection while the client had it.
fn overlap(connection: &Connection, life: &Life) -> bool {
    (connection.begun..=connection.ended).contains(&life.accepted)
}

/// Says when something was that the master noted, seen from a failure.
pub(super) fn between(failure: Moment, at: Moment) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    if at <= failure {
        format!("{:.3} ms before", ms(failure.since(at)))
    } else {
        format!("{:.3} ms after", ms(at.since(failure)))
    }
}

fn name(connection: &Connection) -> String {
    let (number, port_use) = (connection.number, connection.port_use);
    match connection.port {
        Some(port) => format!("connection {number} (port {port}, use {port_use})"),
        None => format!("connection {number} (no port)"),
    }
}

/// So many connections, and the first of them.
#[derive(Default)]
struct Examples {
    count: u64,
    example: String,
}

impl Examples {
    fn add(&mut self, connection: &Connection) {
        if self.count == 0 {
            self.example = name(connection);
        }
        self.count += 1;
    }
}
