//! Clients of the control socket that send garbage, are slow, say nothing or leave: who behaves
//! is answered all the while.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use maitred_tests::harness::client::Client;
use maitred_tests::harness::{
    Beat, Launch, Progress, TestCluster, is_long, processes, short_or_long, tell,
};
use rustix::process::Signal;

/// Within which who behaves is answered, on a machine that has the time.
const SOON: Duration = Duration::from_millis(100);
/// More than the master serves at once.
const IDLE: usize = 100;

fn socket(cluster: &TestCluster) -> PathBuf {
    cluster.home().join("state/master.sock")
}

/// Asks for a sign of life, as `maitred ping` does; returns how long that took.
fn ping(cluster: &TestCluster) -> Duration {
    let began = Instant::now();
    let stream = UnixStream::connect(socket(cluster)).unwrap();
    let answer = Client::over(stream).get("/v1/ping").unwrap();
    assert_eq!(answer.status, 200);
    began.elapsed()
}

/// Writes what may be refused at any byte: the master closes on who misbehaves.
fn write_on(stream: &mut UnixStream, bytes: &[u8]) -> bool {
    stream.write_all(bytes).is_ok()
}

/// Sends random bytes until the master has had enough, or a mebibyte has gone.
fn send_garbage(cluster: &TestCluster) {
    let mut random = File::open("/dev/urandom").unwrap();
    let mut stream = UnixStream::connect(socket(cluster)).unwrap();
    let mut piece = [0; 4096];
    for _ in 0..256 {
        random.read_exact(&mut piece).unwrap();
        if !write_on(&mut stream, &piece) {
            return;
        }
    }
}

/// Sends half a request and leaves.
fn send_half(cluster: &TestCluster) {
    let mut stream = UnixStream::connect(socket(cluster)).unwrap();
    write_on(&mut stream, b"GET /v1/wor");
}

/// Sends a request byte by byte, ten a second, until it is sent away.
fn send_slowly(cluster: &TestCluster) {
    let mut beat = Beat::every(Duration::from_millis(100));
    let mut stream = UnixStream::connect(socket(cluster)).unwrap();
    for byte in b"GET /v1/workers HTTP/1.1\r\nHost: m\r\n\r\n" {
        beat.wait();
        if !write_on(&mut stream, &[*byte]) {
            return;
        }
    }
}

/// Asks for what takes its time, and leaves without the answer.
fn ask_and_leave(cluster: &TestCluster, what: &str) {
    let mut stream = UnixStream::connect(socket(cluster)).unwrap();
    let head = format!("POST {what} HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\n{{}}");
    write_on(&mut stream, head.as_bytes());
    stream.shutdown(Shutdown::Both).unwrap();
}

/// Does something again and again beside one who behaves, who must not wait long.
fn beside(cluster: &TestCluster, what: &'static str, abuse: impl Fn(&TestCluster) + Sync) {
    let times = short_or_long(5, 100);
    let mut worst = Duration::ZERO;
    let mut progress = Progress::of(what, times);
    for _ in 0..times {
        thread::scope(|scope| {
            let abusing = scope.spawn(|| abuse(cluster));
            worst = worst.max(ping(cluster));
            abusing.join().unwrap();
        });
        progress.step();
    }
    tell(&format!("{what}: who behaves waited for {worst:?} at most"));
    assert!(!is_long() || worst <= SOON, "{what}: {worst:?}");
}

#[test]
fn garbage_and_half_requests_hold_up_nobody() {
    let cluster = TestCluster::demo(1);
    beside(&cluster, "garbage", send_garbage);
    beside(&cluster, "half requests", send_half);
    cluster.stop();
}

#[test]
fn slow_and_silent_clients_hold_up_nobody() {
    let cluster = TestCluster::demo(1);
    // Nothing more but some time between two signs of life.
    let breathe = |_: &TestCluster| Beat::every(Duration::from_millis(20)).wait();
    thread::scope(|scope| {
        for _ in 0..short_or_long(4, 32) {
            scope.spawn(|| send_slowly(&cluster));
        }
        beside(&cluster, "slow requests", breathe);
    });
    let connect = |_| UnixStream::connect(socket(&cluster)).unwrap();
    let idle: Vec<UnixStream> = (0..IDLE).map(connect).collect();
    beside(&cluster, "silent clients", breathe);
    drop(idle);
    cluster.stop();
}

#[test]
fn clients_that_leave_while_a_worker_stands_still_hold_up_nobody() {
    let cluster = Launch::demo(2).with(["--heartbeat-timeout", "0"]).ready();
    let (_, &stuck) = cluster.workers().last_key_value().unwrap();
    processes::freeze(stuck);
    // The worker cannot leave, so none of these ends before the others come.
    beside(&cluster, "clients that left", |cluster| {
        ask_and_leave(cluster, "/v1/apps/1/restart")
    });
    processes::signal(stuck, Signal::CONT);
    cluster.wait_for_workers(2);
    cluster.stop();
}
