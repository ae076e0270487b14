//! Node workers that die, stop, spin and run out of descriptors under load: no connection is
//! lost that none of them had acked.
//!
//! Each load is judged by `maitred check-loss`, as those on Rust workers are (`loss.rs`), by the
//! same figures.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use maitred::WorkerId;
use maitred_tests::harness::client::get;
use maitred_tests::harness::{
    Bench, Launch, TestCluster, number, short_or_long, tell, torment, wait_until,
};
use rustix::process::Signal;

/// Lets one test of this file run at a time, for each makes the machine as busy as it can.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn storm(cluster: &TestCluster, duration: &str) -> Bench {
    cluster.bench("/", &["-c", "64", "--close", "-d", duration])
}

#[test]
fn killing_node_workers_loses_no_connection_that_none_of_them_had_acked() {
    let _alone = alone();
    // Node takes some tens of milliseconds to come up, and under a whole suite of tests a second.
    let long = ("20s", Duration::from_millis(200), 20_000);
    let (duration, every, connections_min) =
        short_or_long(("3s", Duration::from_millis(700), 100), long);
    let cluster = Launch::node("plain.js", 2).recorded().ready();
    let load = storm(&cluster, duration);
    let (record, kills) = torment(&cluster, load, Signal::KILL, every);
    cluster.wait_for_workers(2);
    let master = cluster.end();
    let found = record.assert_nothing_lost(&master, connections_min);
    assert_eq!(record.figures["totals"]["timeout"], 0, "{found:#}");
    tell(&format!(
        "{} kills, {} connections: {} failed, none of them un-acked",
        kills.len(),
        number(&found, "joined"),
        number(&found, "failed")
    ));
    assert!(kills.len() > 2);
}

#[test]
fn who_waits_for_a_stopped_node_worker_waits_no_longer_than_the_ack_timeout_and_a_little() {
    const ACK_TIMEOUT: Duration = Duration::from_millis(250);
    /// For noticing, killing, reaping, and another worker's queue.
    const ROOM: Duration = Duration::from_millis(250);
    let _alone = alone();
    let long = ("60s", Duration::from_secs(2), 20_000);
    let (duration, every, connections_min) =
        short_or_long(("3s", Duration::from_millis(900), 100), long);
    let cluster = Launch::node("plain.js", 3).with(["--ack-timeout", "250ms"]);
    let cluster = cluster.recorded().ready();
    let unfaulted = storm(&cluster, short_or_long("1s", "20s")).finish();
    let load = storm(&cluster, duration);
    let (record, stops) = torment(&cluster, load, Signal::STOP, every);
    wait_until("the end of every stopped worker", || {
        // The last may owe nothing yet: the load ended when it had just been stopped.
        let asked = get(cluster.address(), "/").is_ok();
        asked && cluster.log().named("hung").len() >= stops.len()
    });
    cluster.wait_for_workers(3);
    let master = cluster.end();
    unfaulted.assert_all_answered(&master, 100);
    let found = record.assert_nothing_lost(&master, connections_min);
    let bound = ACK_TIMEOUT + unfaulted.longest_connection() + ROOM;
    let worst = record.longest_connection();
    tell(&format!(
        "{} stops, {} connections: {} failed; worst {worst:?} of {bound:?}",
        stops.len(),
        number(&found, "joined"),
        number(&found, "failed"),
    ));
    assert!(
        worst <= bound,
        "{worst:?}, and at most {bound:?} was promised"
    );
}

#[test]
fn a_node_worker_in_an_endless_loop_costs_no_other_client_anything() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    const ROOM: Duration = Duration::from_secs(1);
    let _alone = alone();
    let cluster = Launch::node("plain.js", 2).with(["--heartbeat-timeout", "1s"]);
    let cluster = cluster.recorded().ready();
    let address = cluster.address();
    let spinning = thread::spawn(move || {
        let began = Instant::now();
        get(address, "/spin").expect_err("nobody answers");
        began.elapsed()
    });
    // One at a time, so that none shares its worker with the spinning one by chance.
    let load = cluster.bench("/", &["-c", "1", "--close", "-d", "2500ms"]);
    let took = spinning.join().expect("it was answered");
    assert!(took <= TIMEOUT + ROOM, "{took:?}");
    let record = load.finish();
    cluster.wait_for_workers(2);
    assert_eq!(cluster.log().named("hung").len(), 1);
    record.assert_all_answered(&cluster.end(), 50);
}

#[test]
fn a_node_worker_without_descriptors_costs_nobody_anything_and_takes_its_share_again() {
    const AFTERWARDS: usize = 20;
    let _alone = alone();
    let cluster = Launch::node("hungry.js", 2)
        .with(["--env", "HUNGER=500"])
        .through(["prlimit", "--nofile=256:256"])
        .recorded()
        .ready();
    let address = cluster.address();
    let load = cluster.bench("/", &["-c", "32", "--close", "-d", "1500ms"]);
    let hungry = get(address, "/eat").expect("an answer").worker();
    let record = load.finish();
    cluster
        .log()
        .wait("message", |told| told["message"]["fed"] == hungry.0);
    wait_until("its return", || {
        get(address, "/").is_ok_and(|answer| answer.worker() == hungry)
    });
    let mut counts: BTreeMap<WorkerId, usize> = BTreeMap::new();
    for _ in 0..AFTERWARDS {
        let answer = get(address, "/").expect("an answer");
        *counts.entry(answer.worker()).or_default() += 1;
    }
    assert_eq!(counts[&hungry], AFTERWARDS / 2, "{counts:?}");
    assert!(cluster.log().named("exit").is_empty());
    let master = cluster.end();
    record.assert_all_answered(&master, 100);
    assert!(master.recorded("rejected") > 0);
}
