//! Percentiles, averages, deviations.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The histogram counts microseconds.
const MICROS_PER_MILLI: f64 = 1000.0;

/// How long answers took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Latency {
    pub(super) p2_5: f64,
    pub(super) p50: f64,
    pub(super) p97_5: f64,
    pub(super) p99: f64,
    pub(super) p99_9: f64,
    pub(super) average: f64,
    pub(super) deviation: f64,
    pub(super) max: f64,
}

impl Latency {
    pub(super) fn of(micros: &Histogram<u64>) -> Self {
        let quantile = |quantile| micros.value_at_quantile(quantile) as f64 / MICROS_PER_MILLI;
        Self {
            p2_5: quantile(0.025),
            p50: quantile(0.5),
            p97_5: quantile(0.975),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            average: micros.mean() / MICROS_PER_MILLI,
            deviation: micros.stdev() / MICROS_PER_MILLI,
            max: micros.max() as f64 / MICROS_PER_MILLI,
        }
    }
}

/// How much there was of something in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Rate {
    pub(super) p1: f64,
    pub(super) p2_5: f64,
    pub(super) p50: f64,
    pub(super) p97_5: f64,
    pub(super) average: f64,
    pub(super) deviation: f64,
    pub(super) min: f64,
}

impl Rate {
    pub(super) fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Some(min) = sorted.first().copied() else {
            return Self::default();
        };
        let count = sorted.len() as f64;
        let average = sorted.iter().sum::<f64>() / count;
        let squares: f64 = sorted.iter().map(|sample| (sample - average).powi(2)).sum();
        Self {
            p1: percentile(&sorted, 1.0),
            p2_5: percentile(&sorted, 2.5),
            p50: percentile(&sorted, 50.0),
            p97_5: percentile(&sorted, 97.5),
            average,
            // These samples are all there are, so theirs is the deviation of a population.
            deviation: (squares / count).sqrt(),
            min,
        }
    }
}

/// Returns the smallest sample that so many percent of all do not exceed (nearest rank).
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_known_samples() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let rate = Rate::of(&samples);
        assert_eq!(
            (rate.p1, rate.p2_5, rate.p50, rate.p97_5),
            (1.0, 3.0, 50.0, 98.0)
        );
        assert_eq!((rate.min, rate.average), (1.0, 50.5));
        // The variance of 1..=n is (n² - 1) / 12.
        assert!((rate.deviation - (9999.0_f64 / 12.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn rates_of_few_samples_are_those_samples() {
        assert_eq!(Rate::of(&[]), Rate::default());
        let rate = Rate::of(&[7.0]);
        assert_eq!(
            (rate.p1, rate.p97_5, rate.min, rate.average),
            (7.0, 7.0, 7.0, 7.0)
        );
        assert!(rate.deviation.abs() < f64::EPSILON);
        let rate = Rate::of(&[2.0, 4.0]);
        assert_eq!((rate.p1, rate.p50, rate.p97_5), (2.0, 2.0, 4.0));
    }

    #[test]
    fn latencies_are_shown_in_milliseconds() {
        let mut micros = Histogram::<u64>::new(3).unwrap();
        for value in 1..=1000 {
            micros.record(value * 1000).unwrap();
        }
        let latency = Latency::of(&micros);
        // The histogram keeps three digits.
        let close = |is: f64, should: f64| (is - should).abs() <= should / 1000.0;
        assert!(close(latency.p2_5, 25.0), "{latency:?}");
        assert!(close(latency.p50, 500.0), "{latency:?}");
        assert!(close(latency.p97_5, 975.0), "{latency:?}");
        assert!(close(latency.p99, 990.0), "{latency:?}");
        assert!(close(latency.average, 500.5), "{latency:?}");
        assert!(close(latency.max, 1000.0), "{latency:?}");
        assert!(
            close(latency.deviation, (999_999.0_f64 / 12.0).sqrt()),
            "{latency:?}"
        );
    }

    #[test]
    fn no_latency_at_all_is_zero() {
        let latency = Latency::of(&Histogram::<u64>::new(3).unwrap());
        assert!(latency.p99.abs() < f64::EPSILON && latency.average.abs() < f64::EPSILON);
    }
}
