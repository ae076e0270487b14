//! Node programs under a cluster that a Rust program owns.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use maitred::WorkerId;
use maitred_tests::harness::client::Client;
use maitred_tests::harness::{LibraryCluster, Log, number, text, wait_until, worker};
use serde_json::{Value, json};

/// Long enough not to fit into any socket's buffer, in bytes.
const LONG: usize = 800_000;

/// Sends back what it is sent, as `{"echo": …}`, and a message for each connection.
const PROGRAM: &str = "messages.js";

fn address(cluster: &LibraryCluster) -> SocketAddr {
    let listening = cluster.log().wait("listening", |_| true);
    text(&listening, "address").parse().unwrap()
}

/// Asks on one connection after the other until it is told to end, and returns who answered
/// on which port.
fn ask_on(address: SocketAddr, least: usize, is_done: &AtomicBool) -> Vec<(u64, WorkerId)> {
    let mut answers = Vec::new();
    while answers.len() < least || !is_done.load(Ordering::Relaxed) {
        let mut client = Client::connect(address).unwrap();
        let port = client.port().unwrap();
        client.ask("/", "close").unwrap();
        answers.push((port.into(), client.answer().unwrap().worker()));
    }
    answers
}

/// Returns who acked, by the client's port, as the master saw it.
fn acked(log: &Log) -> BTreeMap<u64, WorkerId> {
    let acked = log.steps("acked");
    let acked: BTreeMap<u64, WorkerId> = acked
        .iter()
        .map(|step| (number(step, "connection"), worker(step)))
        .collect();
    let accepted = log.steps("accepted");
    accepted
        .iter()
        .map(|step| {
            let connection = number(step, "connection");
            (number(step, "peer_port"), acked[&connection])
        })
        .collect()
}

fn echoes(log: &Log) -> Vec<(WorkerId, Value)> {
    let messages = log.named("message");
    let echoes = messages.iter().filter_map(|event| {
        let echo = event["message"].get("echo")?;
        Some((worker(event), echo.clone()))
    });
    echoes.collect()
}

#[test]
fn long_messages_pass_both_ways_while_connections_are_handed_over() {
    const TURNS: usize = 20;
    const CLIENTS: usize = 4;
    let cluster = LibraryCluster::start();
    let workers = [(); 2].map(|()| cluster.fork_node(PROGRAM));
    cluster.log().wait_count("listening", workers.len());
    let address = address(&cluster);
    let is_done = AtomicBool::new(false);
    let long = "x".repeat(LONG);
    let answers: Vec<(u64, WorkerId)> = thread::scope(|scope| {
        let clients = [(); CLIENTS].map(|()| scope.spawn(|| ask_on(address, TURNS, &is_done)));
        for turn in 0..TURNS {
            for worker in &workers {
                let message = json!({ "to": worker.id().0, "turn": turn, "text": long });
                cluster.wait(worker.send(&message)).unwrap();
            }
        }
        wait_until("all echoes", || {
            echoes(cluster.log()).len() == workers.len() * TURNS
        });
        is_done.store(true, Ordering::Relaxed);
        let answers = clients.map(|client| client.join().unwrap());
        answers.concat()
    });
    for worker in &workers {
        let echoes = echoes(cluster.log());
        let own = echoes.iter().filter(|(from, _)| *from == worker.id());
        let own: Vec<&Value> = own.map(|(_, echo)| echo).collect();
        let expected = |turn| json!({ "to": worker.id().0, "turn": turn, "text": long });
        assert_eq!(own.len(), TURNS);
        assert!((0..TURNS).all(|turn| *own[turn] == expected(turn)));
    }
    let log = cluster.log().clone();
    cluster.stop();
    let acked = acked(&log);
    assert!(answers.len() >= CLIENTS * TURNS);
    for (port, worker) in answers {
        assert_eq!(acked[&port], worker, "the answer on port {port}");
    }
}
