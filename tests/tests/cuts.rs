//! Connections that do not end by themselves: a reload waits for them so long and no longer,
//! says what it cut, and spoils nobody else's request.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use maitred_tests::harness::client::Client;
use maitred_tests::harness::{
    Beat, Bench, Finished, Launch, TestCluster, program, short_or_long, tell, wait_until,
};

const SOCKETS: u64 = 50;
/// What the worker takes for its download; more than any drain here.
const DOWNLOAD: Duration = Duration::from_secs(60);
/// How much longer than its drain deadline a reload may take.
const ROOM: Duration = Duration::from_secs(1);
/// Clients without a pause that do nothing unusual, for as long as the reload lasts.
const KEEP_ALIVE: [&str; 4] = ["-c", "20", "-d", "1h"];
const CLOSE: [&str; 5] = ["-c", "20", "-d", "1h", "--close"];

/// Asks for something that does not end by itself; returns its connection behind the head.
fn open(address: SocketAddr, path: &str, status: u16) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    // A reload that holds on for ever shall fail the test and not stop it.
    stream.set_read_timeout(Some(DOWNLOAD)).unwrap();
    let mut client = Client::over(Unbuffered(&stream));
    client.ask(path, "upgrade\r\nUpgrade: websocket").unwrap();
    assert_eq!(client.head().unwrap().status, status);
    drop(client);
    stream
}

/// A connection of which no byte is read before it is asked for: what follows a head is not
/// for who reads the head.
struct Unbuffered<'a>(&'a TcpStream);

impl Read for Unbuffered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let one = buffer.len().min(1);
        self.0.read(&mut buffer[..one])
    }
}

impl Write for Unbuffered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A WebSocket's frame from the server: a final one of text, this long.
const FRAME: [u8; 7] = [0x81, 5, b'h', b'e', b'l', b'l', b'o'];
/// The same from a client, which masks it: here with 0, which changes nothing.
const MASKED: [u8; 11] = [0x81, 0x85, 0, 0, 0, 0, b'h', b'e', b'l', b'l', b'o'];

/// Sends a frame and reads the echo.
fn exchange(mut socket: &TcpStream) -> io::Result<()> {
    socket.write_all(&MASKED)?;
    let mut echo = FRAME;
    echo.fill(0);
    socket.read_exact(&mut echo)?;
    assert_eq!(echo, FRAME);
    Ok(())
}

/// Exchanges frames on all sockets by turns until one of them is cut; returns how often each
/// had its turn, and when that was.
fn chat(sockets: &[TcpStream]) -> (u32, Instant) {
    let (mut beat, mut rounds) = (Beat::every(Duration::from_millis(100)), 0);
    loop {
        if sockets.iter().any(|socket| exchange(socket).is_err()) {
            return (rounds, Instant::now());
        }
        rounds += 1;
        beat.wait();
    }
}

/// Reads the download as far as it comes; returns its length, and when that was.
fn read_on(mut download: TcpStream) -> (usize, Instant) {
    let mut all = Vec::new();
    // The error is a reset, if it did not just end.
    download.read_to_end(&mut all).map(drop).unwrap_or_default();
    (all.len(), Instant::now())
}

/// Reloads both workers at once; returns what the command said and how long it took.
fn reload(cluster: &TestCluster, bound: Duration) -> (Finished, Duration) {
    let began = Instant::now();
    let command = cluster.maitred(&["reload", "--parallel", "2"]);
    let finished = command.finish_within(bound + DOWNLOAD);
    (finished, began.elapsed())
}

fn cluster(drain_timeout: Duration) -> TestCluster {
    let (worker, time) = (program("upgrading_worker"), format!("{drain_timeout:?}"));
    let run = [
        "--drain-timeout",
        &time,
        "-i",
        "2",
        worker.to_str().unwrap(),
    ];
    Launch::run(run).recorded().ready()
}

#[test]
fn a_reload_ends_at_the_drain_deadline_and_says_what_it_cut() {
    let drain_timeout = short_or_long(Duration::from_secs(2), Duration::from_secs(20));
    let cluster = cluster(drain_timeout);
    let address = cluster.address();
    let sockets: Vec<_> = (0..SOCKETS)
        .map(|_| open(address, "/socket", 101))
        .collect();
    let download = open(address, "/download", 200);
    let loads = [&KEEP_ALIVE[..], &CLOSE].map(|load| cluster.bench("/", load));

    let began = Instant::now();
    let (reload, took, (rounds, cut), (length, stopped)) = thread::scope(|scope| {
        let chatting = scope.spawn(|| chat(&sockets));
        let reading = scope.spawn(|| read_on(download));
        let (reload, took) = reload(&cluster, drain_timeout);
        (
            reload,
            took,
            chatting.join().unwrap(),
            reading.join().unwrap(),
        )
    });
    assert_eq!(reload.code, Some(1), "{}", reload.log.story());
    assert!(took < drain_timeout + ROOM, "{took:?}");
    // Until then they were all alive, and did what they are for.
    for lasted in [cut - began, stopped - began] {
        assert!(
            lasted > drain_timeout / 2 && lasted < drain_timeout + ROOM,
            "{lasted:?}"
        );
    }
    assert!(rounds > 1 && length > 0, "{rounds} rounds, {length} bytes");
    assert_cut_and_said(&cluster, &reload.log.lines());
    for socket in &sockets {
        assert!(exchange(socket).is_err(), "all of them were cut");
    }
    drop(sockets);
    tell(&format!(
        "the reload took {took:?}; {rounds} frames on each socket meanwhile"
    ));

    let records = loads.map(Bench::stop);
    let master = cluster.end();
    for record in records {
        record.assert_all_answered(&master, 20);
        tell(&format!(
            "{} requests beside it: 0 failed",
            record.figures["totals"]["requests"]
        ));
    }
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
    let sockets = (0..4).map(|_| open(address, "/socket", 101));
    let sockets: Vec<TcpStream> = sockets.collect();
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
    drop(sockets);
    // As many as at the start, so that the end finds as many descriptors.
    cluster.obey(&["scale", "2"]);
    cluster.wait_for_workers(2);
    cluster.stop();
}

#[test]
fn clients_that_hold_on_to_idle_connections_do_not_hold_up_a_reload() {
    const CLIENTS: usize = 100;
    let drain_timeout = Duration::from_secs(5);
    let cluster = cluster(drain_timeout);
    let connect = |_| {
        let mut client = Client::connect(cluster.address()).unwrap();
        client.get("/").unwrap();
        client
    };
    let mut idle: Vec<Client> = (0..CLIENTS).map(connect).collect();
    let before = cluster.workers();
    let (reload, took) = reload(&cluster, drain_timeout);
    // Idle connections are closed; that is no cut.
    assert_eq!(reload.code, Some(0), "{}", reload.log.story());
    assert!(took < drain_timeout + ROOM, "{took:?}");
    wait_until("no worker of an older generation", || {
        let workers = cluster.workers();
        workers.len() == before.len() && workers.keys().all(|id| !before.contains_key(id))
    });
    for client in &mut idle {
        client.get("/").expect_err("it was closed");
    }
    tell(&format!(
        "beside {CLIENTS} idle connections a reload took {took:?}"
    ));
    cluster.stop();
}
