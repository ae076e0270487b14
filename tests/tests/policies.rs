//! Every policy from end to end, with Rust workers and with Node's, and changes among them.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use maitred::WorkerId;
use maitred_tests::harness::client::{Client, get, per_worker};
use maitred_tests::harness::elsewhere::{exchange, get_from, resident};
use maitred_tests::harness::{Launch, TestCluster, processes, wait_until};
use rustix::process::Signal;
use serde_json::Value;

const CLIENTS: u8 = 40;

fn with_policy(workers: usize, policy: &str) -> TestCluster {
    Launch::demo(workers).with(["--policy", policy]).ready()
}

/// Returns the answer of a command as JSON.
fn ask(cluster: &TestCluster, arguments: &[&str]) -> Value {
    let answered = cluster.command(arguments);
    assert_eq!(answered.code, Some(0), "{}", answered.log.story());
    serde_json::from_str(&answered.log.lines()[0]).unwrap()
}

fn rows(cluster: &TestCluster) -> Vec<Value> {
    ask(cluster, &["ls", "--json"])["workers"]
        .as_array()
        .unwrap()
        .clone()
}

/// Returns the slot of each worker that listens.
fn slots(cluster: &TestCluster) -> BTreeMap<WorkerId, u64> {
    let number = |row: &Value, field: &str| row[field].as_u64().unwrap();
    let rows = rows(cluster).into_iter();
    rows.filter(|row| row["state"] == "listening")
        .map(|row| {
            let worker = WorkerId(u32::try_from(number(&row, "worker")).unwrap());
            (worker, number(&row, "slot"))
        })
        .collect()
}

/// Waits until a worker, named by one of its numbers, has told that so many connections are open.
fn wait_for_report(cluster: &TestCluster, field: &str, number: u64, open: u64) {
    let told = |row: &Value| row[field] == number && row["open"] == open;
    wait_until("a worker's report", || rows(cluster).iter().any(told));
}

/// Connects, asks once, and keeps the connection; returns who has it.
fn stay(address: SocketAddr) -> (WorkerId, Client) {
    let mut client = Client::connect(address).unwrap();
    (client.get("/whoami").unwrap().worker(), client)
}

fn counts(guests: &[(WorkerId, Client)]) -> BTreeMap<WorkerId, usize> {
    let mut counts = BTreeMap::new();
    for (worker, _) in guests {
        *counts.entry(*worker).or_default() += 1;
    }
    counts
}

/// Asks once from each of many addresses; returns the slot that answered each.
fn homes(cluster: &TestCluster) -> Vec<u64> {
    let slots = slots(cluster);
    let from = |number| get_from(resident(number), cluster.address(), "/whoami").unwrap();
    (0..CLIENTS)
        .map(|number| slots[&from(number).worker()])
        .collect()
}

/// Ends a cluster that has not as many workers as at its start.
fn kill(cluster: TestCluster) {
    cluster.obey(&["kill"]);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.log.story());
}

#[test]
fn under_least_connections_whoever_lost_clients_gets_the_next() {
    let cluster = with_policy(3, "least-connections");
    let mut guests: Vec<_> = (0..9).map(|_| stay(cluster.address())).collect();
    assert_eq!(counts(&guests).into_values().collect::<Vec<_>>(), [3, 3, 3]);

    let (left, _) = guests[0];
    wait_for_report(&cluster, "worker", left.0.into(), 3);
    guests.retain(|(worker, _)| *worker != left);
    wait_for_report(&cluster, "worker", left.0.into(), 0);
    // By turns each would get one of these.
    let next: Vec<_> = (0..3).map(|_| stay(cluster.address())).collect();
    assert_eq!(counts(&next), [(left, 3)].into());
    let last: Vec<_> = (0..3).map(|_| stay(cluster.address())).collect();
    assert_eq!(counts(&last).into_values().collect::<Vec<_>>(), [1, 1, 1]);
    drop((guests, next, last));
    cluster.stop();
}

#[test]
fn under_sticky_a_client_stays_and_only_a_dead_workers_clients_move() {
    let cluster = with_policy(4, "sticky");
    let before = homes(&cluster);
    let homes_had = before.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(homes_had.len(), 4, "{before:?}");
    assert_eq!(homes(&cluster), before, "each of them stays");

    let (&victim, &slot) = slots(&cluster).iter().next().unwrap();
    processes::signal(cluster.workers()[&victim], Signal::KILL);
    cluster
        .log()
        .wait("exit", |event| event["worker"] == victim.0);
    cluster.wait_for_workers(4);
    let successor = slots(&cluster)
        .into_iter()
        .find(|(_, other)| *other == slot);
    assert_ne!(successor.unwrap().0, victim);
    assert_eq!(
        homes(&cluster),
        before,
        "the successor has the slot's clients, and no others"
    );

    cluster.obey(&["scale", "+1"]);
    cluster.wait_for_workers(5);
    let after = homes(&cluster);
    let moved = before.iter().zip(&after).filter(|(old, new)| old != new);
    let moved: Vec<_> = moved.map(|(_, new)| *new).collect();
    assert!(moved.iter().all(|new| *new == 4), "{before:?} {after:?}");
    assert!(
        !moved.is_empty() && moved.len() < usize::from(CLIENTS) / 2,
        "{moved:?}"
    );
    kill(cluster);
}

