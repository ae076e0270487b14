//! Servers that several workers have, and what each may ask for: with either policy, unless
//! the policy is what it is about.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use maitred::{MESSAGE_MAX, Settings, Worker, WorkerId};
use maitred_tests::harness::client::{self, Answer, Client, per_worker};
use maitred_tests::harness::{DEADLINE, Kind, LibraryCluster, address, holdings, text};
use rustix::process::Signal;
use serde_json::{Value, json};

/// `errno(3)` of an address that somebody else has.
const EADDRINUSE: i32 = 98;
/// `errno(3)` of what no worker may ask for.
const EINVAL: i32 = 22;

const ANY_PORT: &str = "tcp:127.0.0.1:0";

/// Plays a scene with each policy, and test workers of each kind.
fn with_each_policy(scene: impl Fn(&LibraryCluster)) {
    for policy in holdings() {
        LibraryCluster::with_each_kind(|| Settings::new().policy(policy), &scene);
    }
}

fn open(cluster: &LibraryCluster, worker: &Worker, wish: &str) -> Value {
    cluster.ask(worker, &format!("open {wish}"))
}

fn close(cluster: &LibraryCluster, worker: &Worker, server: SocketAddr) {
    assert_eq!(cluster.ask(worker, &format!("close {server}")), true);
}

#[test]
fn a_server_that_one_worker_closed_opens_there_again_and_is_the_same() {
    with_each_policy(|cluster| {
        let workers = cluster.fork_wishing(2, &[ANY_PORT]);
        let [(first, outcomes), (second, _)] = &workers[..] else {
            panic!("there are two")
        };
        let server = address(&outcomes[0]);
        for _ in 0..3 {
            close(cluster, second, server);
            let answer = client::get(server, "/").unwrap();
            assert_eq!(answer.worker(), first.id(), "the other serves on");
            // The first such listen of the worker again, so it means the first of the others.
            assert_eq!(open(cluster, second, ANY_PORT), outcomes[0]);
        }
        close(cluster, first, server);
        let answer = client::get(server, "/").unwrap();
        assert_eq!(answer.worker(), second.id());
    });
}

#[test]
fn a_second_listen_on_the_same_port_fails_and_spoils_nothing() {
    with_each_policy(|cluster| {
        let workers = cluster.fork_wishing(1, &[ANY_PORT, "udp:127.0.0.1:0"]);
        let (first, outcomes) = &workers[0];
        for (kind, outcome) in ["tcp", "udp"].iter().zip(outcomes) {
            let server = address(outcome);
            let wish = format!("{kind}:{server}");
            for _ in 0..2 {
                assert_eq!(open(cluster, first, &wish)["errno"], EADDRINUSE);
            }
            // Another worker shares it, although the first got it by asking for any port.
            let others = cluster.fork_wishing(1, &[&wish]);
            assert_eq!(others[0].1[0], *outcome);
            // And the first may have it again once it has let it go.
            close(cluster, first, server);
            assert_eq!(open(cluster, first, &wish), *outcome);
        }
        client::get(address(&outcomes[0]), "/").unwrap();
    });
}

#[test]
fn a_port_that_was_taken_is_shared_by_all_once_it_is_free() {
    with_each_policy(|cluster| {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = taken.local_addr().unwrap();
        let wish = format!("tcp:{server}");
        let workers = cluster.fork_wishing(2, &[&wish]);
        for (_, outcomes) in &workers {
            assert_eq!(outcomes[0]["errno"], EADDRINUSE);
        }
        drop(taken);
        for (worker, _) in &workers {
            assert_eq!(address(&open(cluster, worker, &wish)), server);
        }
        client::get(server, "/").unwrap();
    });
}

