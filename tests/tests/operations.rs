//! Stop, restart, reset and a reload by signal: what each does, and what it lets alone.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;

use maitred_tests::harness::{Launch, TestCluster, processes, wait_until};
use rustix::process::Signal;
use serde_json::Value;

/// Returns the row of the worker that has a slot.
fn row(cluster: &TestCluster, slot: u32) -> Value {
    let listed = cluster.command(&["ls", &slot.to_string(), "--json"]);
    assert_eq!(listed.code, Some(0), "{}", listed.log.story());
    let list: Value = serde_json::from_str(&listed.log.lines()[0]).unwrap();
    list["workers"][0].clone()
}

/// Stops the process that has a slot, so that it cannot leave until it is told to go on.
fn freeze(cluster: &TestCluster, slot: u32) -> u32 {
    let pid = row(cluster, slot)["pid"].as_u64().unwrap();
    let pid = u32::try_from(pid).unwrap();
    processes::freeze(pid);
    pid
}

fn wait_for_drain(cluster: &TestCluster, slot: u32) {
    wait_until("a worker that drains", || {
        row(cluster, slot)["state"] == "draining"
    });
}

fn assert_refused(cluster: &TestCluster, arguments: &[&str], code: i32, words: &str) {
    let refused = cluster.command(arguments);
    let said = refused.log.story();
    assert_eq!(refused.code, Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
}

/// Ends a cluster that has not as many workers as at its start.
fn kill(cluster: TestCluster) {
    cluster.obey(&["kill"]);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
}

#[test]
fn a_stop_ends_a_run_that_does_not_stay() {
    let cluster = TestCluster::demo(2);
    cluster.obey(&["stop"]);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
}

#[test]
fn what_cannot_be_done_during_a_stop_is_refused_and_changes_nothing() {
    let cluster = Launch::demo(2).with(["--stay"]).ready();
    let pid = freeze(&cluster, 0);
    thread::scope(|scope| {
        let stop = scope.spawn(|| cluster.command(&["stop"]));
        wait_for_drain(&cluster, 0);
        for arguments in [&["scale", "+1"][..], &["reload"]] {
            assert_refused(&cluster, arguments, 1, "everything is being stopped");
        }
        processes::signal(pid, Signal::CONT);
        assert_eq!(stop.join().unwrap().code, Some(0));
    });
    assert_eq!(cluster.workers().len(), 0);
    cluster.obey(&["restart"]);
    cluster.wait_for_workers(2);
    // One more than before the refusal.
    cluster.obey(&["scale", "+1"]);
    cluster.wait_for_workers(3);
    kill(cluster);
}

#[test]
fn a_restart_of_one_slot_waits_for_no_other() {
    let cluster = TestCluster::demo(3);
    let before = cluster.workers();
    let (restarted, scaled_away) = (freeze(&cluster, 1), freeze(&cluster, 2));
    cluster.obey(&["scale", "2"]);
    wait_for_drain(&cluster, 2);
    assert_refused(&cluster, &["restart", "2"], 3, "no worker is to follow");
    thread::scope(|scope| {
        let other = scope.spawn(|| cluster.command(&["restart", "1"]));
        wait_for_drain(&cluster, 1);
        cluster.obey(&["restart", "0"]);
        let now = row(&cluster, 0);
        assert_eq!(now["state"], "listening", "{now}");
        let is_old = |pid: &u32| now["pid"] == *pid;
        assert!(!before.values().any(is_old), "{now}");
        for pid in [restarted, scaled_away] {
            processes::signal(pid, Signal::CONT);
        }
        assert_eq!(other.join().unwrap().code, Some(0));
    });
    kill(cluster);
}

#[test]
fn a_stop_does_not_take_back_that_a_kill_was_asked_for() {
    let cluster = Launch::demo(1).with(["--stay"]).ready();
    let pid = freeze(&cluster, 0);
    thread::scope(|scope| {
        let kill = scope.spawn(|| cluster.command(&["kill"]));
        wait_for_drain(&cluster, 0);
        let socket = cluster.home().join("state/master.sock");
        let mut stop = UnixStream::connect(socket).unwrap();
        stop.write_all(b"POST /v1/apps/all/stop HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        // Who asks after the stop is answered after it was taken.
        cluster.obey(&["ping"]);
        processes::signal(pid, Signal::CONT);
        assert_eq!(kill.join().unwrap().code, Some(0));
    });
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
}

#[test]
fn a_reset_begins_the_count_of_restarts_anew() {
    let cluster = TestCluster::demo(1);
    cluster.obey(&["restart", "0"]);
    assert_eq!(row(&cluster, 0)["restarts"], 1);
    cluster.obey(&["reset", "0"]);
    assert_eq!(row(&cluster, 0)["restarts"], 0);
    cluster.stop();
}

#[test]
fn without_a_terminal_a_hangup_reloads() {
    let cluster = Launch::demo(2).through(["setsid"]).ready();
    let before = cluster.workers();
    cluster.signal(Signal::HUP);
    cluster.log().wait("reloaded", |_| true);
    cluster.wait_for_workers(2);
    let now = cluster.workers();
    assert!(now.keys().all(|worker| !before.contains_key(worker)));
    cluster.stop();
}
