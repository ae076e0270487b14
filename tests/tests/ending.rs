//! How a run ends: in good order, in haste, by force.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::net::SocketAddr;

use maitred_tests::harness::client::Client;
use maitred_tests::harness::{Launch, TestCluster, processes, program};
use rustix::process::Signal;

/// Connects and asks, and leaves the answer for later.
fn asked(address: SocketAddr, path: &str) -> Client {
    let mut client = Client::connect(address).unwrap();
    client.ask(path, "close").unwrap();
    client
}

/// Signals the master while 50 clients wait for answers; all of them must come.
fn assert_drains_on(signal: Signal) {
    let cluster = TestCluster::demo(4);
    let address = cluster.address();
    let mut clients: Vec<Client> = (0..50).map(|_| asked(address, "/sleep?ms=500")).collect();
    // Some are served by now, some wait in channels, some in the backlog.
    cluster.signal(signal);
    for client in &mut clients {
        assert_eq!(client.answer().unwrap().status, 200);
    }
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
    assert!(Client::connect(address).is_err(), "the door is closed");
    for exit in finished.log.named("exit") {
        assert_eq!(
            (&exit["code"], &exit["exited_after_disconnect"]),
            (&0.into(), &true.into())
        );
    }
}

#[test]
fn sigterm_drains_what_was_asked_before() {
    assert_drains_on(Signal::TERM);
}

#[test]
fn sigint_drains_what_was_asked_before() {
    assert_drains_on(Signal::INT);
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let cluster = TestCluster::demo(2);
    let mut client = asked(cluster.address(), "/sleep?ms=600000");
    cluster.signal(Signal::TERM);
    cluster.log().wait("shutting_down", |_| true);
    cluster.signal(Signal::TERM);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(128 + 15), "{}", finished.log.story());
    client.answer().expect_err("what was served is cut");
}

#[test]
fn what_is_not_done_at_the_drain_deadline_is_cut_and_reported() {
    let cluster = Launch::demo(2).with(["--drain-timeout", "300ms"]).ready();
    let mut client = asked(cluster.address(), "/sleep?ms=600000");
    cluster.signal(Signal::TERM);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(1), "{}", finished.log.story());
    assert_eq!(finished.log.named("cut_at_deadline").len(), 1);
    client.answer().expect_err("it was cut");
}

#[test]
fn a_kill_says_what_it_has_cut() {
    let cluster = Launch::demo(2).with(["--drain-timeout", "1s"]).ready();
    let mut client = asked(cluster.address(), "/sleep?ms=600000");
    let kill = cluster.command(&["kill"]);
    let told = kill.log.story();
    assert_eq!(kill.code, Some(1), "{told}");
    assert!(
        told.contains("was cut: 1 connections (1 in a request)"),
        "{told}"
    );
    assert_eq!(cluster.finish().code, Some(1));
    client.answer().expect_err("it was cut");
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let cluster = Launch::demo(2).with(["--keepalive-grace", "100ms"]).ready();
    let mut client = Client::connect(cluster.address()).unwrap();
    client.get("/").unwrap();
    cluster.signal(Signal::TERM);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
    client.answer().expect_err("it was closed");
}

#[test]
fn workers_end_by_themselves_when_the_master_is_killed() {
    for launch in [Launch::demo(4), Launch::node("plain.js", 4)] {
        let cluster = launch.ready();
        cluster.signal(Signal::KILL);
        // That nothing is left is asserted there.
        assert_eq!(cluster.finish().code, None);
    }
}

#[test]
fn workers_run_their_primarys_program_and_end_with_it_however_it_ends() {
    for (how, code) in [("panic", 101), ("exit", 7)] {
        let words = [program("test_primary"), how.into()];
        let finished = Launch::other(words).finish();
        let story = finished.log.story();
        assert_eq!(finished.code, Some(code), "{story}");
        // Without a word about it, workers run the same program with the same arguments.
        let said = finished.log.named("message");
        assert_eq!(said.len(), 2, "{story}");
        assert!(
            said.iter().all(|event| event["message"][0] == how),
            "{story}"
        );
    }
}

#[test]
fn a_worker_that_is_killed_takes_its_offspring_with_it() {
    let worker = program("test_worker");
    let script = format!("sleep 1000 & exec {} tcp:127.0.0.1:0", worker.display());
    let cluster = Launch::run(["-i", "1", "sh", "--", "-c", &script]).ready();
    let (_, &pid) = cluster.workers().first_key_value().unwrap();
    assert_eq!(processes::children(pid).len(), 1, "its `sleep`");
    processes::signal(pid, Signal::KILL);
    cluster.log().wait_count("ready", 1);
    cluster.log().wait_count("exit", 1);
    cluster.wait_for_workers(1);
    // The master, the new worker and the new worker's `sleep`.
    maitred_tests::harness::wait_until("the end of the old one's offspring", || {
        processes::of(cluster.home()).len() == 3
    });
    cluster.stop();
}

/// A cluster of one worker that is idle and stopped, so that it does not leave by itself.
fn stopped() -> TestCluster {
    let timeouts = ["--drain-timeout", "1s", "--kill-timeout", "100ms"];
    let cluster = Launch::demo(1).with(timeouts).ready();
    for pid in cluster.workers().into_values() {
        processes::freeze(pid);
    }
    cluster
}

#[test]
fn a_worker_that_held_nothing_and_does_not_leave_costs_no_exit_code() {
    let cluster = stopped();
    let reload = cluster.command(&["reload"]);
    let told = reload.log.story();
    assert_eq!(reload.code, Some(0), "{told}");
    assert!(told.contains("held nothing as far as it told"), "{told}");
    assert!(!told.contains("were cut"), "{told}");
    for pid in cluster.workers().into_values() {
        processes::freeze(pid);
    }
    cluster.signal(Signal::TERM);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
    assert_eq!(finished.log.named("cut_at_deadline").len(), 2);
}

#[test]
fn an_events_file_that_cannot_be_written_is_complained_of_once() {
    let cluster = Launch::demo(1).with(["--events-file", "/dev/full"]).start();
    let complaint = || {
        let lines = cluster.log().lines().into_iter();
        lines.filter(|line| line.contains("events file")).count()
    };
    maitred_tests::harness::wait_until("the complaint", || complaint() > 0);
    // Events come before the control socket is served.
    maitred_tests::harness::wait_until("an answer", || cluster.command(&["ping"]).code == Some(0));
    cluster.obey(&["kill"]);
    let finished = cluster.finish();
    let said = finished.log.lines().into_iter();
    let said: Vec<String> = said.filter(|line| line.contains("events file")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("No space left"), "{said:?}");
}

#[test]
fn a_worker_that_hangs_while_it_boots_is_told_of_once_and_not_killed() {
    let hang = [
        "-i",
        "1",
        "--listen-timeout",
        "200ms",
        "sleep",
        "--",
        "1000",
    ];
    let cluster = Launch::run(hang).start();
    let told = cluster.log().wait("not_listening", |_| true);
    assert_eq!(
        (&told["worker"], &told["after_ms"]),
        (&1.into(), &200.into())
    );
    cluster.signal(Signal::TERM);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
    assert_eq!(finished.log.named("not_listening").len(), 1);
}
