//! How single workers go, at whose wish, and what is known of them then, on both sides.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use maitred::{PolicyName, Settings, Worker, WorkerState};
use maitred_tests::harness::client::{self, Client};
use maitred_tests::harness::{Kind, LibraryCluster, address, holdings, worker as worker_of};
use rustix::process::Signal;
use serde_json::json;

const ANY_PORT: &str = "tcp:127.0.0.1:0";

/// What happens to a worker that listens, reports and goes, in this order.
const LIFE: [&str; 6] = [
    "fork",
    "online",
    "listening",
    "message",
    "disconnect",
    "exit",
];

fn shared() -> Settings {
    Settings::new().policy(PolicyName::Shared)
}

/// Starts a worker that listens on a port of its own.
fn fork(cluster: &LibraryCluster) -> Worker {
    let worker = cluster.fork_test_worker(&[ANY_PORT]);
    cluster.message(&worker, |message| message.get("outcomes").is_some());
    worker
}

/// Asserts what is known of a worker that is gone.
fn assert_gone(cluster: &LibraryCluster, worker: &Worker, meant: bool) {
    assert!(worker.is_dead() && !worker.is_connected());
    assert_eq!(worker.state(), WorkerState::Dead);
    assert_eq!(worker.exited_after_disconnect(), Some(meant));
    let workers = cluster.wait(cluster.cluster().workers()).unwrap();
    assert!(!workers.contains_key(&worker.id()));
    let mut life = cluster.log().of_worker(worker.id());
    // What it answered is no part of it.
    life.dedup();
    assert_eq!(life, LIFE);
}

#[test]
fn a_cluster_without_workers_can_be_disconnected_and_again() {
    let cluster = LibraryCluster::start();
    for _ in 0..2 {
        cluster.wait(cluster.cluster().disconnect()).unwrap();
    }
    // It lives on.
    fork(&cluster);
    cluster.stop();
}

#[test]
fn disconnecting_all_closes_every_server_and_may_be_repeated() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        for _ in 0..3 {
            let workers = cluster.fork_wishing(2, &[ANY_PORT, ANY_PORT]);
            let servers = workers[0].1.iter().map(address);
            let servers: Vec<_> = servers.collect();
            for server in &servers {
                client::get(*server, "/").unwrap();
            }
            cluster.wait(cluster.cluster().disconnect()).unwrap();
            for server in &servers {
                TcpStream::connect(server).expect_err("nobody listens");
            }
            for (worker, _) in &workers {
                cluster.exit_as(worker, Some(0), None, true);
                assert!(worker.is_dead());
            }
        }
    });
}

#[test]
fn a_worker_that_has_just_left_does_not_disturb_the_disconnect_of_all() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let (first, second) = (fork(cluster), fork(cluster));
        cluster.order(&first, "disconnect");
        let is_first = |event: &serde_json::Value| worker_of(event) == first.id();
        cluster.log().wait("disconnect", is_first);
        // Its process may live for a moment still.
        cluster.wait(cluster.cluster().disconnect()).unwrap();
        for worker in [&first, &second] {
            cluster.exit_as(worker, Some(0), None, true);
            assert_gone(cluster, worker, true);
        }
    });
}

#[test]
fn a_worker_may_leave_by_itself_in_every_way() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        for order in ["disconnect", "kill", "disconnect and kill"] {
            let worker = fork(cluster);
            let standing = json!({ "connected": true, "exited_after_disconnect": false });
            assert_eq!(cluster.ask(&worker, "standing"), standing);
            assert!(worker.is_connected() && !worker.is_dead());
            assert_eq!(worker.exited_after_disconnect(), None);
            cluster.order(&worker, order);
            // Any other code means that it thinks itself connected still, or outlived its kill.
            cluster.exit_as(&worker, Some(0), None, true);
            assert_gone(cluster, &worker, true);
        }
    });
}

