//! The clock that what happens is stamped with: nanoseconds of `CLOCK_MONOTONIC`.
//!
//! Every program on the machine reads the same one, so that what a master and a client wrote
//! down can be joined; of `std::time::Instant` only differences within one program are known.

use std::ops::Add;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment, in nanoseconds of `CLOCK_MONOTONIC`. It means something on one machine, as long
/// as that runs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns the present moment.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        // The kernel counts from its start, with nanoseconds in 0..10^9: neither is negative.
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        Self(seconds * 1_000_000_000 + nanos)
    }

    /// Returns how long ago `earlier` was; nothing if it is yet to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn moments_pass_as_time_does() {
        let (before, began) = (Moment::now(), Instant::now());
        let inner = loop {
            let elapsed = began.elapsed();
            if elapsed > Duration::from_millis(1) {
                break elapsed;
            }
        };
        assert!(Moment::now().since(before) >= inner);
    }

    #[test]
    fn differences_never_run_backwards() {
        let (earlier, later) = (Moment(5), Moment(9));
        assert_eq!(later.since(earlier), Duration::from_nanos(4));
        assert_eq!(earlier.since(later), Duration::ZERO);
        assert_eq!(earlier + Duration::from_nanos(4), later);
        assert_eq!(later + Duration::MAX, Moment(u64::MAX));
    }
}
