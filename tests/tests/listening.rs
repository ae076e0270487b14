//! What workers may ask to listen on, and what becomes of it, on real sockets.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use maitred::Worker;
use maitred_tests::harness::client::{self, Client, per_worker};
use maitred_tests::harness::{DEADLINE, LibraryCluster};
use serde_json::{Value, json};

/// `errno(3)` of an address that somebody else has.
const EADDRINUSE: i32 = 98;

/// Starts workers with the same wishes, and returns what came of them for each.
fn fork(cluster: &LibraryCluster, count: usize, wishes: &[&str]) -> Vec<(Worker, Vec<Value>)> {
    let workers: Vec<Worker> = (0..count)
        .map(|_| cluster.fork("test_worker", wishes))
        .collect();
    let outcomes = |worker: Worker| {
        let message = cluster.message(&worker, |message| message.get("outcomes").is_some());
        let outcomes = message["outcomes"].as_array().unwrap().clone();
        (worker, outcomes)
    };
    workers.into_iter().map(outcomes).collect()
}

fn address(outcome: &Value) -> SocketAddr {
    let address = outcome["address"].as_str();
    address
        .unwrap_or_else(|| panic!("refused: {outcome}"))
        .parse()
        .unwrap()
}

#[test]
fn two_listens_on_port_0_get_two_ports_that_all_workers_share() {
    let cluster = LibraryCluster::start();
    let workers = fork(&cluster, 4, &["tcp:127.0.0.1:0", "tcp:127.0.0.1:0"]);
    let (_, first) = &workers[0];
    assert_ne!(first[0], first[1], "two ports");
    for (_, outcomes) in &workers {
        assert_eq!(outcomes, first, "the same for all");
    }
    for outcome in first {
        let answers: Vec<_> = (0..8)
            .map(|_| client::get(address(outcome), "/").unwrap())
            .collect();
        let counts: Vec<usize> = per_worker(&answers).into_values().collect();
        assert_eq!(counts, [2, 2, 2, 2], "each port has its own rotation");
    }
    cluster.stop();
}

#[test]
fn a_port_that_somebody_else_has_is_refused_to_the_worker_and_harms_nobody() {
    let cluster = LibraryCluster::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let wish = format!("tcp:{}", taken.local_addr().unwrap());
    let workers = fork(&cluster, 1, &[&wish, "tcp:127.0.0.1:0"]);
    let (worker, outcomes) = &workers[0];
    assert_eq!(outcomes[0]["errno"], EADDRINUSE);
    let failed = cluster.log().wait("listen_failed", |_| true);
    assert_eq!(
        (&failed["worker"], &failed["errno"]),
        (&json!(worker.id().0), &json!(EADDRINUSE))
    );
    // The other wish was granted, and is served.
    assert_eq!(
        client::get(address(&outcomes[1]), "/").unwrap().worker(),
        worker.id()
    );
    // Once the port is free, the next who asks gets it.
    drop(taken);
    let (_, outcomes) = &fork(&cluster, 1, &[&wish])[0];
    client::get(address(&outcomes[0]), "/").unwrap();
    cluster.stop();
}

#[test]
fn a_fixed_port_is_one_server_for_all_workers() {
    let cluster = LibraryCluster::start();
    let (_, outcomes) = &fork(&cluster, 1, &["tcp:127.0.0.1:0"])[0];
    let wish = format!("tcp:{}", address(&outcomes[0]));
    let workers = fork(&cluster, 3, &[&wish]);
    for (_, others) in &workers {
        assert_eq!(others, outcomes);
    }
    assert_eq!(cluster.log().named("server_opened").len(), 1);
    let answers: Vec<_> = (0..4)
        .map(|_| client::get(address(&outcomes[0]), "/").unwrap())
        .collect();
    assert_eq!(per_worker(&answers).len(), 4, "each gets one");
    cluster.stop();
}

#[test]
fn a_unix_path_longer_than_a_socket_address_works() {
    let cluster = LibraryCluster::start();
    let folder = cluster.home().join("a".repeat(120));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("b.sock");
    let wish = format!("unix:{}", path.display());
    let workers = fork(&cluster, 2, &[&wish]);
    for (_, outcomes) in &workers {
        assert_eq!(outcomes[0], json!({ "address": path }));
    }
    let ask = || {
        // A client has the same limit, and the same way around it.
        let folder = File::open(&folder).unwrap();
        let short = format!("/proc/self/fd/{}/b.sock", folder.as_raw_fd());
        Client::over(UnixStream::connect(short).unwrap())
            .get("/")
            .unwrap()
    };
    let answers: Vec<_> = (0..4).map(|_| ask()).collect();
    assert_eq!(
        per_worker(&answers).into_values().collect::<Vec<_>>(),
        [2, 2]
    );
    cluster.stop();
    assert!(!path.exists(), "it is removed at the end");
}

#[test]
fn an_ipv6_only_server_leaves_the_ipv4_port_free() {
    let cluster = LibraryCluster::start();
    let (_, outcomes) = &fork(&cluster, 1, &["ipv6-only:[::]:0", "tcp:[::]:0"])[0];
    let only = address(&outcomes[0]).port();
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, only)).expect("IPv4 is free");
    client::get((Ipv6Addr::LOCALHOST, only).into(), "/").unwrap();
    // The other one takes both, so there is nothing left.
    let both = address(&outcomes[1]).port();
    let error = TcpListener::bind((Ipv4Addr::UNSPECIFIED, both)).expect_err("IPv4 is taken");
    assert_eq!(error.raw_os_error(), Some(EADDRINUSE));
    client::get((Ipv4Addr::LOCALHOST, both).into(), "/").unwrap();
    client::get((Ipv6Addr::LOCALHOST, both).into(), "/").unwrap();
    cluster.stop();
}

#[test]
fn a_udp_port_is_shared_by_four_workers_and_each_datagram_answered_once() {
    let cluster = LibraryCluster::start();
    let workers = fork(&cluster, 4, &["udp:127.0.0.1:0"]);
    let server = address(&workers[0].1[0]);
    for (_, outcomes) in &workers {
        assert_eq!(address(&outcomes[0]), server);
    }
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    for number in 0..40 {
        client
            .send_to(format!("{number}").as_bytes(), server)
            .unwrap();
    }
    let mut answered = BTreeSet::new();
    for _ in 0..40 {
        let mut datagram = [0; 64];
        let len = client.recv(&mut datagram).unwrap();
        let answer = str::from_utf8(&datagram[..len]).unwrap();
        let (number, worker) = answer.split_once(' ').unwrap();
        assert!(
            workers
                .iter()
                .any(|(one, _)| one.id().0.to_string() == worker)
        );
        assert!(
            answered.insert(number.parse::<u32>().unwrap()),
            "{number} came twice"
        );
    }
    assert_eq!(answered, (0..40).collect());
    drop(client);
    cluster.stop();
}
