//! Requests that failed on connections of which the master knows nothing, since a worker accepts
//! for itself: under the policies `kernel` and `shared`.
//!
//! What is promised there: *a connection still in a listener's queue is never lost; one the
//! worker has accepted shares that worker's fate.* A queue outlives every worker, for the master
//! keeps the listener. So a connection that breaks was accepted by somebody, and it is excused
//! if somebody's life ended at that very moment; who it was is known only if it had answered
//! before. A client that was refused, or that nobody answers, was in a queue, and is not excused.

use maitred::Moment;

use super::findings::Class;
use super::judge::{Bench, between, unaccepted};
use super::load::{Connection, Failure};
use crate::bench::Outcome;

impl Bench<'_> {
    /// Sorts such a failure; returns also when that happened which excuses it.
    pub(super) fn class_of_direct(
        &self,
        failure: &Failure,
        connection: &Connection,
    ) -> (Class, String, Option<Moment>) {
        if let Some(worker) = connection.worker.filter(|_| connection.is_answered) {
            let (class, why) = self.acked_by(worker, failure);
            return (class, why, self.excuse_by(class, &worker));
        }
        let (class, why) = match failure.outcome {
            Outcome::ResetBeforeAnswer | Outcome::ClosedBeforeAnswer if connection.is_connected => {
                return self.end_at(failure);
            }
            Outcome::BadAnswer => (
                Class::Other,
                "whoever answered does not say who it is".into(),
            ),
            Outcome::Ok
            | Outcome::Refused
            | Outcome::ResetBeforeAnswer
            | Outcome::ClosedBeforeAnswer
            | Outcome::Timeout => unaccepted(connection),
        };
        (class, why, None)
    }

    /// Looks for the end of a worker's life at the moment of a failure.
    fn end_at(&self, failure: &Failure) -> (Class, String, Option<Moment>) {
        let is_then =
            |at: Moment| at <= self.later(failure.ended) && failure.ended <= self.later(at);
        let cuts = self.master.cuts.iter().map(|(worker, at)| (*worker, *at));
        let cuts = cuts.map(|(worker, at)| (at, Class::Cut, worker, "passed its drain deadline"));
        let exits = self
            .master
            .exits
            .iter()
            .filter(|(_, exit)| !exit.is_orderly);
        let exits = exits.map(|(worker, exit)| (exit.at, Class::WorkerDied, *worker, "exited"));
        match cuts.chain(exits).find(|(at, ..)| is_then(*at)) {
            Some((at, class, worker, what)) => {
                let when = between(failure.ended, at);
                (
                    class,
                    format!("worker {} {what} {when}", worker.0),
                    Some(at),
                )
            }
            None => (
                Class::Other,
                "no worker's life ended at that moment".into(),
                None,
            ),
        }
    }
}
