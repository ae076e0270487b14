//! What Node's own side of a worker does when it meets this master instead of Node's: the
//! behaviours of Node's tests that a worker of another language has no part in.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use maitred::{Settings, Worker};
use maitred_tests::harness::client::{self, Client};
use maitred_tests::harness::{DEADLINE, Kind, LibraryCluster, address, wait_until};
use serde_json::{Value, json};

const ANY_PORT: &str = "tcp:127.0.0.1:0";

fn start() -> LibraryCluster {
    LibraryCluster::of(Kind::Node, |_| Settings::new())
}

/// Starts a worker with one wish; returns it with the address that it was granted.
fn fork(cluster: &LibraryCluster, wish: &str) -> (Worker, SocketAddr) {
    let (worker, outcomes) = cluster.fork_wishing(1, &[wish]).remove(0);
    (worker, address(&outcomes[0]))
}

fn close(cluster: &LibraryCluster, worker: &Worker, server: SocketAddr) {
    assert_eq!(cluster.ask(worker, &format!("close {server}")), true);
}

/// Asserts that a worker is none the worse for what it did, and lets it go.
fn leaves_in_peace(cluster: &LibraryCluster, worker: &Worker) {
    let standing = json!({ "connected": true, "exited_after_disconnect": false });
    assert_eq!(cluster.ask(worker, "standing"), standing);
    cluster.wait(worker.disconnect());
    cluster.exit_as(worker, Some(0), None, true);
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends something to an `echo` server, and gets it back.
fn echoes(mut stream: &TcpStream) {
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
}

/// Tells whether the worker's Node has `reusePort` and `dropMaxConnection`.
fn is_recent(cluster: &LibraryCluster, worker: &Worker) -> bool {
    let version = cluster.ask(worker, "node");
    let mut numbers = version.as_str().unwrap().split('.');
    let mut next = || numbers.next().unwrap().parse::<u32>().unwrap();
    let version = (next(), next());
    version >= (22, 12) && version != (23, 0)
}

#[test]
fn port_0_is_bound_and_closed_again_and_again() {
    const TURNS: usize = 10;
    let cluster = start();
    let workers = cluster.fork_wishing(2, &[]);
    for (worker, _) in &workers {
        for kind in ["udp", "tcp"] {
            let pairs = cluster.ask(worker, &format!("bind-again {kind} {TURNS}"));
            let pairs = pairs.as_array().unwrap();
            assert_eq!(pairs.len(), TURNS);
            assert!(pairs.iter().all(|pair| pair[0] != pair[1]), "{pairs:?}");
        }
        leaves_in_peace(&cluster, worker);
    }
    cluster.stop();
}

#[test]
fn udp_sockets_that_are_closed_while_they_bind_harm_nobody() {
    const TURNS: usize = 10;
    let cluster = start();
    let workers = cluster.fork_wishing(2, &[]);
    for (worker, _) in &workers {
        let closed = cluster.ask(worker, &format!("bind-in-haste {TURNS}"));
        assert_eq!(closed, 3 * TURNS);
        // Binding goes on as if nothing had been.
        let bound = cluster.ask(worker, "open udp:127.0.0.1:0");
        assert_ne!(address(&bound).port(), 0);
        leaves_in_peace(&cluster, worker);
    }
    cluster.stop();
}

#[test]
fn udp_sockets_that_nobody_bound_are_each_workers_own() {
    let cluster = start();
    let workers = cluster.fork_wishing(2, &[]);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    let order = format!("send-unbound {}", peer.local_addr().unwrap());
    for (worker, _) in &workers {
        let number = cluster.order(worker, &order);
        let mut datagram = [0; 16];
        let (length, from) = peer.recv_from(&mut datagram).unwrap();
        assert_eq!(&datagram[..length], b"hello");
        let text = format!("to {}", worker.id());
        peer.send_to(text.as_bytes(), from).unwrap();
        let told = cluster.message(worker, |message| message["number"] == number);
        let expected = json!({ "text": text, "port": from.port() });
        assert_eq!(told["answer"], expected);
    }
    assert!(cluster.log().named("server_opened").is_empty());
    drop(peer);
    cluster.stop();
}

#[test]
fn exclusive_servers_and_those_on_a_handle_are_each_workers_own() {
    let cluster = start();
    let wishes = [
        "tcp+exclusive:127.0.0.1:0",
        "handle:127.0.0.1:0",
        "udp+exclusive:127.0.0.1:0",
    ];
    let workers = cluster.fork_wishing(2, &wishes);
    let [one, other] = [0, 1].map(|place: usize| &workers[place].1);
    assert!(one.iter().zip(other).all(|(one, other)| one != other));
    for (worker, outcomes) in &workers {
        for outcome in &outcomes[..2] {
            let answer = client::get(address(outcome), "/").unwrap();
            assert_eq!(answer.worker(), worker.id(), "{outcome}");
        }
    }
    assert!(cluster.log().named("server_opened").is_empty());
    for (worker, _) in &workers {
        // Node closes what the master knows of; these keep the process alive.
        cluster.order(worker, "exit 0");
        cluster.exit(worker);
    }
    cluster.stop();
}

#[test]
fn the_master_hears_nothing_of_ports_that_are_reused() {
    let cluster = start();
    let wishes = ["tcp+reuse-port:127.0.0.1:0", "udp+reuse-port:127.0.0.1:0"];
    let (worker, outcomes) = cluster.fork_wishing(1, &wishes).remove(0);
    client::get(address(&outcomes[0]), "/").unwrap();
    // A Node that does not know the option leaves it unread.
    let asked = if is_recent(&cluster, &worker) { 0 } else { 2 };
    assert_eq!(cluster.log().named("server_opened").len(), asked);
    for outcome in &outcomes {
        close(&cluster, &worker, address(outcome));
    }
    leaves_in_peace(&cluster, &worker);
    cluster.stop();
}

/// Parks a connection with a worker that has room for one, and has another one beside it.
fn with_a_full_worker(options: &str, scene: impl Fn(&LibraryCluster, &Worker, SocketAddr)) {
    let cluster = start();
    let (full, server) = fork(&cluster, &format!("tcp+max=1{options}:127.0.0.1:0"));
    let mut parked = Client::connect(server).unwrap();
    assert_eq!(parked.get("/").unwrap().worker(), full.id());
    let (_, same) = fork(&cluster, &format!("tcp:{server}"));
    assert_eq!(same, server);
    scene(&cluster, &full, server);
    drop(parked);
    cluster.stop();
}

#[test]
fn a_worker_closes_the_connections_that_it_refuses() {
    with_a_full_worker("", |cluster, full, server| {
        let before = cluster.ask(full, "descriptors");
        for _ in 0..10 {
            let mut client = Client::connect(server).unwrap();
            client.ask("/", "close").unwrap();
            assert_ne!(client.answer().unwrap().worker(), full.id());
            // If anybody kept a copy, this would not come to an end.
            assert!(client.rest().unwrap().is_empty());
        }
        assert_eq!(cluster.ask(full, "descriptors"), before);
    });
}

#[test]
fn a_worker_that_drops_what_is_too_much_does_not_give_it_back() {
    with_a_full_worker("+drop", |cluster, full, server| {
        let answers = (0..4).map(|_| client::get(server, "/"));
        let dropped = answers.filter(Result::is_err).count();
        // By turns; a Node that does not know the option gives them back.
        let expected = if is_recent(cluster, full) { 2 } else { 0 };
        assert_eq!(dropped, expected);
    });
}

#[test]
fn a_worker_may_leave_because_it_could_not_listen() {
    let cluster = start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (worker, _) = fork(&cluster, ANY_PORT);
    let order = format!("listen-and-leave {}", taken.local_addr().unwrap());
    cluster.order(&worker, &order);
    cluster.exit_as(&worker, Some(0), None, true);
    drop(taken);
    cluster.stop();
}

#[test]
fn messages_and_errors_are_seen_on_process_and_on_the_worker() {
    let cluster = start();
    let (worker, _) = fork(&cluster, ANY_PORT);
    cluster.ask(&worker, "overhear");
    let mut heard: Vec<Value> = cluster
        .ask(&worker, "overheard")
        .as_array()
        .unwrap()
        .clone();
    heard.sort_by_key(ToString::to_string);
    let expected = json!([
        ["process", "made up"],
        ["process", "overheard"],
        ["worker", "made up"],
        ["worker", "overheard"],
    ]);
    assert_eq!(json!(heard), expected);
    leaves_in_peace(&cluster, &worker);
    cluster.stop();
}

#[test]
fn a_disconnected_worker_may_run_on_and_one_without_its_channel_may_not() {
    let cluster = start();
    let (worker, _) = fork(&cluster, ANY_PORT);
    cluster.ask(&worker, "run-on 42");
    cluster.wait(worker.disconnect());
    cluster.exit_as(&worker, Some(42), None, true);
    let (worker, _) = fork(&cluster, ANY_PORT);
    cluster.order(&worker, "cut 42");
    cluster.exit_as(&worker, Some(0), None, false);
    cluster.stop();
}

#[test]
fn a_disconnected_worker_lives_as_long_as_it_has_a_client() {
    let cluster = start();
    let (worker, server) = fork(&cluster, "echo:127.0.0.1:0");
    let client = connect(server);
    echoes(&client);
    cluster.wait(worker.disconnect());
    wait_until("the worker to have heard it", || {
        cluster.ask(&worker, "standing")["exited_after_disconnect"] == true
    });
    for _ in 0..10 {
        echoes(&client);
    }
    assert!(!worker.is_dead());
    assert!(cluster.log().named("disconnect").is_empty());
    drop(client);
    cluster.exit_as(&worker, Some(0), None, true);
    cluster.stop();
}

#[test]
fn a_socket_that_a_worker_sends_twice_is_closed_and_both_messages_come() {
    let cluster = start();
    let (worker, server) = fork(&cluster, "gift:127.0.0.1:0");
    for _ in 0..2 {
        let mut rest = Vec::new();
        connect(server).read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
    cluster.message(&worker, |message| message == "twice");
    // Node closes a server when its sockets are closed everywhere, which the master must tell.
    close(&cluster, &worker, server);
    let told = cluster.log().named("message");
    let told = told.iter().filter_map(|event| event["message"].as_str());
    let told: Vec<&str> = told.collect();
    assert_eq!(told, ["once", "twice", "once", "twice"]);
    leaves_in_peace(&cluster, &worker);
    cluster.stop();
}

#[test]
fn a_connection_may_be_passed_on_to_a_child_with_a_server_of_its_own() {
    let cluster = start();
    let (worker, server) = fork(&cluster, "pass-on:127.0.0.1:0");
    let answer = client::get(server, "/").unwrap();
    let told: Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(told["parent"], json!(worker.pid()));
    assert_ne!(told["pid"], json!(worker.pid()));
    cluster.wait(worker.kill(rustix::process::Signal::TERM.as_raw()));
    cluster.exit(&worker);
    cluster.stop();
}
