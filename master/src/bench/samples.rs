//! How much happened in each second.

use std::time::Duration;

/// How often is looked.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// Most samples that are kept, those of a day: what comes later still counts in the totals.
const SAMPLES_MAX: usize = 24 * 60 * 60;

/// A rest of the load that is shorter makes no sample: it would weigh as much as a second.
const REST_MIN: Duration = Duration::from_millis(500);

/// What had been counted when somebody looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Answers.
    pub(super) requests: u64,
    pub(super) bytes: u64,
}

/// Answers and bytes a second, a sample for each second of the load.
#[derive(Debug, Default)]
pub(super) struct Samples {
    pub(super) requests: Vec<f64>,
    pub(super) bytes: Vec<f64>,
    last: Reading,
    last_at: Duration,
}

impl Samples {
    /// Takes a sample `at` so long after the beginning. One that is taken late is put right.
    pub(super) fn take(&mut self, at: Duration, reading: Reading) {
        let seconds = at.saturating_sub(self.last_at).as_secs_f64();
        if seconds > 0.0 && self.requests.len() < SAMPLES_MAX {
            let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
            self.requests
                .push(rate(reading.requests, self.last.requests));
            self.bytes.push(rate(reading.bytes, self.last.bytes));
        }
        (self.last, self.last_at) = (reading, at);
    }

    /// Takes the last sample, if it is about long enough or the only one.
    pub(super) fn end(&mut self, at: Duration, reading: Reading) {
        if self.requests.is_empty() || at.saturating_sub(self.last_at) >= REST_MIN {
            self.take(at, reading);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(requests: u64) -> Reading {
        Reading {
            requests,
            bytes: requests * 100,
        }
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_late_sample_is_put_right() {
        let mut samples = Samples::default();
        samples.take(millis(1000), reading(50));
        samples.take(millis(3000), reading(250));
        assert_eq!(samples.requests, [50.0, 100.0]);
        assert_eq!(samples.bytes, [5000.0, 10000.0]);
    }

    #[test]
    fn a_short_rest_counts_only_if_it_is_all_there_is() {
        let mut samples = Samples::default();
        samples.end(millis(100), reading(5));
        assert_eq!(samples.requests, [50.0]);
        samples.end(millis(599), reading(500));
        assert_eq!(samples.requests.len(), 1);
        samples.end(millis(600), reading(55));
        assert_eq!(samples.requests, [50.0, 100.0]);
    }

    #[test]
    fn they_do_not_grow_for_ever() {
        let mut samples = Samples::default();
        for second in 1..SAMPLES_MAX as u64 + 100 {
            samples.take(Duration::from_secs(second), reading(second));
        }
        assert_eq!(samples.requests.len(), SAMPLES_MAX);
    }
}
