//! The promises of speed, as bounds on ratios: what `--check` fails for when one is crossed.

use super::samples::{Pick, Samples, Spread};

/// A ratio that must stay on one side of a number, in the median of the rounds: the product of
/// one figure of some cases, divided by that of others. With none to divide by it is the figure.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) scene: &'static str,
    pub(crate) what: &'static str,
    pick: Pick,
    above: Vec<&'static str>,
    below: Vec<&'static str>,
    limit: Limit,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// Returns the ratio as it was measured, if it was.
    pub(crate) fn ratio(&self, samples: &Samples) -> Option<Spread> {
        samples.ratio(self.scene, self.pick, &self.above, &self.below)
    }

    /// Returns whether the ratio keeps within the bound.
    pub(crate) fn holds(&self, ratio: f64) -> bool {
        match self.limit {
            Limit::AtMost(most) => ratio <= most,
            Limit::AtLeast(least) => ratio >= least,
        }
    }

    /// Returns the bound in words.
    pub(crate) fn limit(&self) -> String {
        match self.limit {
            Limit::AtMost(most) => format!("at most {most:.2}"),
            Limit::AtLeast(least) => format!("at least {least:.2}"),
        }
    }

    /// Returns what is wrong, if it was measured and is crossed.
    pub(crate) fn broken(&self, samples: &Samples) -> Option<String> {
        let ratio = self.ratio(samples)?.median;
        let told = || {
            format!(
                "{}: {}: {ratio:.3}, {}",
                self.scene,
                self.what,
                self.limit()
            )
        };
        (!self.holds(ratio)).then(told)
    }
}

const CPU: Pick = |figures| figures.cpu;
const FRONT: Pick = |figures| figures.front;
const RATE: Pick = |figures| figures.rate;
const MEMORY: Pick = |figures| figures.memory;
const FAILED: Pick = |figures| figures.failed;

const RR: &str = "maitred rr";
const KERNEL: &str = "maitred kernel";
const NODE: &str = "maitred rr, Node";
const KERNEL_NODE: &str = "maitred kernel, Node";
const CLUSTER: &str = "Node cluster";

/// One bound, in a line.
macro_rules! bound {
    ($scene:literal, $what:literal, $pick:ident($($above:expr),+ $(; $($below:expr),+)?), $limit:ident $number:expr) => {
        Bound {
            scene: $scene,
            what: $what,
            pick: $pick,
            above: vec![$($above),+],
            below: vec![$($($below),+)?],
            limit: Limit::$limit($number),
        }
    };
}

/// Returns all bounds, in the order of the page.
pub(crate) fn all() -> Vec<Bound> {
    [accepting(), serving(), growing()].concat()
}

fn accepting() -> Vec<Bound> {
    vec![
        bound!("short", "CPU, rr to SO_REUSEPORT", CPU(RR; "SO_REUSEPORT"), AtMost 1.4),
        bound!("short", "CPU, rr to Node's cluster", CPU(RR; CLUSTER), AtMost 1.0 / 6.0),
        bound!("short", "CPU, master to Node's primary", FRONT(RR; CLUSTER), AtMost 0.2),
        bound!("short", "CPU, rr with Node to Node's cluster", CPU(NODE; CLUSTER), AtMost 0.85),
        bound!("short", "CPU, kernel with Node to Node's cluster", CPU(KERNEL_NODE; CLUSTER), AtMost 0.45),
        bound!("short", "CPU, kernel to SO_REUSEPORT", CPU(KERNEL; "SO_REUSEPORT"), AtMost 1.05),
    ]
}

fn serving() -> Vec<Bound> {
    vec![
        bound!("keep-alive", "CPU, rr to nginx", CPU(RR; "nginx"), AtMost 1.0),
        bound!("pipelined", "CPU, rr to nginx", CPU(RR; "nginx"), AtMost 0.8),
        bound!("lesson", "requests that failed, rr", FAILED(RR), AtMost 0.0),
        bound!("lesson", "requests that failed, rr with Node", FAILED(NODE), AtMost 0.0),
        bound!(
            "gain", "rate, a second worker to a second loop",
            RATE("two workers", "one loop"; "one worker", "two loops"), AtLeast 0.95
        ),
    ]
}

fn growing() -> Vec<Bound> {
    vec![
        bound!(
            "workers", "CPU, rr to shared, 128 workers to 2",
            CPU("rr, 128 workers", "shared, 2 workers"; "rr, 2 workers", "shared, 128 workers"),
            AtMost 1.0
        ),
        bound!(
            "workers", "CPU of the master, 128 workers to 2",
            FRONT("rr, 128 workers"; "rr, 2 workers"), AtMost 1.2
        ),
        bound!("open", "CPU, 8,000 open to 100", CPU("8,000 open"; "100 open"), AtMost 1.2),
        bound!("open", "CPU of the master, 8,000 open to 100", FRONT("8,000 open"; "100 open"), AtMost 1.2),
        bound!("memory", "memory, 80,000 to 8,000", MEMORY("after 80,000"; "after 8,000"), AtMost 1.1),
        bound!("memory", "KiB after 80,000", MEMORY("after 80,000"), AtMost 8.0 * 1024.0),
    ]
}
