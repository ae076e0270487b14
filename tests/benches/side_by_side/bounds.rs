//! The promises of speed, as bounds on ratios: what `--check` fails for when one is crossed.

use super::samples::{Pick, Samples, Spread};

/// A ratio that must stay on one side of a number, in the median of the rounds: the product of
/// one figure of some cases, divided by that of others. With none to divide by it is the figure.
#[derive(Debug)]
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
    fn of(
        scene: &'static str,
        what: &'static str,
        pick: Pick,
        above: &[&'static str],
        below: &[&'static str],
        limit: Limit,
    ) -> Self {
        let (above, below) = (above.to_vec(), below.to_vec());
        Self {
            scene,
            what,
            pick,
            above,
            below,
            limit,
        }
    }

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

/// Returns all bounds, in the order of the page.
pub(crate) fn all() -> Vec<Bound> {
    let (most, least) = (Limit::AtMost, Limit::AtLeast);
    let short =
        |what, above, below, limit| Bound::of("short", what, CPU, &[above], &[below], limit);
    let mut bounds = vec![
        short("CPU, rr to SO_REUSEPORT", RR, "SO_REUSEPORT", most(1.4)),
        short("CPU, rr to Node's cluster", RR, CLUSTER, most(1.0 / 6.0)),
        short(
            "CPU, rr with Node to Node's cluster",
            NODE,
            CLUSTER,
            most(0.85),
        ),
        short(
            "CPU, kernel with Node to Node's cluster",
            KERNEL_NODE,
            CLUSTER,
            most(0.45),
        ),
        short(
            "CPU, kernel to SO_REUSEPORT",
            KERNEL,
            "SO_REUSEPORT",
            most(1.05),
        ),
    ];
    let mut add = |scene, what, pick, above: &[_], below: &[_], limit| {
        bounds.push(Bound::of(scene, what, pick, above, below, limit));
    };
    add(
        "short",
        "CPU, master to Node's primary",
        FRONT,
        &[RR],
        &[CLUSTER],
        most(0.2),
    );
    add(
        "keep-alive",
        "CPU, rr to nginx",
        CPU,
        &[RR],
        &["nginx"],
        most(1.0),
    );
    add(
        "pipelined",
        "CPU, rr to nginx",
        CPU,
        &[RR],
        &["nginx"],
        most(0.8),
    );
    add(
        "lesson",
        "requests that failed, rr",
        FAILED,
        &[RR],
        &[],
        most(0.0),
    );
    add(
        "lesson",
        "requests that failed, rr with Node",
        FAILED,
        &[NODE],
        &[],
        most(0.0),
    );
    add(
        "gain",
        "rate, a second worker to a second loop",
        RATE,
        &["two workers", "one loop"],
        &["one worker", "two loops"],
        least(0.95),
    );
    add(
        "workers",
        "CPU, rr to shared, 128 workers to 2",
        CPU,
        &["rr, 128 workers", "shared, 2 workers"],
        &["rr, 2 workers", "shared, 128 workers"],
        most(1.0),
    );
    add(
        "workers",
        "CPU of the master, 128 workers to 2",
        FRONT,
        &["rr, 128 workers"],
        &["rr, 2 workers"],
        most(1.2),
    );
    add(
        "open",
        "CPU, 8,000 open to 100",
        CPU,
        &["8,000 open"],
        &["100 open"],
        most(1.2),
    );
    add(
        "open",
        "CPU of the master, 8,000 open to 100",
        FRONT,
        &["8,000 open"],
        &["100 open"],
        most(1.2),
    );
    add(
        "memory",
        "memory, 80,000 to 8,000",
        MEMORY,
        &["after 80,000"],
        &["after 8,000"],
        most(1.1),
    );
    add(
        "memory",
        "KiB after 80,000",
        MEMORY,
        &["after 80,000"],
        &[],
        most(8.0 * 1024.0),
    );
    bounds
}
