//! Policy `kernel`: the kernel itself takes the turns, and what it leaves nobody loses.
//!
//! Where this process may load no program, each test asserts the refusal instead, and says so.
//! Loads are in `kernel_faults.rs`.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use maitred::WorkerId;
use maitred_tests::harness::client::{Client, get, per_worker};
use maitred_tests::harness::{
    Beat, Changing, KERNEL, Launch, TestCluster, assert_refused, kernel, processes, program,
    short_or_long,
};
use rustix::process::Signal;

/// Neither of the two signs of a hang is looked for.
const PATIENT: [&str; 4] = ["--ack-timeout", "0", "--heartbeat-timeout", "0"];

/// Connections that wait in a worker's queue.
const QUEUED: usize = 6;

/// Starts a program as one that must not load programs into the kernel, whoever it runs as.
fn without_capability(launch: Launch) -> Launch {
    match rustix::process::geteuid().is_root() {
        true => launch.through(["setpriv", "--bounding-set=-bpf,-net_admin,-sys_admin"]),
        false => launch,
    }
}

fn ask(address: SocketAddr, times: usize) -> Vec<WorkerId> {
    let ask = |_| get(address, "/").unwrap().worker();
    (0..times).map(ask).collect()
}

fn counts(workers: &[WorkerId]) -> BTreeMap<WorkerId, usize> {
    let mut counts = BTreeMap::new();
    for worker in workers {
        *counts.entry(*worker).or_default() += 1;
    }
    counts
}

/// Asserts that these came in turn, each of so many workers as often as the others.
fn assert_rotation(order: &[WorkerId], workers: usize) {
    let counts = counts(order);
    let (least, most) = (counts.values().min(), counts.values().max());
    assert_eq!(counts.len(), workers, "{counts:?}");
    assert!(most <= least.map(|least| least + 1).as_ref(), "{counts:?}");
    let repeats = order
        .iter()
        .zip(&order[workers..])
        .all(|(one, next)| one == next);
    assert!(repeats, "{order:?}");
}

/// Ends a cluster, and returns how many connections its master has accepted.
fn accepted(cluster: TestCluster) -> usize {
    cluster.end().log.steps("accepted").len()
}

/// Returns a client that waits for its answer.
fn asking(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).unwrap();
    client.ask("/", "close").unwrap();
    client
}

/// Has one worker stand still, and clients wait in its queue; returns it with them.
fn frozen(cluster: &TestCluster) -> (WorkerId, Vec<Client>) {
    let (worker, pid) = cluster.workers().pop_first().unwrap();
    processes::freeze(pid);
    let workers = cluster.workers().len();
    // Turns are taken one after the other, so as many as there are workers hit it once.
    let clients = (0..QUEUED * workers).map(|_| asking(cluster.address()));
    (worker, clients.collect())
}

/// Asserts that all are answered, and by others than this one.
fn assert_answered_without(worker: WorkerId, clients: Vec<Client>) {
    let answers = clients
        .into_iter()
        .map(|mut client| client.answer().unwrap());
    let answers: Vec<_> = answers.collect();
    assert!(!per_worker(&answers).contains_key(&worker));
}

#[test]
fn ten_thousand_connections_one_after_another_differ_by_one_at_most() {
    let Some(launch) = kernel(Launch::demo(3)) else {
        return;
    };
    let cluster = launch.ready();
    let order = ask(cluster.address(), short_or_long(1000, 10_000));
    assert_rotation(&order, 3);
    assert_eq!(accepted(cluster), 0);
}

#[test]
fn node_workers_take_turns_as_exactly() {
    let Some(launch) = kernel(Launch::node("plain.js", 3)) else {
        return;
    };
    let cluster = launch.ready();
    let order = ask(cluster.address(), short_or_long(300, 10_000));
    assert_rotation(&order, 3);
    assert_eq!(accepted(cluster), 0);
}

#[test]
fn a_port_on_every_address_is_spread_for_both_families() {
    let program = program("test_worker");
    let launch = Launch::run([program.as_os_str()]).with(["-i", "3"]);
    let Some(launch) = kernel(launch) else { return };
    let cluster = launch.with(["--", "any:0"]).ready();
    let port = cluster.address().port();
    for host in [[127, 0, 0, 1].into(), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        assert_rotation(&ask(SocketAddr::new(host, port), 12), 3);
    }
    assert_eq!(accepted(cluster), 0);
}

#[test]
fn what_cannot_be_spread_by_the_kernel_is_handed_over() {
    let program = program("test_worker");
    let launch = Launch::run([program.as_os_str()]).with(["-i", "2"]);
    let Some(launch) = kernel(launch) else { return };
    let path = launch.home().join("socket");
    let cluster = launch
        .with(["--".into(), format!("unix:{}", path.display())])
        .ready();
    let ask = |_| {
        let mut client = Client::over(UnixStream::connect(&path).unwrap());
        client.ask("/", "close").unwrap();
        client.answer().unwrap().worker()
    };
    let order: Vec<_> = (0..10).map(ask).collect();
    assert_rotation(&order, 2);
    assert_eq!(accepted(cluster), 10);
}

#[test]
fn who_asks_at_the_same_time_is_spread_as_evenly() {
    let Some(launch) = kernel(Launch::demo(4)) else {
        return;
    };
    let cluster = launch.ready();
    let address = cluster.address();
    let clients: Vec<_> = (0..16)
        .map(|_| std::thread::spawn(move || ask(address, 50)))
        .collect();
    let order: Vec<_> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    let counts = counts(&order);
    assert!(counts.values().all(|count| *count == 200), "{counts:?}");
    cluster.stop();
}

