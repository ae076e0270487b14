//! Faults under load, one worker after the other.

use std::time::Duration;

use maitred::{Moment, WorkerId};
use rustix::process::Signal;

use super::length::Progress;
use super::{Beat, Bench, Record, TestCluster, processes};

/// Sends a signal to one worker after the other, wherever it is in its life, until the load
/// ends; returns who had it when.
///
/// # Panics
///
/// If the load leaves no figures.
#[must_use]
pub fn torment(
    cluster: &TestCluster,
    mut load: Bench,
    fault: Signal,
    every: Duration,
) -> (Record, Vec<(WorkerId, Moment)>) {
    let (mut beat, mut victims) = (Beat::every(every), Vec::new());
    let a_minute = Duration::from_secs(60).as_millis() / every.as_millis();
    let steps = usize::try_from(a_minute).unwrap_or(usize::MAX);
    let mut progress = Progress::of("faults under load", steps);
    loop {
        beat.wait();
        if !load.is_running() {
            break;
        }
        let workers = cluster.workers();
        // Every slot comes by turns; which request it hits is chance enough.
        let place = victims.len() % workers.len().max(1);
        let Some((&worker, &pid)) = workers.iter().nth(place) else {
            continue;
        };
        // It may have died just now of the last fault.
        if processes::state(pid).is_some_and(|state| state != 'Z') {
            processes::signal(pid, fault);
            victims.push((worker, Moment::now()));
            progress.step();
        }
    }
    (load.finish(), victims)
}