#[test]
fn who_is_told_to_leave_by_everybody_at_once_leaves_once() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let workers = cluster.fork_wishing(8, &[ANY_PORT]);
        for (worker, _) in &workers {
            // A Node worker that is told to leave just when it leaves by itself cuts its channel
            // twice, of which it dies, under Node's own primary, too.
            if cluster.kind() == Kind::Rust {
                cluster.order(worker, "disconnect");
            }
            for _ in 0..3 {
                cluster.wait(worker.disconnect());
            }
        }
        cluster.wait(cluster.cluster().disconnect()).unwrap();
        for (worker, _) in &workers {
            cluster.exit_as(worker, Some(0), None, true);
            assert_gone(cluster, worker, true);
        }
    });
}

#[test]
fn under_policy_shared_one_may_come_while_another_goes() {
    LibraryCluster::with_each_kind(shared, |cluster| {
        for _ in 0..5 {
            // Told before it can have greeted, or has asked for its port.
            let first = cluster.fork_test_worker(&[ANY_PORT]);
            cluster.wait(first.disconnect());
            let second = fork(cluster);
            let third = cluster.fork_test_worker(&[ANY_PORT]);
            cluster.wait(second.disconnect());
            cluster.wait(third.disconnect());
            for worker in [first, second, third] {
                cluster.exit_as(&worker, Some(0), None, true);
            }
        }
        assert!(cluster.log().named("breached").is_empty());
    });
}

#[test]
fn who_shares_nothing_leaves_as_well_as_the_others() {
    let cluster = LibraryCluster::start();
    let wishes = ["tcp+exclusive:127.0.0.1:0", "udp+exclusive:127.0.0.1:0"];
    let workers = cluster.fork_wishing(2, &wishes);
    for (worker, outcomes) in &workers {
        let answer = client::get(address(&outcomes[0]), "/").unwrap();
        assert_eq!(answer.worker(), worker.id(), "its own port");
    }
    let both = |wish: usize| [&workers[0].1[wish], &workers[1].1[wish]].map(address);
    for [one, other] in [both(0), both(1)] {
        assert_ne!(one, other);
    }
    assert!(cluster.log().named("server_opened").is_empty());
    for (worker, outcomes) in &workers {
        cluster.wait(worker.disconnect());
        cluster.exit_as(worker, Some(0), None, true);
        TcpStream::connect(address(&outcomes[0])).expect_err("nobody listens");
        UdpSocket::bind(address(&outcomes[1])).expect("the port is free again");
    }
    cluster.stop();
}

#[test]
fn workers_leave_although_a_client_stays() {
    let each = holdings()
        .into_iter()
        .map(|policy| Kind::BOTH.map(|kind| (policy, kind)));
    for (policy, kind) in each.flatten() {
        let cluster = LibraryCluster::of(kind, |_| {
            let mut settings = Settings::new().policy(policy);
            settings.keepalive_grace = Some(Duration::from_millis(100));
            settings
        });
        let workers = cluster.fork_wishing(2, &[ANY_PORT]);
        let mut client = Client::connect(address(&workers[0].1[0])).unwrap();
        client.get("/").unwrap();
        for (worker, _) in &workers {
            cluster.wait(worker.disconnect());
        }
        for (worker, _) in &workers {
            cluster.exit_as(worker, Some(0), None, true);
        }
        client.answer().expect_err("it was closed");
        drop(client);
        cluster.stop();
    }
}

#[test]
fn a_worker_in_an_endless_loop_is_ended_by_either_signal() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        for signal in [Signal::TERM, Signal::KILL] {
            let worker = fork(cluster);
            cluster.ask(&worker, "spin");
            cluster.wait(worker.kill(signal.as_raw()));
            cluster.exit_as(&worker, None, Some(signal.as_raw()), false);
            assert_gone(cluster, &worker, false);
        }
    });
}

#[test]
fn an_exit_code_is_reported_as_it_is() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let worker = fork(cluster);
        cluster.order(&worker, "exit 42");
        cluster.exit_as(&worker, Some(42), None, false);
        assert_gone(cluster, &worker, false);
    });
}
