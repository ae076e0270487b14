//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

use super::DEADLINE;
use super::length::Waiting;

/// How long to leave the processor to what is waited for: short beside a process's start.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Waits until `look` finds something.
///
/// # Panics
///
/// At the deadline, naming `what` never came about.
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, look)
}

/// As [`wait_for`], for what may take longer or less long than anything else.
///
/// # Panics
///
/// As there.
pub fn wait_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let (until, mut progress) = (Instant::now() + deadline, Waiting::new());
    loop {
        if let Some(found) = look() {
            return found;
        }
        progress.tell(what);
        assert!(Instant::now() < until, "never came about: {what}");
        pause();
    }
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// At the deadline, naming `what` never came about.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

#[expect(
    clippy::disallowed_methods,
    reason = "between two looks at a condition; what no event tells of (/proc) must be polled"
)]
fn pause() {
    thread::sleep(BETWEEN_LOOKS);
}

/// A steady beat, for what is done so often a second and not in answer to anything.
#[derive(Debug)]
pub struct Beat {
    next: Instant,
    every: Duration,
}

impl Beat {
    /// Begins one; its first stroke comes after one interval.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        let next = Instant::now() + every;
        Self { next, every }
    }

    /// Waits for the next stroke.
    #[expect(
        clippy::disallowed_methods,
        reason = "the interval is what is asked for; no condition is hoped for at its end"
    )]
    pub fn wait(&mut self) {
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        self.next += self.every;
    }
}
