//! Workers that break the protocol, reject, or die: they harm nobody but themselves.
//!
//! Each test has one worker that misbehaves when it is handed its first connection, before
//! the ack, and an honest one beside it. The first in the ring is the hostile one, so what it
//! does strikes the very first connection.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use maitred::{Limits, Outcome, Settings, Worker};
use maitred_core::dispatch::WorkerSnapshot;
use maitred_tests::harness::client;
use maitred_tests::harness::{LibraryCluster, number, text, wait_for, wait_until};
use serde_json::json;

/// A cluster with a worker of `mode` and, behind it in the ring, an honest one.
fn with_one_of(mode: &str) -> (LibraryCluster, Worker, Worker, SocketAddr) {
    let cluster = LibraryCluster::start();
    let (hostile, address) = cluster.fork_listening("hostile_worker", &[mode]);
    let (honest, same) = cluster.fork_listening("hostile_worker", &["honest"]);
    assert_eq!(address, same, "both asked for the first port 0");
    (cluster, hostile, honest, address)
}

/// Asks a few times, and asserts that one worker answers all of it.
fn assert_serves(honest: &Worker, address: SocketAddr) {
    for _ in 0..5 {
        let answer = client::get(address, "/").unwrap();
        assert_eq!(answer.worker(), honest.id());
    }
}

/// Looks at a worker as the dispatcher sees it.
fn standing_of(worker: &Worker, cluster: &LibraryCluster) -> WorkerSnapshot {
    let snapshot = cluster.wait(cluster.cluster().snapshot()).unwrap();
    let mut workers = snapshot.workers.into_iter();
    let found = workers.find(|found| found.worker == worker.id());
    found.expect("the worker lives")
}

/// Asserts that a breach of the protocol costs a worker its life and nobody anything else.
fn assert_expelled(mode: &str, reason: &str) {
    let (cluster, hostile, honest, address) = with_one_of(mode);
    // The connection that the hostile worker was handed is answered nevertheless.
    assert_serves(&honest, address);
    let breached = cluster.log().wait("breached", |_| true);
    assert_eq!(breached["worker"], hostile.id().0);
    assert!(text(&breached, "reason").contains(reason), "{breached}");
    assert_eq!(cluster.exit(&hostile)["signal"], 9);
    assert!(honest.is_connected());
    cluster.stop();
}

#[test]
fn a_worker_that_sends_garbage_is_killed() {
    assert_expelled("garbage", "decode");
}

#[test]
fn a_worker_that_acks_what_it_was_never_handed_is_killed() {
    assert_expelled("ack-unknown", "handoff that it does not have");
}

#[test]
fn a_worker_that_acks_before_it_is_handed_anything_is_killed() {
    assert_killed_before_any_connection("ack-early");
}

#[test]
fn a_worker_that_acks_what_another_was_handed_is_killed_and_takes_nothing_from_it() {
    let cluster = LibraryCluster::start();
    let fork = |mode| cluster.fork_listening("hostile_worker", &[mode]);
    let [(silent, address), (liar, _), (honest, _)] =
        ["never-ack", "ack-others", "honest"].map(fork);
    let ask = || thread::spawn(move || client::get(address, "/").unwrap());
    let first = ask();
    wait_until("a connection in flight to the silent one", || {
        standing_of(&silent, &cluster).in_flight == 1
    });
    assert_eq!(client::get(address, "/").unwrap().worker(), honest.id());
    let breached = cluster.log().wait("breached", |_| true);
    assert_eq!(breached["worker"], liar.id().0);
    // What the other was handed is still its own, un-acked, and is not lost with it.
    assert_eq!(standing_of(&silent, &cluster).in_flight, 1);
    cluster.wait(silent.kill(9));
    assert_eq!(first.join().unwrap().worker(), honest.id());
    cluster.stop();
}

#[test]
fn a_worker_that_does_not_greet_is_killed() {
    assert_killed_before_any_connection("rude");
}

