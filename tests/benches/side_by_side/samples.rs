//! What was measured, and how two cases compare.

use std::collections::{BTreeMap, BTreeSet};

/// What one measurement of one case shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// CPU of all server processes for each request, in microseconds.
    pub(crate) cpu: f64,
    /// Of it, what the process took that stands before the workers.
    pub(crate) front: f64,
    /// Requests answered in a second.
    pub(crate) rate: f64,
    /// Latencies, in milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    /// Requests that were not answered.
    pub(crate) failed: f64,
    /// Those of them for which the client waited in vain.
    pub(crate) timeouts: f64,
    /// Memory of the first process, in KiB.
    pub(crate) memory: f64,
}

/// Which of the figures.
pub(crate) type Pick = fn(&Figures) -> f64;

/// A median, and between what its samples lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` if there are no samples.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted[sorted.len() / 2];
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(Self {
            median: f64::midpoint(lower, upper),
            min,
            max,
        })
    }
}

/// All measurements, by scene, case and round.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<(&'static str, &'static str), BTreeMap<u32, Figures>>);

impl Samples {
    pub(crate) fn add(
        &mut self,
        scene: &'static str,
        case: &'static str,
        round: u32,
        figures: Figures,
    ) {
        self.0
            .entry((scene, case))
            .or_default()
            .insert(round, figures);
    }

    /// The figures of one case, over its rounds.
    pub(crate) fn spread(
        &self,
        scene: &'static str,
        case: &'static str,
        pick: Pick,
    ) -> Option<Spread> {
        Spread::of(self.0.get(&(scene, case))?.values().map(pick))
    }

    /// The product of one figure of these cases, divided by that of those, within each round in
    /// which all of them were measured.
    pub(crate) fn ratio(
        &self,
        scene: &'static str,
        pick: Pick,
        above: &[&'static str],
        below: &[&'static str],
    ) -> Option<Spread> {
        let product = |cases: &[&'static str], round| {
            let figure =
                |case: &&'static str| Some(pick(self.0.get(&(scene, *case))?.get(&round)?));
            cases.iter().map(figure).product::<Option<f64>>()
        };
        let rounds: BTreeSet<u32> = self
            .0
            .values()
            .flat_map(|rounds| rounds.keys().copied())
            .collect();
        let ratio = |round| Some(product(above, round)? / product(below, round)?);
        Spread::of(rounds.into_iter().filter_map(ratio))
    }
}
