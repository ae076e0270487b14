//! Reloads, restarts and scaling under load: no request fails, not even with a program that is
//! broken.
//!
//! Each load is judged by `maitred check-loss`, and then every request of it must have been
//! answered: of what a reload does, nothing is allowed to be anybody's fault.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::collections::BTreeMap;
use std::thread;

use maitred::WorkerId;
use maitred_tests::harness::{
    Changing, Finished, Launch, Progress, TestCluster, program, short_or_long, tell, wait_until,
};
use serde_json::Value;

/// Clients without a pause between requests.
const CLIENTS: &str = "40";
/// A load that lasts until it is stopped.
const FOR_LONG: &str = "1h";
const KEEP_ALIVE: [&str; 4] = ["-c", CLIENTS, "-d", FOR_LONG];
const CLOSE: [&str; 5] = ["-c", CLIENTS, "-d", FOR_LONG, "--close"];

/// Reloads again and again under a load, of which nothing may fail.
fn reload_under(path: &str, load: &[&str]) {
    let reloads = short_or_long(5, 50);
    let cluster = Launch::demo(4).recorded().ready();
    let load = cluster.bench(path, load);
    let mut progress = Progress::of("reloads", reloads);
    for _ in 0..reloads {
        cluster.obey(&["reload"]);
        progress.step();
    }
    // Nobody is left of any generation but the last.
    let list = list(&cluster);
    let is_last = |row: &Value| row["generation"] == reloads;
    assert!(list.len() == 4 && list.iter().all(is_last), "{list:?}");
    let record = load.stop();
    let master = cluster.end();
    record.assert_all_answered(&master, 40);
    let requests = &record.figures["totals"]["requests"];
    tell(&format!("{reloads} reloads, {requests} requests: 0 failed"));
}

fn list(cluster: &TestCluster) -> Vec<Value> {
    let listed = cluster.command(&["ls", "--json"]);
    let mut list: Value = serde_json::from_str(&listed.log.lines()[0]).unwrap();
    list["workers"].as_array_mut().unwrap().split_off(0)
}

#[test]
fn reloads_fail_no_request_on_connections_that_stay() {
    reload_under("/", &KEEP_ALIVE);
}

#[test]
fn reloads_fail_no_request_that_has_its_own_connection() {
    reload_under("/", &CLOSE);
}

#[test]
fn reloads_fail_no_request_that_takes_its_time_on_connections_that_stay() {
    reload_under("/sleep?ms=100", &KEEP_ALIVE);
}

#[test]
fn reloads_fail_no_request_that_takes_its_time_on_its_own_connection() {
    reload_under("/sleep?ms=100", &CLOSE);
}

/// The one race that HTTP/1.1 leaves open is told apart from everything else: a connection that
/// its server closes as idle, and its client uses again, in the same moment.
#[test]
fn reloads_cost_clients_that_think_nothing_but_the_reuse_of_idle_connections() {
    let (reloads, think, grace) = short_or_long((3, "500ms", "100ms"), (10, "10s", "5s"));
    let cluster = Launch::demo(4).with(["--keepalive-grace", grace]);
    let cluster = cluster.recorded().ready();
    let load = ["-c", CLIENTS, "-d", FOR_LONG, "--think-max", think];
    let load = cluster.bench("/", &load);
    let mut progress = Progress::of("reloads among clients that think", reloads);
    for _ in 0..reloads {
        cluster.obey(&["reload"]);
        progress.step();
    }
    let record = load.stop();
    let master = cluster.end();
    let found = record.assert_nothing_lost(&master, 40);
    assert_eq!(found["failed"], found["idle_reuse"]["count"], "{found:#}");
    // The grace is shorter than most thinking.
    let totals = &record.figures["totals"];
    assert!(totals["closed_idle"].as_u64() > Some(0), "{totals:#}");
}

/// Reloads to a broken program under load: it must fail for this reason and change nothing.
fn reload_to_broken(body: &str, reason: &str) {
    let arguments = ["--", "tcp:127.0.0.1:0"];
    reload_with_to_broken(&arguments, body, reason);
}

fn reload_with_to_broken(arguments: &[&str], body: &str, reason: &str) {
    let program = Changing::new();
    let cluster = Launch::run([program.path()])
        .with(["-i", "2", "--listen-timeout", "500ms"])
        .with(arguments)
        .recorded()
        .ready();
    let loads = [&KEEP_ALIVE[..], &CLOSE].map(|load| cluster.bench("/", load));
    let before = cluster.workers();
    program.become_script(body);
    let failed = cluster.command(&["reload"]);
    let said = failed.log.lines().join("\n");
    assert_eq!(failed.code, Some(1), "{said}");
    assert!(said.contains(reason), "{said}");
    wait_until("the old workers, and no others", || {
        cluster.workers() == before
    });

    program.mend();
    cluster.obey(&["reload"]);
    let is_new = |workers: &BTreeMap<WorkerId, u32>| {
        workers.len() == before.len() && workers.keys().all(|id| !before.contains_key(id))
    };
    wait_until("new workers in all places", || is_new(&cluster.workers()));
    let records = loads.map(maitred_tests::harness::Bench::stop);
    let master = cluster.end();
    for record in records {
        record.assert_all_answered(&master, 2);
    }
}