/// Asserts that who breaks the protocol by itself is killed, and the next one serves.
fn assert_killed_before_any_connection(mode: &str) {
    let cluster = LibraryCluster::start();
    let rude = cluster.fork("hostile_worker", &[mode]);
    let breached = cluster.log().wait("breached", |_| true);
    assert_eq!(breached["worker"], rude.id().0);
    assert_eq!(cluster.exit(&rude)["signal"], 9);
    let (honest, address) = cluster.fork_listening("hostile_worker", &["honest"]);
    assert_serves(&honest, address);
    cluster.stop();
}

#[test]
fn a_worker_that_acks_twice_is_killed_with_what_it_took() {
    let (cluster, hostile, honest, address) = with_one_of("ack-twice");
    // The first ack counted, so this connection is its own to lose and is served by nobody.
    assert_lost(client::get(address, "/"));
    assert_eq!(cluster.exit(&hostile)["signal"], 9);
    assert_serves(&honest, address);
    cluster.stop();
}

fn assert_lost(answer: io::Result<client::Answer>) {
    let error = answer.expect_err("nobody may answer");
    let lost = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
    assert!(
        lost.contains(&error.kind()),
        "closed, and not left hanging: {error}"
    );
}

#[test]
fn a_worker_that_sends_descriptors_gives_the_master_none() {
    let (cluster, hostile, honest, address) = with_one_of("descriptors");
    client::get(address, "/").unwrap();
    let refused_or_killed = || {
        let refused = !cluster.log().named("message").is_empty();
        let killed = !cluster.log().named("exit").is_empty();
        (refused || killed).then_some(refused)
    };
    if wait_for(
        "a refusal by the kernel or by the master",
        refused_or_killed,
    ) {
        // Linux 6.16 and later: the master has forbidden it, and nothing ever arrived.
        let refusal = cluster.message(&hostile, |_| true);
        assert_eq!(refusal, json!({ "refused": 1 }), "EPERM");
        client::get(address, "/").unwrap();
    } else {
        cluster
            .log()
            .wait("breached", |event| event["worker"] == hostile.id().0);
        assert_serves(&honest, address);
    }
    // Here the master's descriptors are counted.
    cluster.stop();
}

#[test]
fn a_connection_whose_worker_dies_before_the_ack_is_served_by_another() {
    let (cluster, hostile, honest, address) = with_one_of("die-unacked");
    let answer = client::get(address, "/").unwrap();
    assert_eq!(answer.worker(), honest.id());
    assert_eq!(cluster.exit(&hostile)["code"], 7);
    cluster.stop();
}

#[test]
fn a_connection_whose_worker_dies_after_the_ack_is_served_by_nobody() {
    let (cluster, hostile, honest, address) = with_one_of("die-acked");
    assert_lost(client::get(address, "/"));
    assert_eq!(cluster.exit(&hostile)["code"], 7);
    // Not even later, out of turn: the honest one takes exactly what is asked from now on.
    assert_serves(&honest, address);
    // The last ack may be read after the client has its answer.
    wait_until("an ack for each connection, and none requeued", || {
        let totals = cluster.wait(cluster.cluster().snapshot()).unwrap().totals;
        (totals.accepted, totals.acked, totals.requeued) == (6, 6, 0)
    });
    cluster.stop();
}

#[test]
fn a_connection_that_three_workers_died_of_is_refused() {
    let cluster = LibraryCluster::start();
    let fork = |_| cluster.fork_listening("hostile_worker", &["die-unacked"]);
    let workers: Vec<(Worker, SocketAddr)> = (0..4).map(fork).collect();
    let (survivor, address) = &workers[3];
    assert_lost(client::get(*address, "/"));
    let refused = cluster.log().wait("refused", |_| true);
    assert_eq!(refused["reason"], "WorkersDied");
    let exits = cluster.log().wait_count("exit", 3);
    let dead: Vec<u64> = exits.iter().map(|event| number(event, "worker")).collect();
    assert_eq!(dead, [1, 2, 3], "in the order of the ring");
    assert!(!survivor.is_dead(), "the fourth is spared");
    cluster.stop();
}

