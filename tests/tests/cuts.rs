//! Connections that do not end by themselves: a reload waits for them so long and no longer,
//! says what it cut, and spoils nobody else's request.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use maitred_tests::harness::client::{Client, get};
use maitred_tests::harness::{Finished, Launch, TestCluster, program};

const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
const SOCKETS: u64 = 50;

/// Asks for an answer that never ends, on a connection that is then held for ever.
fn held(address: SocketAddr, path: &str) -> Client {
    let mut client = Client::connect(address).unwrap();
    client.ask(path, "upgrade\r\nUpgrade: websocket").unwrap();
    client
}

/// Asks again and again, one connection each; returns how many were answered.
fn ask_until(is_done: &AtomicBool, address: SocketAddr) -> u64 {
    let mut answered = 0;
    while !is_done.load(Ordering::Relaxed) {
        assert_eq!(get(address, "/").unwrap().text(), "here\n");
        answered += 1;
    }
    answered
}

fn reload(cluster: &TestCluster) -> (Finished, Duration) {
    let mut home = OsString::from("MAITRED_HOME=");
    home.push(cluster.home().join("state"));
    let program = program("maitred");
    let words = ["env".as_ref(), home.as_os_str(), program.as_os_str()];
    let began = Instant::now();
    let command = Launch::other(words).with(["reload", "--parallel", "2"]);
    (command.finish(), began.elapsed())
}

#[test]
fn a_reload_ends_at_the_drain_deadline_and_says_what_it_cut() {
    let worker = program("upgrading_worker");
    let run = ["--drain-timeout", "2s", "-i", "2", worker.to_str().unwrap()];
    let cluster = Launch::run(run).ready();
    let address = cluster.address();
    let mut sockets: Vec<Client> = (0..SOCKETS).map(|_| held(address, "/socket")).collect();
    for socket in &mut sockets {
        assert_eq!(socket.head().unwrap().status, 101);
    }
    let mut download = held(address, "/download");
    assert_eq!(download.head().unwrap().status, 200);

    let is_done = AtomicBool::new(false);
    let (reload, took, answered) = thread::scope(|scope| {
        let asking = scope.spawn(|| ask_until(&is_done, address));
        let (reload, took) = reload(&cluster);
        is_done.store(true, Ordering::Relaxed);
        (reload, took, asking.join().unwrap())
    });
    assert_eq!(reload.code, Some(1), "{}", reload.log.story());
    assert!(took < DRAIN_TIMEOUT + Duration::from_secs(1), "{took:?}");
    assert!(answered > 0);
    assert_cut_and_said(&cluster, &reload.log.lines());
    for socket in sockets.iter_mut().chain([&mut download]) {
        socket.answer().expect_err("it was cut");
    }
    cluster.stop();
}

/// Asserts that all that was held was cut, nothing else was, and both outputs say so.
fn assert_cut_and_said(cluster: &TestCluster, lines: &[String]) {
    let cuts = cluster.log().wait_count("cut_at_deadline", 2);
    let sum = |kind: &str| -> u64 {
        let counts = cuts.iter().map(|event| event["cut"][kind].as_u64());
        counts
            .map(|count| count.unwrap_or_else(|| panic!("{cuts:?}")))
            .sum()
    };
    assert_eq!(
        ["upgraded", "streaming", "busy", "idle", "open"].map(sum),
        [SOCKETS, 1, 0, 0, SOCKETS + 1],
        "{cuts:?}"
    );
    let said = lines.join("\n");
    assert!(
        said.contains("2 of them passed the drain deadline"),
        "{said}"
    );
    let told: u64 = said
        .split(['(', ' ', ','])
        .zip(said.split(['(', ' ', ',']).skip(1))
        .filter(|(_, word)| word.starts_with("upgraded"))
        .map(|(count, _)| count.parse::<u64>().unwrap())
        .sum();
    assert_eq!(told, SOCKETS, "{said}");
}

#[test]
fn a_restart_says_only_what_it_has_cut_itself() {
    let worker = program("upgrading_worker");
    let run = ["--drain-timeout", "2s", "-i", "2", worker.to_str().unwrap()];
    let cluster = Launch::run(run).ready();
    let address = cluster.address();
    // In turn, so that each worker has some.
    let mut sockets: Vec<Client> = (0..4).map(|_| held(address, "/socket")).collect();
    for socket in &mut sockets {
        assert_eq!(socket.head().unwrap().status, 101);
    }
    // Of the two that are cut meanwhile, one leaves since fewer are wanted.
    cluster.obey(&["scale", "1"]);
    let restart = cluster.command(&["restart"]);
    let said = restart.log.lines().join("\n");
    assert_eq!(restart.code, Some(1), "{said}");
    assert!(
        said.contains("1 worker restarted; 1 of them passed"),
        "{said}"
    );
    cluster.log().wait_count("cut_at_deadline", 2);
    cluster.stop();
}
