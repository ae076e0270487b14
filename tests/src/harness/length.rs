//! How far a test goes: a little in every run, to its full figures in `tests/run --long`.

use std::env;
use std::io::{Write, stderr};
use std::time::{Duration, Instant};

/// Whoever waits is told at least so often that something goes on.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Returns whether tests are to go to their full figures: `tests/run --long` asks for it.
#[must_use]
pub fn is_long() -> bool {
    env::var_os("MAITRED_LONG").is_some()
}

/// Returns the figure for the length at which tests run.
pub fn short_or_long<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Tells how far something is that is done again and again.
///
/// It is told in long runs only, past the test runner, which keeps what tests print to itself.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    steps: usize,
    done: usize,
    began: Instant,
    told: Instant,
}

impl Progress {
    /// Begins with nothing done of so many steps; `what` names them.
    #[must_use]
    pub fn of(what: &'static str, steps: usize) -> Self {
        let (began, told) = (Instant::now(), Instant::now());
        Self {
            what,
            steps,
            done: 0,
            began,
            told,
        }
    }

    /// Notes that one more is done.
    pub fn step(&mut self) {
        self.done += 1;
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let (what, done, steps) = (self.what, self.done, self.steps);
            tell(&format!(
                "{what}: {done} of {steps} after {:?}",
                rounded(self.began)
            ));
        }
    }
}

/// Tells, in long runs, what is waited for.
#[derive(Debug)]
pub(super) struct Waiting {
    began: Instant,
    told: Instant,
}

impl Waiting {
    pub(super) fn new() -> Self {
        let (began, told) = (Instant::now(), Instant::now());
        Self { began, told }
    }

    pub(super) fn tell(&mut self, what: &str) {
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            tell(&format!("waiting for {what}: {:?}", rounded(self.began)));
        }
    }
}

fn rounded(since: Instant) -> Duration {
    Duration::from_secs(since.elapsed().as_secs())
}

/// Says something to whoever watches a long run, such as a figure that was measured.
pub fn tell(line: &str) {
    if is_long() {
        // Nobody may be there to read it.
        writeln!(stderr(), "    {line}").unwrap_or_default();
    }
}
