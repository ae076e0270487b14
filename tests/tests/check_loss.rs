//! The proof that nothing was lost, and that it fails when something was.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use maitred_tests::harness::{
    Launch, Load, TestCluster, number, processes, program, text, wait_for, wait_until,
};
use rustix::process::Signal;
use serde_json::Value;

/// Requests of one load.
const REQUESTS: usize = 400;
const CLIENTS: usize = 8;

/// A cluster that writes its events into a file.
struct Recorded {
    cluster: TestCluster,
}

impl Recorded {
    fn start(workers: usize) -> Self {
        let launch = Launch::demo(workers);
        let file = launch.home().join("events");
        let file: &std::ffi::OsStr = file.as_os_str();
        let cluster = launch.with(["--events-file".as_ref(), file]).start();
        let recorded = Self { cluster };
        recorded.wait("ready", 1);
        recorded
    }

    /// Waits until so many events of a name are written, and returns them.
    fn wait(&self, name: &str, count: usize) -> Vec<Value> {
        wait_for(name, || {
            let written = fs::read_to_string(self.cluster.home().join("events")).ok()?;
            let events = written
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let found: Vec<Value> = events
                .filter(|event: &Value| event["event"] == name)
                .collect();
            (found.len() >= count).then_some(found)
        })
    }

    fn address(&self) -> SocketAddr {
        let opened = &self.wait("server_opened", 1)[0];
        text(opened, "address").parse().unwrap()
    }

    fn pid(&self, worker: usize) -> u32 {
        let pid = self.wait("fork", worker)[worker - 1]["pid"].as_u64();
        pid.unwrap().try_into().unwrap()
    }

    /// Ends the cluster, and returns both records.
    fn end(self, load: &Load) -> (String, String) {
        self.cluster.signal(Signal::TERM);
        let finished = self.cluster.finish();
        assert_eq!(finished.code, Some(0), "{}", finished.log.story());
        let bench = finished.home.join("bench");
        load.write(&bench);
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        (read(&bench), read(&finished.home.join("events")))
    }
}

/// Checks two records; returns the exit code and the answer.
fn check(bench: &str, events: &str, more: &[&str]) -> (i32, Value) {
    // Who is killed here is waited for, so that a wide slack excuses nothing else.
    let launch = Launch::new(["check-loss", "--json", "--slack", "1s"]);
    // Not named as a cluster's own record is, which the harness would look at.
    let [bench_file, events_file] = ["bench", "master"].map(|name| launch.home().join(name));
    fs::write(&bench_file, bench).unwrap();
    fs::write(&events_file, events).unwrap();
    let finished = launch.with([bench_file, events_file]).with(more).finish();
    let lines = finished.log.lines();
    let answer = serde_json::from_str(&lines[0]).unwrap();
    (finished.code.unwrap(), answer)
}

fn count(answer: &Value, class: &str) -> u64 {
    answer[class]["count"].as_u64().unwrap()
}

/// Keeps clients busy; returns the threads, each of which counts its failures.
fn busy(load: &Arc<Load>, address: SocketAddr) -> Vec<thread::JoinHandle<usize>> {
    let client = |_| {
        let load = load.clone();
        thread::spawn(move || {
            let asked = (0..REQUESTS / CLIENTS).map(|_| load.get(address, "/"));
            asked.filter(Result::is_err).count()
        })
    };
    (0..CLIENTS).map(client).collect()
}

#[test]
fn a_load_during_which_workers_die_is_proven_to_have_lost_nothing() {
    let cluster = Recorded::start(2);
    let (load, address) = (Arc::new(Load::default()), cluster.address());
    // One stands still, so that what it was handed is certain to come back when it dies.
    let stopped = cluster.pid(1);
    processes::freeze(stopped);
    let clients = busy(&load, address);
    let window = maitred::WINDOW as usize;
    wait_until("as many answers as there can be meanwhile", || {
        cluster.wait("acked", 1).len() >= REQUESTS / 4
    });
    processes::signal(stopped, Signal::KILL);
    let failed: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    assert_eq!(failed, 0, "what it had not acked others serve");
    assert!(cluster.wait("requeued", 1).len() <= window);
    // And one dies of the very request that it has acked.
    cluster.wait("listening", 3);
    load.get(address, "/throw").unwrap_err();

    let (bench, events) = cluster.end(&load);
    let wanted = (REQUESTS + 1).to_string();
    let (code, answer) = check(&bench, &events, &["--min-connections", &wanted]);
    assert_eq!((code, &answer["verdict"]), (0, &"pass".into()), "{answer}");
    assert_eq!(answer["accepted"].as_u64(), Some(REQUESTS as u64 + 1));
    assert_eq!(answer["strangers"].as_u64(), Some(0));
    assert_eq!(count(&answer, "worker_died"), 1, "{answer}");
    assert_eq!(count(&answer, "never_acked"), 0, "{answer}");
}

#[test]
fn the_same_load_is_no_proof_without_its_reasons() {
    let cluster = Recorded::start(2);
    let (load, address) = (Load::default(), cluster.address());
    load.get(address, "/").unwrap();
    load.get(address, "/throw").unwrap_err();
    cluster.wait("exit", 1);
    let (bench, events) = cluster.end(&load);
    let without = |wrong: fn(&str) -> bool| {
        let lines = events.lines().filter(|line| !wrong(line));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let (code, answer) = check(&bench, &events, &[]);
    assert_eq!((code, &answer["verdict"]), (0, &"pass".into()), "{answer}");

    // Nobody died: then a request was lost for no reason.
    let (code, answer) = check(&bench, &without(|line| line.contains("\"exit\"")), &[]);
    assert_eq!((code, &answer["verdict"]), (1, &"fail".into()), "{answer}");
    assert_eq!(count(&answer, "other"), 1);

    // Nobody acked.
    let (code, answer) = check(&bench, &without(|line| line.contains("\"acked\"")), &[]);
    assert_eq!((code, &answer["verdict"]), (1, &"fail".into()), "{answer}");
    assert_eq!(count(&answer, "never_acked"), 1);

    for (events, more) in [
        (without(|line| line.contains("\"end\"")), &[][..]),
        (without(|line| line.contains("\"connection\"")), &[]),
        (events.clone(), &["--min-connections", "3"]),
    ] {
        let (code, answer) = check(&bench, &events, more);
        assert_eq!(
            (code, &answer["verdict"]),
            (1, &"inconclusive".into()),
            "{answer}"
        );
    }
}

/// What a client that thinks may meet by bad luck happens here at every second request: its
/// server closes the connection as idle when the request is on its way.
#[test]
fn requests_that_meet_the_close_of_an_idle_connection_are_told_apart() {
    let cluster = Launch::run([program("test_worker")])
        .with(["-i", "1", "--", "hasty:127.0.0.1:0"])
        .recorded()
        .ready();
    let load = ["-c", "4", "-a", "40", "--think-max", "10ms"];
    let record = cluster.bench("/", &load).finish();
    let master = cluster.end();
    // Every client may have had but one answer on its last connection.
    let found = record.assert_nothing_lost(&master, 20);
    let reused = count(&found, "idle_reuse");
    assert!((18..=20).contains(&reused), "{found:#}");
    assert_eq!(number(&found, "failed"), reused, "{found:#}");
    let totals = &record.figures["totals"];
    assert_eq!(number(totals, "ok"), 40 - reused, "{totals:#}");
    assert_eq!(number(totals, "closed_idle"), 0, "{totals:#}");
}
