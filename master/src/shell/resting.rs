//! When a worker that refused a connection is tried again, if it cannot say so itself.
//!
//! A Rust worker says `Ready` once it has room. Node has no such word: what it refuses
//! (`maxConnections`, or no descriptor left) comes back at once, and its own primary hands the
//! same connection over again in the same moment, thousands of times a second. Here such a
//! worker rests, twice as long each time, until it takes a connection.

use std::time::{Duration, Instant};

use maitred_core::dispatch::Input;
use maitred_core::id::WorkerId;
use maitred_protocol::WorkerToMaster;

use super::master::Master;

/// The first rest: some requests' time, so that a worker which is full for a moment is back
/// soon.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest: one try a second costs a worker that stays full nothing, and one that has
/// recovered takes its share again within that time.
const LONGEST: Duration = Duration::from_secs(1);

/// How one worker rests.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: Option<Instant>,
    /// How long the last one was.
    last: Option<Duration>,
}

impl Rest {
    /// Begins a rest, or a further one after a try that was refused. Several refusals in one
    /// rest, of what was on its way already, are one.
    fn begin(&mut self, now: Instant) {
        if self.until.is_some() {
            return;
        }
        let length = self.last.map_or(SHORTEST, |last| LONGEST.min(last * 2));
        self.last = Some(length);
        self.until = now.checked_add(length);
    }

    /// Returns whether the rest is over, which it is once.
    fn is_over(&mut self, now: Instant) -> bool {
        self.until.take_if(|until| *until <= now).is_some()
    }
}

impl Master {
    /// Notes whether a Node worker took what it was handed, before the dispatcher hears of it:
    /// one that did not rests, and after one that did the next refusal is a first one.
    pub(super) fn note_appetite(
        &mut self,
        now: Instant,
        worker: WorkerId,
        answer: &WorkerToMaster,
    ) {
        let Some(member) = self.members.get_mut(&worker) else {
            return;
        };
        if matches!(answer, WorkerToMaster::Reject { .. }) {
            member.rest.begin(now);
            let ends = [self.rest_ends, member.rest.until];
            self.rest_ends = ends.into_iter().flatten().min();
        } else if matches!(answer, WorkerToMaster::Ack { .. }) {
            member.rest.last = None;
        }
    }

    /// Puts workers back into rotation that have rested.
    pub(super) fn end_rests(&mut self, now: Instant) {
        if self.rest_ends.is_none_or(|ends| ends > now) {
            return;
        }
        let mut rested = Vec::new();
        for (worker, member) in &mut self.members {
            if member.rest.is_over(now) {
                rested.push(*worker);
            }
        }
        self.rest_ends = self
            .members
            .values()
            .filter_map(|member| member.rest.until)
            .min();
        for worker in rested {
            self.dispatch(now, Input::Ready(worker));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_a_second_until_a_connection_is_taken() {
        let (mut rest, mut now) = (Rest::default(), Instant::now());
        let mut lengths = Vec::new();
        for _ in 0..7 {
            rest.begin(now);
            let until = rest.until.unwrap();
            lengths.push((until - now).as_millis());
            assert!(!rest.is_over(until - Duration::from_millis(1)));
            assert!(rest.is_over(until));
            assert!(!rest.is_over(until), "once");
            now = until;
        }
        assert_eq!(lengths, [50, 100, 200, 400, 800, 1000, 1000]);
        rest.last = None;
        rest.begin(now);
        assert_eq!(rest.until, Some(now + SHORTEST));
    }

    #[test]
    fn what_comes_back_during_a_rest_does_not_lengthen_it() {
        let (mut rest, now) = (Rest::default(), Instant::now());
        rest.begin(now);
        rest.begin(now + Duration::from_millis(40));
        assert!(rest.is_over(now + SHORTEST));
        assert_eq!(rest.last, Some(SHORTEST));
    }
}