#[test]
fn an_ipv6_only_server_leaves_the_ipv4_port_free() {
    with_each_policy(|cluster| {
        let workers = cluster.fork_wishing(3, &["tcp+ipv6-only:[::]:0", "tcp:[::]:0"]);
        let outcomes = &workers[0].1;
        for (_, others) in &workers {
            assert_eq!(others, outcomes);
        }
        let only = address(&outcomes[0]).port();
        // Not by binding there: connections of other loads, closed a moment ago, may forbid it.
        let nobody = TcpStream::connect((Ipv4Addr::LOCALHOST, only)).expect_err("IPv4 is free");
        assert_eq!(nobody.kind(), ErrorKind::ConnectionRefused);
        client::get((Ipv6Addr::LOCALHOST, only).into(), "/").unwrap();
        // The other one takes both, so there is nothing left.
        let both = address(&outcomes[1]).port();
        let error = TcpListener::bind((Ipv4Addr::UNSPECIFIED, both)).expect_err("IPv4 is taken");
        assert_eq!(error.raw_os_error(), Some(EADDRINUSE));
        client::get((Ipv4Addr::LOCALHOST, both).into(), "/").unwrap();
        client::get((Ipv6Addr::LOCALHOST, both).into(), "/").unwrap();
    });
}

#[test]
fn an_ipv6_only_udp_socket_leaves_the_ipv4_port_free() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let workers = cluster.fork_wishing(2, &["udp+ipv6-only:[::]:0", "udp:[::]:0"]);
        assert_eq!(workers[0].1, workers[1].1);
        let [only, both] = [0, 1].map(|wish: usize| address(&workers[0].1[wish]).port());
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, only)).expect("IPv4 is free");
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, both)).expect_err("IPv4 is taken");
        for server in [
            SocketAddr::from((Ipv6Addr::LOCALHOST, only)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, both)),
            SocketAddr::from((Ipv4Addr::LOCALHOST, both)),
        ] {
            let client = match server {
                SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
                SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap(),
            };
            client.set_read_timeout(Some(DEADLINE)).unwrap();
            client.send_to(b"hello", server).unwrap();
            let mut datagram = [0; 64];
            let len = client.recv(&mut datagram).unwrap();
            assert!(datagram[..len].starts_with(b"hello "), "at {server}");
        }
    });
}

#[test]
fn a_port_alone_means_every_address_and_its_number_is_told() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let workers = cluster.fork_wishing(2, &["any:0"]);
        let server = address(&workers[0].1[0]);
        assert!(
            server.ip().is_unspecified() && server.port() != 0,
            "{server}"
        );
        for listening in cluster.log().wait_count("listening", 2) {
            assert_eq!(text(&listening, "address"), server.to_string());
        }
        let ask = || client::get((Ipv4Addr::LOCALHOST, server.port()).into(), "/").unwrap();
        let answers = [ask(), ask()];
        assert_eq!(per_worker(&answers).len(), 2);
    });
}

#[test]
fn ten_connections_go_where_there_is_room_for_none_for_one_and_for_nine() {
    let cluster = LibraryCluster::start();
    let none = cluster.fork_wishing(1, &["tcp+max=0:127.0.0.1:0"]);
    let server = address(&none[0].1[0]);
    let one = cluster.fork_wishing(1, &[&format!("tcp+max=1:{server}")]);
    let nine = cluster.fork_wishing(1, &[&format!("tcp+max=9:{server}")]);
    let mut clients: Vec<Client> = Vec::new();
    let ask = |_| -> Answer {
        clients.push(Client::connect(server).unwrap());
        clients.last_mut().unwrap().get("/").unwrap()
    };
    let answers: Vec<Answer> = (0..10).map(ask).collect();
    let expected: BTreeMap<WorkerId, usize> = [(one[0].0.id(), 1), (nine[0].0.id(), 9)]
        .into_iter()
        .collect();
    assert_eq!(per_worker(&answers), expected);
    drop(clients);
    cluster.stop();
}

#[test]
fn the_backlog_is_as_long_as_the_worker_wants() {
    const BACKLOG: usize = 8;
    /// Long for a handshake in one machine; with a full backlog it is never done.
    const PATIENCE: Duration = Duration::from_secs(1);
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let wish = format!("tcp+backlog={BACKLOG}:127.0.0.1:0");
        let workers = cluster.fork_wishing(1, &[&wish]);
        let (worker, outcomes) = &workers[0];
        // The listener outlives its only worker, and nobody takes anything from it.
        cluster.wait(worker.kill(Signal::KILL.as_raw()));
        cluster.exit(worker);
        let mut waiting = Vec::new();
        while waiting.len() < 2 * BACKLOG
            && let Ok(client) = TcpStream::connect_timeout(&address(&outcomes[0]), PATIENCE)
        {
            waiting.push(client);
        }
        // Linux keeps one more than it is told; and another may pass while an ack is on its way.
        let kept = waiting.len();
        assert!((BACKLOG..=BACKLOG + 2).contains(&kept), "{kept} wait");
        drop(waiting);
    });
}

