//! Faults under load, one worker after the other.

use std::time::Duration;

use maitred::{Moment, WorkerId};
use rustix::process::Signal;

use super::length::Progress;
use super::{Beat, Bench, Record, TestCluster, processes, worker as worker_of};

/// Sends a signal to one worker after the other, wherever it is in its life, until the load
/// ends; returns who had it when. Only who listens is stopped: who stands still before has
/// nothing yet that it could be late with, and is left alone.
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
        let listening = cluster.log().named("listening");
        let listens = listening.iter().any(|event| worker_of(event) == worker);
        // It may have died just now of the last fault, or stand still of it.
        let is_well = processes::state(pid).is_some_and(|state| !['Z', 'T'].contains(&state));
        if is_well && (listens || fault != Signal::STOP) {
            processes::signal(pid, fault);
            victims.push((worker, Moment::now()));
            progress.step();
        }
    }
    (load.finish(), victims)
}