#[test]
fn under_sticky_a_reload_keeps_every_client_in_its_slot() {
    let cluster = with_policy(3, "sticky");
    let before = homes(&cluster);
    cluster.obey(&["reload"]);
    assert_eq!(homes(&cluster), before);
    cluster.stop();
}

/// A worker that stands still: its own client waits, and nobody else does.
#[test]
fn under_sticky_a_full_worker_stops_no_other() {
    let cluster = Launch::demo(2)
        .with(["--policy", "sticky", "--window", "1", "--ack-timeout", "0"])
        .ready();
    let home = |number| {
        get_from(resident(number), cluster.address(), "/whoami")
            .unwrap()
            .worker()
    };
    let homes: BTreeMap<u8, WorkerId> = (0..CLIENTS).map(|number| (number, home(number))).collect();
    let victim = homes[&0];
    let pid = cluster.workers()[&victim];
    processes::freeze(pid);
    thread::scope(|scope| {
        let address = cluster.address();
        let waiting = |number| {
            scope.spawn(move || {
                get_from(resident(number), address, "/whoami")
                    .unwrap()
                    .worker()
            })
        };
        // One is in flight, the others wait in the master: more than any kernel's wake-up.
        let waiting: Vec<_> = [0; 5].map(waiting).into();
        for (number, worker) in homes.iter().filter(|(_, worker)| **worker != victim) {
            assert_eq!(home(*number), *worker);
        }
        assert!(waiting.iter().all(|waits| !waits.is_finished()));
        processes::signal(pid, Signal::CONT);
        let served = waiting.into_iter().map(|waits| waits.join().unwrap());
        assert_eq!(
            served.collect::<BTreeSet<_>>(),
            [victim].into(),
            "they waited for their own"
        );
    });
    cluster.stop();
}

#[test]
fn under_weighted_a_slot_and_its_successors_have_their_share() {
    // With so much room that nobody is ever passed over: a client may have its answer, and come
    // again, before the master has read the ack.
    let cluster = Launch::demo(2)
        .with(["--policy", "weighted", "--window", "64"])
        .ready();
    let shares = |connections: u32| {
        let answers: Vec<_> = (0..connections)
            .map(|_| get(cluster.address(), "/whoami").unwrap())
            .collect();
        let slots = slots(&cluster);
        let by_slot: BTreeMap<u64, usize> = per_worker(&answers)
            .into_iter()
            .map(|(worker, count)| (slots[&worker], count))
            .collect();
        by_slot
    };
    assert_eq!(shares(40), [(0, 20), (1, 20)].into());
    let weighed = ask(&cluster, &["weigh", "1", "3", "--json"]);
    assert_eq!((&weighed["from"], &weighed["to"]), (&1.into(), &3.into()));
    assert_eq!(shares(40), [(0, 10), (1, 30)].into());
    cluster.obey(&["restart", "1"]);
    assert_eq!(shares(40), [(0, 10), (1, 30)].into());
    cluster.obey(&["weigh", "0", "0"]);
    assert_eq!(shares(40), [(1, 40)].into());
    cluster.assert_refused(&["weigh", "7", "2"], 3, "slot 7");
    cluster.assert_refused(&["weigh", "1", "1000001"], 2, "1000000");
    cluster.stop();
}

