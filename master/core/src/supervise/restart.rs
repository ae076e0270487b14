//! When a slot may try again.
//!
//! Two kinds of ending are told apart, for they mean two things. A *boot failure* (it ended
//! before it was ready) says that the program cannot work at present: trying faster does not
//! help, so the waits double, and in the end the slot is given up. A *death in service* says
//! that the program works and met something bad: its capacity is missed, so the successor
//! starts at once, and only one that dies again and again is slowed down.

use std::time::{Duration, Instant};

use super::limits::Limits;

/// Deaths this close together make a series.
const SERIES_WINDOW: Duration = Duration::from_secs(1);

/// From the third death of a series on, spawns keep this distance: ten forks a second, at a
/// millisecond or two each, are no burden, and clients hardly notice a tenth of a second.
const SERIES_DISTANCE: Duration = Duration::from_millis(100);

/// What to do about a slot whose worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Spawn a successor after a wait, perhaps of zero.
    RetryAfter(Duration),
    /// The slot is errored.
    GiveUp,
    /// The slot stays empty: its worker said so.
    Stop,
}

/// What a slot's past says about its next attempt.
///
/// One per managed slot, as old as the slot. Its size is fixed: only the last two deaths
/// matter to find out whether the present one is the third of a series.
#[derive(Debug, Default)]
pub(super) struct RestartPolicy {
    /// Boot failures since a worker of this slot was last ready.
    boot_failures: u32,
    /// The last deaths in service, newest first.
    deaths: [Option<Instant>; 2],
    /// When the last worker was ordered.
    spawned_at: Option<Instant>,
}

impl RestartPolicy {
    /// Returns the number of boot failures in a row.
    pub(super) fn boot_failures(&self) -> u32 {
        self.boot_failures
    }

    /// Notes that a worker was ordered.
    pub(super) fn spawned(&mut self, now: Instant) {
        self.spawned_at = Some(now);
    }

    /// Notes that a worker got ready: the program works, what failed before is forgiven.
    pub(super) fn became_ready(&mut self) {
        self.boot_failures = 0;
    }

    /// Forgets everything, as if the slot were new.
    pub(super) fn start_afresh(&mut self) {
        *self = Self::default();
    }

    /// Counts a worker that ended before it was ready.
    pub(super) fn boot_failed(&mut self, limits: &Limits) -> Verdict {
        self.boot_failures = self.boot_failures.saturating_add(1);
        if self.boot_failures >= limits.max_boot_failures {
            return Verdict::GiveUp;
        }
        // Past the type's range the cap holds in any case.
        let factor = 2u32.saturating_pow(self.boot_failures - 1);
        let delay = limits.backoff_initial.saturating_mul(factor);
        Verdict::RetryAfter(delay.min(limits.backoff_max))
    }

    /// Counts a worker that ended after it was ready.
    pub(super) fn died_in_service(&mut self, now: Instant) -> Verdict {
        let is_third = self.deaths[1]
            .is_some_and(|death| now.saturating_duration_since(death) < SERIES_WINDOW);
        self.deaths = [Some(now), self.deaths[0]];
        let since_spawn = self.spawned_at.map_or(SERIES_DISTANCE, |spawned_at| {
            now.saturating_duration_since(spawned_at)
        });
        Verdict::RetryAfter(if is_third {
            SERIES_DISTANCE.saturating_sub(since_spawn)
        } else {
            Duration::ZERO
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the verdicts of so many boot failures in a row, as milliseconds.
    fn waits(policy: &mut RestartPolicy, limits: &Limits, count: usize) -> Vec<Option<u128>> {
        let wait = |verdict| match verdict {
            Verdict::RetryAfter(delay) => Some(delay.as_millis()),
            Verdict::GiveUp | Verdict::Stop => None,
        };
        (0..count)
            .map(|_| wait(policy.boot_failed(limits)))
            .collect()
    }

    #[test]
    fn boot_failures_double_the_wait_up_to_the_cap_and_then_give_up() {
        let verdicts = waits(&mut RestartPolicy::default(), &Limits::default(), 16);
        let doubling = [100, 200, 400, 800, 1600, 3200, 6400, 12_800];
        let expected = doubling
            .into_iter()
            .chain([15_000; 7])
            .map(Some)
            .chain([None]);
        assert_eq!(verdicts, expected.collect::<Vec<_>>());
    }

    #[test]
    fn one_ready_worker_forgives_the_failures_before() {
        let mut policy = RestartPolicy::default();
        let limits = Limits::default();
        assert_eq!(
            waits(&mut policy, &limits, 3),
            [Some(100), Some(200), Some(400)]
        );
        policy.became_ready();
        assert_eq!(waits(&mut policy, &limits, 1), [Some(100)]);
    }

    #[test]
    fn huge_limits_do_not_overflow() {
        let limits = Limits {
            backoff_initial: Duration::MAX,
            backoff_max: Duration::MAX,
            max_boot_failures: u32::MAX,
            ..Limits::default()
        };
        let mut policy = RestartPolicy {
            boot_failures: u32::MAX - 2,
            ..Default::default()
        };
        assert_eq!(
            policy.boot_failed(&limits),
            Verdict::RetryAfter(Duration::MAX)
        );
        assert_eq!(policy.boot_failed(&limits), Verdict::GiveUp);
        assert_eq!(policy.boot_failed(&limits), Verdict::GiveUp);
    }

    #[test]
    fn only_the_third_death_within_a_second_waits() {
        let start = Instant::now();
        // (milliseconds since the last spawn, milliseconds to wait)
        let table = [
            (10, 0), // The first two deaths are answered at once,
            (10, 0),
            (10, 90), // the third keeps its distance from the spawn before,
            (10, 90),
            (150, 0),  // unless the worker itself lived that long.
            (2000, 0), // After a quiet time the count begins anew.
            (10, 0),
            (10, 90),
        ];
        let (mut policy, mut now) = (RestartPolicy::default(), start);
        for (row, (lived, wait)) in table.into_iter().enumerate() {
            policy.spawned(now);
            now += Duration::from_millis(lived);
            let wait = Duration::from_millis(wait);
            assert_eq!(
                policy.died_in_service(now),
                Verdict::RetryAfter(wait),
                "row {row}"
            );
            now += wait;
        }
    }
}
