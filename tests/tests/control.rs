//! Commands to a running master, from other processes: what they do, and what nobody may.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use maitred_tests::harness::client::get;
use maitred_tests::harness::{
    DEADLINE, Launch, Progress, TestCluster, is_long, processes, program, short_or_long, tell,
    wait_until, wait_within,
};
use rustix::process::Signal;
use serde_json::Value;

/// The clients that the master serves at once.
const CLIENTS_MAX: usize = 64;

/// Runs a command that must succeed, and returns its answer.
fn answer(cluster: &TestCluster, arguments: &[&str]) -> Value {
    let finished = cluster.command(&[arguments, &["--json"]].concat());
    assert_eq!(
        finished.code,
        Some(0),
        "{arguments:?}: {}",
        finished.log.story()
    );
    serde_json::from_str(&finished.log.lines()[0]).unwrap()
}

/// Runs a command that must fail so, and returns what it said.
fn refusal(cluster: &TestCluster, arguments: &[&str], code: i32) -> String {
    let finished = cluster.command(arguments);
    assert_eq!(
        finished.code,
        Some(code),
        "{arguments:?}: {}",
        finished.log.story()
    );
    let lines = finished.log.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

#[test]
fn commands_list_scale_and_end_a_running_master() {
    let cluster = TestCluster::demo(2);
    get(cluster.address(), "/").unwrap();
    let rows = answer(&cluster, &["ls"])["workers"].clone();
    let living = cluster.workers();
    assert_eq!(rows.as_array().unwrap().len(), living.len());
    for (slot, (row, (worker, pid))) in rows.as_array().unwrap().iter().zip(&living).enumerate() {
        assert_eq!((&row["slot"], &row["name"]), (&slot.into(), &"demo".into()));
        assert_eq!(
            (&row["worker"], &row["pid"]),
            (&worker.0.into(), &(*pid).into())
        );
        assert_eq!(
            (&row["state"], &row["restarts"]),
            (&"listening".into(), &0.into())
        );
        assert!(row["memory_bytes"].as_u64() > Some(0), "{row}");
        // What only Node workers have is there, and empty.
        for figure in ["loop_delay_micros", "heap_bytes"] {
            assert_eq!(row.get(figure), Some(&Value::Null), "{row}");
        }
    }
    let taken: u64 = rows
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["taken"].as_u64())
        .sum();
    assert_eq!(taken, 1);

    assert_eq!(answer(&cluster, &["scale", "+2"])["scaled"][0]["to"], 4);
    cluster.wait_for_workers(4);
    assert_eq!(
        answer(&cluster, &["scale", "demo", "-3"])["scaled"][0]["to"],
        1
    );
    cluster.wait_for_workers(1);
    assert!(refusal(&cluster, &["scale", "all", "-1"], 2).contains("stop the app"));

    let pong = answer(&cluster, &["ping"]);
    assert_eq!(pong["pid"], cluster.pid());
    let killed = cluster.command(&["kill"]);
    assert_eq!(killed.code, Some(0), "{}", killed.log.story());
    // The command has waited for the end: nobody has to poll before the next start.
    assert!(refusal(&cluster, &["ping"], 4).contains("maitred run"));
    assert_eq!(cluster.finish().code, Some(0));
}

#[test]
fn what_is_not_there_has_an_exit_code_of_its_own() {
    let cluster = TestCluster::demo(1);
    assert!(refusal(&cluster, &["restart", "shop"], 3).contains("only demo"));
    assert!(refusal(&cluster, &["reset", "7"], 3).contains("slot 7"));
    assert!(refusal(&cluster, &["ls", "shop"], 3).contains("shop"));
    assert!(refusal(&cluster, &["ls", "a b"], 2).contains("A-Z"));
    assert!(refusal(&cluster, &["scale", "none"], 2).contains("1 to 1024"));
    cluster.stop();
}

#[test]
fn a_second_master_is_refused_and_the_first_serves_on() {
    let cluster = TestCluster::demo(1);
    let began = Instant::now();
    let said = refusal(&cluster, &["run", "--listen", "127.0.0.1:0"], 2);
    let took = began.elapsed();
    tell(&format!("it was refused after {took:?}"));
    assert!(!is_long() || took <= Duration::from_secs(1), "{took:?}");
    assert!(said.contains(&format!("(pid {})", cluster.pid())), "{said}");
    assert!(said.contains("MAITRED_HOME="), "{said}");
    get(cluster.address(), "/").unwrap();
    assert_eq!(answer(&cluster, &["ping"])["pid"], cluster.pid());
    cluster.stop();
}

#[test]
fn after_a_killed_master_the_next_can_start_at_once() {
    let times = short_or_long(2, 20);
    let mut progress = Progress::of("masters killed", times);
    for number in 0..times {
        kill_and_start_the_next(number % 2 == 1);
        progress.step();
    }
}

