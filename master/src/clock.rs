//! The clock that what happens is stamped with: nanoseconds of `CLOCK_MONOTONIC`.
//!
//! Every program on the machine reads the same one, so that what a master and a client wrote
//! down can be joined; of `std::time::Instant` only differences within one program are known.

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
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn moments_pass_as_time_does() {
        let (before, began) = (Moment::now(), Instant::now());
        let inner = loop {
            let elapsed = began.elapsed().as_nanos();
            if elapsed > 1_000_000 {
                break elapsed;
            }
        };
        assert!(u128::from(Moment::now().0 - before.0) >= inner);
    }
}