#[test]
fn a_worker_that_rejects_is_left_alone_until_it_has_room() {
    let (cluster, hostile, honest, address) = with_one_of("reject");
    assert_serves(&honest, address);
    let rejecting = standing_of(&hostile, &cluster);
    assert_eq!(
        (rejecting.handed_off, rejecting.rejected),
        (1, 1),
        "asked once, then no more"
    );
    cluster.stop();
}

#[test]
fn a_connection_that_all_workers_reject_is_refused_and_not_passed_around() {
    let cluster = LibraryCluster::start();
    let mode = ["reject-and-recover"];
    let (first, address) = cluster.fork_listening("hostile_worker", &mode);
    assert_lost(client::get(address, "/"));
    let refused = cluster.log().wait("refused", |_| true);
    assert_eq!(refused["reason"], "RejectedByAll");
    assert_eq!(
        standing_of(&first, &cluster).rejected,
        2,
        "one more chance, no more"
    );

    // Which of two recovers first is chance, but both are asked before it is refused.
    let (second, _) = cluster.fork_listening("hostile_worker", &mode);
    assert_lost(client::get(address, "/"));
    cluster.log().wait_count("refused", 2);
    assert!(standing_of(&first, &cluster).rejected >= 4);
    assert!(standing_of(&second, &cluster).rejected >= 2);
    cluster.stop();
}

#[test]
fn what_a_worker_was_handed_and_never_acked_goes_to_others_when_it_is_killed() {
    let (cluster, hostile, honest, address) = with_one_of("never-ack");
    let ask = || thread::spawn(move || client::get(address, "/").unwrap());
    let clients: Vec<_> = (0..8).map(|_| ask()).collect();
    wait_until("its window is full, and the others were served", || {
        let (stuck, free) = (
            standing_of(&hostile, &cluster),
            standing_of(&honest, &cluster),
        );
        (stuck.in_flight, free.acked) == (stuck.window, 8 - stuck.in_flight as u64)
    });
    cluster.wait(hostile.kill(9));
    for client in clients {
        assert_eq!(client.join().unwrap().worker(), honest.id());
    }
    cluster.stop();
}

#[test]
fn a_worker_that_never_greets_does_not_hold_up_the_end() {
    let cluster = LibraryCluster::start();
    let mute = cluster.fork("hostile_worker", &["mute"]);
    cluster.log().wait("fork", |_| true);
    let log = cluster.log().clone();
    cluster.stop();
    assert_eq!(log.wait("exit", |_| true)["worker"], mute.id().0);
}

/// A cluster that gives its workers little time to leave.
fn impatient() -> LibraryCluster {
    let limits = Limits {
        drain_timeout: Duration::from_millis(200),
        kill_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    LibraryCluster::with(|_| Settings::new().limits(limits))
}

#[test]
fn a_worker_that_does_not_leave_is_made_to() {
    let cluster = impatient();
    let (stubborn, address) = cluster.fork_listening("hostile_worker", &["stubborn"]);
    assert_serves(&stubborn, address);
    let log = cluster.log().clone();
    cluster.stop_as(&Outcome::Cut);
    assert_eq!(log.named("cut_at_deadline").len(), 1);
}

#[test]
fn a_connection_that_is_never_acked_does_not_hold_up_the_end() {
    let cluster = impatient();
    let (hostile, address) = cluster.fork_listening("hostile_worker", &["never-ack"]);
    let client = thread::spawn(move || client::get(address, "/"));
    wait_until("a connection in flight to it", || {
        standing_of(&hostile, &cluster).in_flight == 1
    });
    cluster.stop_as(&Outcome::Cut);
    assert_lost(client.join().unwrap());
}

#[test]
fn a_connection_that_is_never_taken_does_not_hold_up_the_end() {
    let cluster = impatient();
    let (hostile, address) = cluster.fork_listening("hostile_worker", &["reject"]);
    let client = thread::spawn(move || client::get(address, "/"));
    wait_until("a connection that it rejected", || {
        standing_of(&hostile, &cluster).rejected == 1
    });
    cluster.stop_as(&Outcome::Cut);
    assert_lost(client.join().unwrap());
}