/// Kills a master, idle or under load, and starts another one in its place.
fn kill_and_start_the_next(is_busy: bool) {
    let left_within = short_or_long(DEADLINE, Duration::from_secs(1));
    let cluster = TestCluster::demo(2);
    let load = ["-c", "16", "--close", "-d", "1h", "-t", "1s"];
    let load = is_busy.then(|| cluster.bench("/", &load));
    cluster.signal(Signal::KILL);
    let killed = Instant::now();
    // Its workers may still be serving what they held.
    let arguments = [
        "run",
        "--events",
        "json",
        "--listen",
        "127.0.0.1:0",
        "-i",
        "1",
    ];
    wait_until("the killed master is gone", || {
        UnixStream::connect(cluster.home().join("state/master.sock")).is_err()
    });
    let next = cluster.maitred(&arguments).ready();
    assert_eq!(answer(&cluster, &["ping"])["pid"], next.pid());
    wait_within(left_within, "the end of all its workers", || {
        let left = processes::of(cluster.home());
        left.is_empty().then_some(())
    });
    tell(&format!(
        "no worker is left, at the latest after {:?}",
        killed.elapsed()
    ));
    drop(load);
    assert_eq!(cluster.finish().code, None);
    next.stop();
}

#[test]
fn without_a_terminal_signals_scale() {
    let cluster = Launch::demo(1).through(["setsid"]).ready();
    cluster.signal(Signal::TTIN);
    cluster.wait_for_workers(2);
    cluster.signal(Signal::TTOU);
    cluster.wait_for_workers(1);
    // There is always one left.
    cluster.signal(Signal::TTOU);
    wait_until("the refusal", || {
        cluster
            .log()
            .lines()
            .iter()
            .any(|line| line.contains("would make 0"))
    });
    cluster.stop();
}

#[test]
fn a_list_is_there_nearly_as_soon_as_the_version_also_among_stalled_clients() {
    let cluster = TestCluster::demo(2);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| stall(&cluster, &is_done));
        // On a machine that does other things, too, one of three is as it would be alone; and
        // where the version itself takes long, the list may: it needs the master to have its turn
        // as well, beside clients that stall and, in the short form, without optimisation.
        let slowly = short_or_long(4, 1);
        let attempts: Vec<_> = (0..3).map(|_| median_excess(&cluster)).collect();
        is_done.store(true, Ordering::Relaxed);
        let kept = |(version, excess): &(Duration, Duration)| {
            *excess <= Duration::from_millis(10).max(*version * slowly)
        };
        assert!(attempts.iter().any(kept), "{attempts:?}");
    });
    cluster.stop();
}

/// Takes all places of the master, again and again, for clients that never end their request.
fn stall(cluster: &TestCluster, is_done: &AtomicBool) {
    let socket = cluster.home().join("state/master.sock");
    let mut stalled = std::collections::VecDeque::new();
    while !is_done.load(Ordering::Relaxed) {
        stalled.push_back(UnixStream::connect(&socket).unwrap());
        if stalled.len() > CLIENTS_MAX {
            stalled.pop_front();
            // As many as there are places each second or so, as the master sends them away.
            thread::park_timeout(Duration::from_millis(15));
        }
    }
}

/// Returns how long `--version` takes, and how much longer `ls`, each as the median of many runs.
fn median_excess(cluster: &TestCluster) -> (Duration, Duration) {
    let (mut version, mut list) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        version.push(time(cluster, "--version"));
        list.push(time(cluster, "ls"));
    }
    version.sort_unstable();
    list.sort_unstable();
    (version[50], list[50].saturating_sub(version[50]))
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is timed is the program and nothing else"
)]
fn time(cluster: &TestCluster, argument: &str) -> Duration {
    let mut command = Command::new(program("maitred"));
    command
        .arg(argument)
        .env("MAITRED_HOME", cluster.home().join("state"))
        .stdout(Stdio::null());
    let began = Instant::now();
    let status = command.status().unwrap();
    let took = began.elapsed();
    assert!(status.success(), "{argument}: {status}");
    took
}

#[test]
fn stalled_clients_change_nothing_about_how_long_requests_take() {
    let cluster = TestCluster::demo(2);
    // On a machine that does other things, too, one of three is as it would be alone.
    let attempts: Vec<[f64; 2]> = (0..3).map(|_| least_medians(&cluster)).collect();
    let is_as_before = |[alone, beside]: &[f64; 2]| *beside <= alone * MEASURABLE;
    assert!(attempts.iter().any(is_as_before), "{attempts:?}");
    cluster.stop();
}

/// How much two short runs of the same load differ in their medians, at the least.
const MEASURABLE: f64 = 1.1;

/// Returns the least median of how long requests take: without stalled clients on the control
/// socket, and with as many as there are places. The runs take turns, so that what else the
/// machine does strikes both.
fn least_medians(cluster: &TestCluster) -> [f64; 2] {
    let mut least = [f64::INFINITY; 2];
    for _ in 0..4 {
        least[0] = least[0].min(median_latency(cluster));
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| stall(cluster, &is_done));
            least[1] = least[1].min(median_latency(cluster));
            is_done.store(true, Ordering::Relaxed);
        });
    }
    least
}

/// Returns the median latency of a short load, in milliseconds.
fn median_latency(cluster: &TestCluster) -> f64 {
    let (url, file) = (
        format!("http://{}/", cluster.address()),
        cluster.home().join("figures"),
    );
    let load = ["bench", "-c", "4", "--close", "-a", "1000", "--json"];
    let load = cluster
        .maitred(&load)
        .with([file.as_os_str(), url.as_ref()]);
    let finished = load.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
    let figures: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    figures["latency_ms"]["p50"].as_f64().unwrap()
}