#[test]
fn a_socket_that_the_master_inherited_is_shared_by_its_number() {
    let each = holdings()
        .into_iter()
        .map(|policy| Kind::BOTH.map(|kind| (policy, kind)));
    for (policy, kind) in each.flatten() {
        let mut sockets = Vec::new();
        let cluster = LibraryCluster::of(kind, |_| {
            sockets.extend([(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()));
            let allowed = [sockets[0].as_raw_fd()];
            Settings::new().policy(policy).inherited(allowed)
        });
        let numbers = sockets.iter().map(|socket| socket.as_raw_fd());
        let wishes: Vec<String> = numbers.map(|fd| format!("inherited:{fd}")).collect();
        let wishes: Vec<&str> = wishes.iter().map(String::as_str).collect();
        let workers = cluster.fork_wishing(2, &wishes);
        let server = sockets[0].local_addr().unwrap();
        for (_, outcomes) in &workers {
            assert_eq!(address(&outcomes[0]), server);
            assert_eq!(outcomes[1]["errno"], EINVAL, "it was not meant for workers");
        }
        client::get(server, "/").unwrap();
        drop(sockets);
        cluster.stop();
    }
}

#[test]
fn a_unix_socket_may_be_opened_to_everyone() {
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let path = cluster.home().join("a.sock");
        for (options, bits) in [
            ("+readable-all+writable-all", 0o666),
            ("+readable-all", 0o444),
            ("+writable-all", 0o222),
        ] {
            let wish = format!("unix{options}:{}", path.display());
            let workers = cluster.fork_wishing(1, &[&wish]);
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & bits, bits, "{options} led to {mode:o}");
            cluster.wait(workers[0].0.disconnect());
            cluster.exit(&workers[0].0);
            cluster.wait(cluster.cluster().disconnect()).unwrap();
            assert!(!path.exists());
        }
    });
}

#[test]
fn the_first_workers_data_is_given_to_all() {
    with_each_policy(|cluster| {
        let first = cluster.fork_wishing(1, &["tcp+data=the first's:127.0.0.1:0"]);
        let server = address(&first[0].1[0]);
        for wish in [
            format!("tcp+data=another's:{server}"),
            format!("tcp:{server}"),
        ] {
            let other = cluster.fork_wishing(1, &[&wish]);
            let expected = json!({ "address": server.to_string(), "data": "the first's" });
            assert_eq!(other[0].1[0], expected, "{wish}");
        }
    });
}

#[test]
fn the_longest_messages_and_connections_do_not_disturb_each_other() {
    const TURNS: usize = 20;
    LibraryCluster::with_each_kind(Settings::new, |cluster| {
        let workers = cluster.fork_wishing(2, &[ANY_PORT]);
        let server = address(&workers[0].1[0]);
        // Two bytes are its quotes; the echo must fit, too.
        let longest = "x".repeat(MESSAGE_MAX - 2 - "{\"echo\":}".len());
        let mut answers = Vec::new();
        for _ in 0..TURNS {
            for (worker, _) in &workers {
                cluster.wait(worker.send(&longest)).unwrap();
            }
            answers.push(client::get(server, "/").unwrap());
        }
        let counts = per_worker(&answers).into_values().collect::<Vec<_>>();
        assert_eq!(counts, [TURNS / 2, TURNS / 2]);
        // Besides the echoes there are the outcomes of two workers.
        let messages = cluster.log().wait_count("message", 2 + 2 * TURNS);
        let echoes = messages
            .iter()
            .filter(|event| event["message"]["echo"] == longest);
        assert_eq!(echoes.count(), 2 * TURNS);
    });
}
