//! Workers killed, stopped, reloaded and scaled under load, with each policy: nothing is lost.
//!
//! `loss.rs` and `reload.rs` do each of these for long under `rr`. Here all of them come together
//! for a short time, since what a policy could spoil is the handing over after a fault, and that
//! is the same whatever the fault. With `MAITRED_LONG` it goes on for a minute.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use maitred_tests::harness::{
    Beat, Launch, TestCluster, processes, short_or_long, tell, wait_until,
};
use rustix::process::Signal;

/// Shorter than a client waits, so that who was handed to a stopped worker is answered. One that is
/// handed nothing, as most are under `sticky` with a load from one address, is found by its pings.
const TIMEOUTS: [&str; 4] = ["--ack-timeout", "250ms", "--heartbeat-timeout", "3s"];

/// One test at a time: beside others the processors of a small machine would be too few.
static ALONE: Mutex<()> = Mutex::new(());

/// Sends a signal to each worker, one after the other, and so to whoever has the clients; returns
/// when all of them are gone, of it or since the master found them hanging.
fn hit_all(cluster: &TestCluster, workers: usize, beat: &mut Beat, fault: Signal) {
    // One that stands still before it listens is told of and left alone.
    cluster.wait_for_workers(workers);
    let is_alive = |pid: u32| processes::state(pid).is_some_and(|state| state != 'Z');
    let victims = cluster.workers();
    for &pid in victims.values().filter(|pid| is_alive(**pid)) {
        processes::signal(pid, fault);
        beat.wait();
    }
    // A worker that stands still when it is asked to leave would hold up a reload.
    wait_until("the end of all victims", || {
        !victims.values().any(|pid| is_alive(*pid))
    });
}

/// Puts a cluster under load, and lets one trouble follow the other.
fn fire(launch: Launch, policy: &str, workers: usize, every: Duration) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let rounds = short_or_long(2, 20);
    let cluster = launch
        .with(["--policy", policy])
        .with(TIMEOUTS)
        .recorded()
        .ready();
    let load = cluster.bench("/", &["-c", "40", "--close", "-d", "1h"]);
    let mut beat = Beat::every(every);
    for _ in 0..rounds {
        hit_all(&cluster, workers, &mut beat, Signal::KILL);
        hit_all(&cluster, workers, &mut beat, Signal::STOP);
        cluster.obey(&["scale", "+2"]);
        cluster.wait_for_workers(workers + 2);
        cluster.obey(&["reload"]);
        cluster.obey(&["scale", "-2"]);
        cluster.wait_for_workers(workers);
    }
    let record = load.stop();
    cluster.wait_for_workers(workers);
    let master = cluster.end();
    let found = record.assert_nothing_lost(&master, 100);
    assert_eq!(record.figures["totals"]["timeout"], 0, "{found:#}");
    tell(&format!(
        "{policy}: {} connections, {} failed, none of them un-acked",
        found["joined"], found["failed"]
    ));
}

fn rust(policy: &str) {
    fire(Launch::demo(4), policy, 4, Duration::from_millis(200));
}

fn node(policy: &str) {
    fire(
        Launch::node("plain.js", 2),
        policy,
        2,
        Duration::from_millis(500),
    );
}

#[test]
fn least_connections_loses_nothing() {
    rust("least-connections");
}

#[test]
fn sticky_loses_nothing() {
    rust("sticky");
}

#[test]
fn weighted_loses_nothing() {
    rust("weighted");
}

#[test]
fn least_connections_loses_nothing_with_node_workers() {
    node("least-connections");
}

#[test]
fn sticky_loses_nothing_with_node_workers() {
    node("sticky");
}

#[test]
fn weighted_loses_nothing_with_node_workers() {
    node("weighted");
}
