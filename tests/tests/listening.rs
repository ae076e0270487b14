//! What workers may ask to listen on, and what becomes of it, on real sockets.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use maitred::Settings;
use maitred_tests::harness::client::{self, Answer, Client, per_worker};
use maitred_tests::harness::{DEADLINE, Kind, LibraryCluster, address};
use serde_json::json;

/// `errno(3)` of an address that somebody else has.
const EADDRINUSE: i32 = 98;

#[test]
fn two_listens_on_port_0_get_two_ports_that_all_workers_share() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let workers = cluster.fork_wishing(4, &["tcp:127.0.0.1:0", "tcp:127.0.0.1:0"]);
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
    });
}

#[test]
fn a_port_that_somebody_else_has_is_refused_to_the_worker_and_harms_nobody() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let wish = format!("tcp:{}", taken.local_addr().unwrap());
        let workers = cluster.fork_wishing(1, &[&wish, "tcp:127.0.0.1:0"]);
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
        let (_, outcomes) = &cluster.fork_wishing(1, &[&wish])[0];
        client::get(address(&outcomes[0]), "/").unwrap();
    });
}

#[test]
fn a_fixed_port_is_one_server_for_all_workers() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let (_, outcomes) = &cluster.fork_wishing(1, &["tcp:127.0.0.1:0"])[0];
        let wish = format!("tcp:{}", address(&outcomes[0]));
        let workers = cluster.fork_wishing(3, &[&wish]);
        for (_, others) in &workers {
            assert_eq!(others, outcomes);
        }
        assert_eq!(cluster.log().named("server_opened").len(), 1);
        let answers: Vec<_> = (0..4)
            .map(|_| client::get(address(&outcomes[0]), "/").unwrap())
            .collect();
        assert_eq!(per_worker(&answers).len(), 4, "each gets one");
    });
}

/// Asks whoever listens at `b.sock` in a folder with a long name. A client has the same limit
/// as a server, and the same way around it.
fn ask_in(folder: &Path) -> Answer {
    let folder = File::open(folder).unwrap();
    let short = format!("/proc/self/fd/{}/b.sock", folder.as_raw_fd());
    let stream = UnixStream::connect(short).unwrap();
    Client::over(stream).get("/").unwrap()
}

#[test]
fn a_unix_path_longer_than_a_socket_address_works() {
    for kind in Kind::BOTH {
        let cluster = LibraryCluster::of(kind, |_| Settings::new());
        let folder = cluster.home().join("a".repeat(120));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("b.sock");
        let wish = format!("unix:{}", path.display());
        let workers = cluster.fork_wishing(2, &[&wish]);
        for (_, outcomes) in &workers {
            assert_eq!(outcomes[0], json!({ "address": path }));
        }
        let answers: Vec<_> = (0..4).map(|_| ask_in(&folder)).collect();
        assert_eq!(
            per_worker(&answers).into_values().collect::<Vec<_>>(),
            [2, 2]
        );
        cluster.stop();
        assert!(!path.exists(), "it is removed at the end");
    }
}

#[test]
fn a_relative_path_counts_from_the_workers_directory_however_long_that_is() {
    for kind in Kind::BOTH {
        let cluster = LibraryCluster::of(kind, |home| {
            let folder = home.join("a".repeat(120));
            std::fs::create_dir(&folder).unwrap();
            Settings::new().cwd(folder)
        });
        let folder = cluster.home().join("a".repeat(120));
        let workers = cluster.fork_wishing(2, &["unix:b.sock"]);
        let answers = [ask_in(&folder), ask_in(&folder)];
        assert_eq!(per_worker(&answers).len(), workers.len());
        cluster.stop();
        assert!(!folder.join("b.sock").exists(), "it is removed at the end");
    }
}

#[test]
fn a_udp_port_is_shared_by_four_workers_and_each_datagram_answered_once() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let workers = cluster.fork_wishing(4, &["udp:127.0.0.1:0"]);
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
    });
}
