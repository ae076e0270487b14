//! Policy `kernel` under load: whatever happens to workers, nothing that was only in a queue is
//! lost.
//!
//! Each load is judged by `maitred check-loss --workers-accept`. Where the policy cannot be had,
//! the refusal is what is tested.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::time::Duration;

use maitred_tests::harness::client::get;
use maitred_tests::harness::{
    Beat, Finished, Launch, kernel, number, processes, short_or_long, wait_until,
};
use rustix::process::Signal;

#[test]
fn killing_workers_loses_nothing_that_was_only_in_a_queue() {
    for launch in [Launch::demo(4), Launch::node("plain.js", 2)] {
        let Some(launch) = kernel(launch) else { return };
        torment(launch, Signal::KILL, Duration::from_millis(600));
    }
}

#[test]
fn stopping_workers_loses_nothing_that_was_only_in_a_queue() {
    for launch in [Launch::demo(4), Launch::node("plain.js", 2)] {
        let Some(launch) = kernel(launch.with(["--ack-timeout", "250ms"])) else {
            return;
        };
        let master = torment(launch, Signal::STOP, Duration::from_millis(1500));
        assert!(!master.log.named("hung").is_empty());
    }
}

/// Sends a signal to one worker after the other under a load, which must lose nothing that no
/// worker had accepted.
fn torment(launch: Launch, fault: Signal, every: Duration) -> Finished {
    let cluster = launch.recorded().ready();
    let count = cluster.workers().len();
    let duration = short_or_long("5s", "60s");
    let mut load = cluster.bench("/", &["-c", "64", "--close", "-d", duration]);
    let (mut beat, mut faults) = (Beat::every(every), 0);
    loop {
        beat.wait();
        if !load.is_running() {
            break;
        }
        let victim = cluster.workers().values().nth(faults % count).copied();
        // It may have died just now of the last one.
        let is_alive = |pid: &u32| processes::state(*pid).is_some_and(|state| state != 'Z');
        if let Some(pid) = victim.filter(is_alive) {
            processes::signal(pid, fault);
            faults += 1;
        }
    }
    let record = load.finish();
    wait_until("the end of everybody who was stopped", || {
        // Whoever is stopped still owes nothing, until somebody comes.
        get(cluster.address(), "/").unwrap();
        let mut workers = cluster.workers().into_values();
        workers.all(|pid| processes::state(pid).is_some_and(|state| !matches!(state, 'T' | 'Z')))
    });
    cluster.wait_for_workers(count);
    let master = cluster.end();
    let found = record.assert_no_queue_lost(&master, 100);
    assert_eq!(record.figures["totals"]["timeout"], 0, "{found:#}");
    assert!(faults > 2, "{faults}");
    master
}

#[test]
fn reloads_restarts_and_scaling_fail_no_request() {
    for launch in [Launch::demo(3), Launch::node("plain.js", 2)] {
        let Some(launch) = kernel(launch) else { return };
        let cluster = launch.recorded().ready();
        let workers = cluster.workers().len();
        let (more, same) = ((workers + 1).to_string(), workers.to_string());
        let load = cluster.bench("/", &["-c", "32", "-d", "1h", "--close"]);
        for _ in 0..short_or_long(3, 30) {
            cluster.obey(&["reload"]);
            cluster.obey(&["restart"]);
            cluster.obey(&["scale", &more]);
            cluster.obey(&["scale", &same]);
        }
        let record = load.stop();
        let master = cluster.end();
        let found = record.assert_no_queue_lost(&master, 100);
        assert_eq!(number(&found, "failed"), 0, "{found:#}");
    }
}