#[test]
fn a_reload_to_a_program_that_exits_at_once_fails_and_changes_nothing() {
    reload_to_broken("exit 3", "code 3");
}

#[test]
fn a_reload_to_a_program_that_never_listens_fails_and_changes_nothing() {
    reload_to_broken("exec sleep 1000", "within 500ms (--listen-timeout)");
}

#[test]
fn a_reload_to_a_program_that_never_says_that_it_is_ready_fails_and_changes_nothing() {
    let arguments = ["--wait-ready", "--", "tcp:127.0.0.1:0", "ready"];
    // It listens, and may be asked; that is not enough.
    let body = format!("exec '{}' \"$1\"", program("test_worker").display());
    reload_with_to_broken(&arguments, &body, "did not say that it is ready");
}

#[test]
fn a_second_reload_while_one_runs_is_refused() {
    let cluster = Launch::demo(2).recorded().ready();
    let load = cluster.bench("/sleep?ms=1000", &CLOSE);
    thread::scope(|scope| {
        let first = scope.spawn(|| -> Finished { cluster.command(&["reload"]) });
        cluster.log().wait("reload_begun", |_| true);
        let second = cluster.command(&["reload"]);
        let said = second.log.story();
        assert_eq!(second.code, Some(1), "{said}");
        assert!(said.contains("another reload is running"), "{said}");
        assert_eq!(first.join().unwrap().code, Some(0));
    });
    let record = load.stop();
    let master = cluster.end();
    assert_eq!(master.log.named("reload_begun").len(), 1);
    record.assert_all_answered(&master, 1);
}

/// Restarts one worker after the other, and all at once, again and again under a load, of which
/// nothing may fail. While nobody listens, who comes waits.
fn restart_under(load: &[&str]) {
    const WORKERS: usize = 4;
    let times = short_or_long(1, 10);
    let cluster = Launch::demo(WORKERS).recorded().ready();
    let load = cluster.bench("/", load);
    let mut progress = Progress::of("rounds of restarts", times);
    for _ in 0..times {
        for which in ["0", "1", "2", "3", "all"] {
            let before = cluster.workers();
            cluster.obey(&["restart", which]);
            cluster.wait_for_workers(WORKERS);
            let restarted = cluster
                .workers()
                .keys()
                .filter(|id| !before.contains_key(id))
                .count();
            assert_eq!(
                restarted,
                if which == "all" { WORKERS } else { 1 },
                "{which}"
            );
        }
        progress.step();
    }
    let record = load.stop();
    let master = cluster.end();
    record.assert_all_answered(&master, 40);
    let requests = &record.figures["totals"]["requests"];
    tell(&format!(
        "{} restarts, {requests} requests: 0 failed",
        times * 5
    ));
}

#[test]
fn restarts_fail_no_request_on_connections_that_stay() {
    restart_under(&KEEP_ALIVE);
}

#[test]
fn restarts_fail_no_request_that_has_its_own_connection() {
    restart_under(&CLOSE);
}

/// Scales up and down again and again under a load, of which nothing may fail.
fn scale_under(load: &[&str]) {
    let times = short_or_long(3, 50);
    let cluster = Launch::demo(1).recorded().ready();
    let load = cluster.bench("/", load);
    let mut progress = Progress::of("rounds of scaling", times);
    for _ in 0..times {
        for workers in [8, 2, 1] {
            cluster.obey(&["scale", &workers.to_string()]);
            cluster.wait_for_workers(workers);
        }
        progress.step();
    }
    let record = load.stop();
    let master = cluster.end();
    record.assert_all_answered(&master, 40);
    let requests = &record.figures["totals"]["requests"];
    tell(&format!(
        "{times} times 1 → 8 → 2 → 1, {requests} requests: 0 failed"
    ));
}

#[test]
fn scaling_fails_no_request_on_connections_that_stay() {
    scale_under(&KEEP_ALIVE);
}

#[test]
fn scaling_fails_no_request_that_has_its_own_connection() {
    scale_under(&CLOSE);
}

#[test]
fn a_reload_of_one_slot_replaces_its_worker_and_no_other() {
    let cluster = Launch::demo(3).ready();
    let before = cluster.workers();
    cluster.obey(&["reload", "1"]);
    let after = cluster.workers();
    // Numbers are given in the order of the slots.
    let second = *before.keys().nth(1).unwrap();
    assert!(!after.contains_key(&second), "{before:?}, {after:?}");
    let stayed = before.iter().filter(|(id, pid)| after.get(id) == Some(pid));
    assert_eq!((stayed.count(), after.len()), (2, 3));
    let refused = cluster.command(&["reload", "7"]);
    assert_eq!(refused.code, Some(3), "{}", refused.log.story());
    let refused = cluster.command(&["stop", "1"]);
    assert_eq!(refused.code, Some(2), "{}", refused.log.story());
    cluster.stop();
}