/// Whatever the policy becomes, and however often: every request is answered, and a replay of
/// the record proves each handoff.
#[test]
fn the_policy_can_change_under_load_and_each_handoff_is_as_it_should_be() {
    let launch = Launch::demo(3);
    let record = launch.home().join("record");
    let cluster = launch
        .with(["--trace".as_ref(), record.as_os_str()])
        .ready();
    let (address, stop) = (cluster.address(), AtomicBool::new(false));
    let asked: usize = thread::scope(|scope| {
        let client = |number: u8| {
            let stop = &stop;
            scope.spawn(move || {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    let answer = get_from(resident(number), address, "/whoami").unwrap();
                    assert_eq!(answer.status, 200);
                    count += 1;
                }
                count
            })
        };
        let clients: Vec<_> = (0..8).map(client).collect();
        for _ in 0..3 {
            for policy in ["sticky", "weighted", "least-connections", "rr"] {
                let changed = ask(&cluster, &["policy", policy, "--json"]);
                assert_eq!(changed["policies"][0]["to"], policy);
                let listed = ask(&cluster, &["ls", "--json"]);
                assert_eq!(listed["apps"][0]["policy"], policy);
            }
        }
        stop.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert_eq!(cluster.log().named("policy_changed").len(), 12);
    let finished = cluster.end();
    let replay = Launch::new(["replay".as_ref(), "--json".as_ref(), record.as_os_str()]).finish();
    assert_eq!(replay.code, Some(0), "{}", replay.log.story());
    let verdict: Value = serde_json::from_str(&replay.log.lines()[0]).unwrap();
    assert_eq!(
        (&verdict["accepted"], &verdict["released"]),
        (&asked.into(), &asked.into())
    );
    drop(finished);
}

#[test]
fn a_policy_that_cannot_be_is_refused_and_changes_nothing() {
    let cluster = Launch::demo(1).ready();
    cluster.assert_refused(&["policy", "shared"], 2, "under `rr` the master accepts");
    cluster.assert_refused(&["policy", "best"], 2, "`sticky`");
    cluster.assert_refused(&["policy", "shop", "rr"], 3, "demo");
    cluster.assert_refused(&["policy", "0", "rr"], 2, "its app, demo");
    assert_eq!(ask(&cluster, &["ls", "--json"])["apps"][0]["policy"], "rr");
    cluster.stop();
    let shared = with_policy(1, "shared");
    shared.assert_refused(&["policy", "rr"], 2, "workers accept for themselves");
    shared.stop();
}

#[test]
fn least_connections_is_refused_for_workers_that_cannot_report() {
    let policy = ["--policy", "least-connections"];
    let node = Launch::node("cluster.js", 1)
        .with(["--no-preload"])
        .with(policy)
        .finish();
    assert_eq!(node.code, Some(2), "{}", node.log.story());
    assert!(node.log.story().contains("preload"), "{}", node.log.story());
    let plain = [
        "run", "--events", "json", "-i", "1", "--ipc", "none", "/bin/cat",
    ];
    let plain = Launch::new(plain).with(policy).finish();
    assert_eq!(plain.code, Some(2), "{}", plain.log.story());
    assert!(
        plain.log.story().contains("--ipc none"),
        "{}",
        plain.log.story()
    );

    let cluster = Launch::node("polling.js", 1).with(["--no-preload"]).ready();
    cluster.assert_refused(&["policy", "least-connections"], 2, "preload");
    cluster.obey(&["policy", "sticky"]);
    cluster.stop();
}

/// Begins a session of socket.io by long polling, and goes on with it; returns who greets.
fn poll(address: SocketAddr, number: u8) -> Result<String, String> {
    let path = "/socket.io/?EIO=4&transport=polling";
    let ask = |path: &str, body: Option<&str>| {
        let (status, text) = exchange(resident(number), address, path, body).unwrap();
        if status == 200 { Ok(text) } else { Err(text) }
    };
    let opened = ask(path, None)?;
    let opened: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
    let session = format!("{path}&sid={}", opened["sid"].as_str().unwrap());
    ask(&session, Some("40"))?;
    // The answer to the wish to connect, and with it or behind it the greeting.
    let mut heard = ask(&session, None)?;
    while !heard.contains("greeting") {
        heard += &ask(&session, None)?;
    }
    Ok(heard
        .split("greeting\",")
        .nth(1)
        .unwrap()
        .trim_end_matches(']')
        .to_owned())
}

#[test]
fn under_sticky_socket_io_can_poll_with_several_node_workers() {
    let cluster = Launch::node("polling.js", 3)
        .with(["--policy", "sticky"])
        .ready();
    let greeted = (0..CLIENTS / 2).map(|number| poll(cluster.address(), number).unwrap());
    let pids: BTreeSet<String> = greeted.collect();
    assert_eq!(pids.len(), 3, "all workers have clients");
    // The same by turns: the second request comes to a worker that does not know the session.
    cluster.obey(&["policy", "rr"]);
    let refused = poll(cluster.address(), 0).unwrap_err();
    assert!(refused.contains("Session ID unknown"), "{refused}");
    cluster.stop();
}

#[test]
fn under_least_connections_node_workers_are_counted_too() {
    let cluster = Launch::node("polling.js", 2)
        .with(["--policy", "least-connections"])
        .ready();
    let stay = || {
        let mut client = Client::connect(cluster.address()).unwrap();
        let pid = client.get("/").unwrap().text().to_owned();
        (pid, client)
    };
    let mut guests: Vec<_> = (0..6).map(|_| stay()).collect();
    let left = guests[0].0.clone();
    let pid = left.parse().unwrap();
    wait_for_report(&cluster, "pid", pid, 3);
    guests.retain(|(pid, _)| *pid != left);
    assert_eq!(guests.len(), 3, "half of them");
    wait_for_report(&cluster, "pid", pid, 0);
    let next: Vec<_> = (0..3).map(|_| stay()).collect();
    assert!(next.iter().all(|(pid, _)| *pid == left));
    drop((guests, next));
    cluster.stop();
}