#[test]
fn what_waits_for_a_worker_that_is_killed_the_others_answer() {
    for launch in [Launch::demo(3), Launch::node("plain.js", 3)] {
        let Some(launch) = kernel(launch.with(PATIENT)) else {
            return;
        };
        let cluster = launch.ready();
        let (worker, clients) = frozen(&cluster);
        processes::signal(cluster.workers()[&worker], Signal::KILL);
        assert_answered_without(worker, clients);
        cluster.log().wait_count("listening", 4);
        assert_rotation(&ask(cluster.address(), 12), 3);
        // Those that waited for it, and nobody else's.
        assert_eq!(accepted(cluster), QUEUED);
    }
}

#[test]
fn a_worker_that_stands_still_is_found_by_what_waits_for_it() {
    let launch = Launch::demo(3).with(["--ack-timeout", "500ms", "--heartbeat-timeout", "0"]);
    let Some(launch) = kernel(launch) else { return };
    let cluster = launch.ready();
    let (worker, clients) = frozen(&cluster);
    assert_answered_without(worker, clients);
    let hung = cluster.log().wait("hung", |_| true);
    assert_eq!(
        (&hung["worker"], &hung["sign"]),
        (&worker.0.into(), &"stopped".into())
    );
    cluster.wait_for_workers(3);
    cluster.stop();
}

#[test]
fn a_worker_that_is_idle_is_left_alone() {
    let Some(launch) = kernel(Launch::demo(2).with(["--ack-timeout", "100ms"])) else {
        return;
    };
    let cluster = launch.ready();
    Beat::every(Duration::from_millis(500)).wait();
    assert_rotation(&ask(cluster.address(), 10), 2);
    assert!(cluster.log().named("hung").is_empty());
    cluster.stop();
}

#[test]
fn what_waits_for_a_worker_that_is_scaled_away_the_others_answer_before_it_is_gone() {
    let Some(launch) = kernel(Launch::demo(2).with(PATIENT)) else {
        return;
    };
    let cluster = launch.ready();
    cluster.obey(&["scale", "demo", "3"]);
    cluster.wait_for_workers(3);
    assert_rotation(&ask(cluster.address(), 12), 3);
    // The last slot is the one that goes.
    let (worker, pid) = cluster.workers().pop_last().unwrap();
    processes::freeze(pid);
    let clients: Vec<Client> = (0..12).map(|_| asking(cluster.address())).collect();
    let scaling = cluster.maitred(&["scale", "demo", "2"]).start();
    assert_answered_without(worker, clients);
    assert_eq!(processes::state(pid), Some('T'), "it had no part in it");
    assert_rotation(&ask(cluster.address(), 8), 2);
    processes::signal(pid, Signal::CONT);
    assert_eq!(scaling.finish().code, Some(0));
    // Its listener goes with it: there are as few descriptors at the end as with two workers.
    assert_eq!(accepted(cluster), 4);
}

#[test]
fn clients_wait_while_there_is_no_worker_at_all() {
    let changing = Changing::new();
    let launch = Launch::run([changing.path()]).with(["-i", "1"]);
    let Some(launch) = kernel(launch) else { return };
    let cluster = launch.with(["--", "tcp:127.0.0.1:0"]).ready();
    // The next one comes up when it is let.
    let (go, good) = (cluster.home().join("go"), program("test_worker"));
    let (go_there, good) = (go.display(), good.display());
    changing.become_script(&format!(
        "while [ ! -e '{go_there}' ]; do sleep 0.05; done; exec '{good}' \"$@\""
    ));
    let (first, pid) = cluster.workers().pop_first().unwrap();
    processes::signal(pid, Signal::KILL);
    cluster.log().wait("exit", |_| true);
    let clients: Vec<Client> = (0..QUEUED).map(|_| asking(cluster.address())).collect();
    std::fs::write(&go, "").unwrap();
    assert_answered_without(first, clients);
    assert_eq!(accepted(cluster), QUEUED, "they waited in the lobby");
}

#[test]
fn after_the_end_nobody_is_let_in() {
    let Some(launch) = kernel(Launch::demo(2)) else {
        return;
    };
    let cluster = launch.ready();
    let address = cluster.address();
    let mut slow = Client::connect(address).unwrap();
    slow.ask("/sleep?ms=500", "close").unwrap();
    cluster.signal(Signal::TERM);
    cluster.log().wait("server_closed", |_| true);
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(slow.answer().unwrap().status, 200);
    assert_eq!(cluster.finish().code, Some(0));
}

#[test]
fn without_the_capability_it_is_refused_before_anything_is_started() {
    let launch = without_capability(Launch::demo(1).with(KERNEL));
    assert_refused(launch, &["CAP_BPF", "CAP_NET_ADMIN"]);
}

#[test]
fn without_the_capability_the_next_policy_is_used_and_that_is_told() {
    let launch = Launch::demo(2).with(["--policy", "kernel,rr"]);
    let cluster = without_capability(launch).ready();
    assert_rotation(&ask(cluster.address(), 10), 2);
    let lines = cluster.log().lines();
    let told = lines
        .iter()
        .find(|line| line.contains("`rr` is used and not `kernel`"));
    assert!(
        told.is_some_and(|line| line.contains("CAP_BPF")),
        "{lines:?}"
    );
    assert_eq!(accepted(cluster), 10);
}
