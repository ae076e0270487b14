//! Faults of the system around a master: no descriptors, failing accepts, workers that stand
//! still, clients that leave. It goes on, and loses nobody who waits.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use maitred::{Limits, Settings};
use maitred_tests::harness::client::{Client, get};
use maitred_tests::harness::{
    Launch, LibraryCluster, Progress, Strace, TestCluster, is_long, processes, program,
    short_or_long, tell, wait_until,
};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Pid, Resource, Rlimit, Signal, geteuid, prlimit};
use serde_json::Value;

/// The thread that hands out connections, as the kernel cuts its name.
const DISPATCH_THREAD: &str = "maitred-dispatc";
/// Soon: what a client calls so that waits for an answer.
const SOON: Duration = Duration::from_secs(1);
/// The largest that `--window` takes.
const WINDOW_MAX: usize = 64;
/// Neither of the ways in which a hanging worker is found.
const PATIENT: [&str; 4] = ["--ack-timeout", "0", "--heartbeat-timeout", "0"];

/// Connects so many clients, each of which has asked.
fn ask_many(address: SocketAddr, count: usize) -> Vec<Client> {
    let ask = |_| {
        let mut client = Client::connect(address).unwrap();
        client.ask("/", "close").unwrap();
        client
    };
    (0..count).map(ask).collect()
}

fn assert_all_answered(clients: Vec<Client>) {
    for mut client in clients {
        assert_eq!(client.answer().unwrap().status, 200);
    }
}

/// Lets a process have so many descriptors; returns what it might have before.
fn limit_descriptors(pid: u32, limit: Option<u64>) -> Option<u64> {
    let pid = Pid::from_raw(pid.try_into().unwrap());
    let limits = Rlimit {
        current: limit,
        maximum: rustix::process::getrlimit(Resource::Nofile).maximum,
    };
    prlimit(pid, Resource::Nofile, limits).unwrap().current
}

#[test]
fn without_descriptors_the_master_rests_and_then_serves_who_has_waited() {
    // It is told once a second, so these are two seconds, or ten.
    let (told, count) = short_or_long((3, 50), (11, 500));
    let cluster = TestCluster::demo(2);
    let before = limit_descriptors(cluster.pid(), Some(3));
    let clients = ask_many(cluster.address(), count);
    let (began, used) = (Instant::now(), processes::processor_time(cluster.pid()));
    cluster.log().wait_count("accept_paused", told);
    let (took, used) = (
        began.elapsed(),
        processes::processor_time(cluster.pid()) - used,
    );
    // The first may be told at once.
    let seconds = u32::try_from(told - 2).unwrap();
    assert!(
        took > SOON * seconds,
        "a log is no place for each of its rests"
    );
    // Without a rest it would spin, and use all of one processor.
    assert!(
        used < took / 20,
        "it used {used:?} of a processor in {took:?}"
    );

    limit_descriptors(cluster.pid(), before);
    let lifted = Instant::now();
    // No client comes now whose connection might wake it.
    assert_all_answered(clients);
    let served = lifted.elapsed();
    assert!(served < SOON, "it took {served:?}");
    tell(&format!(
        "{count} waited, and were served in {served:?}; {used:?} of a processor in {took:?}"
    ));
    cluster.stop();
}

/// Returns how often accepting has failed so, as the master counts it.
fn accepts_that_failed(cluster: &TestCluster, error: &str) -> u64 {
    let listed = cluster.command(&["ls", "--json"]);
    let list: Value = serde_json::from_str(&listed.log.lines()[0]).unwrap();
    list["apps"][0]["accept_errors"][error]
        .as_u64()
        .unwrap_or(0)
}

#[test]
fn an_accept_that_fails_loses_no_connection_whatever_the_error() {
    // Whose accepts fail, how many clients come at a time and how often, and how many accepts
    // must have failed by then.
    let (fail, clients, times, failed_min) =
        short_or_long(("1+4", 12, 1, 3), ("50+50", 100, 20, 30));
    let cluster = TestCluster::demo(2);
    let thread = processes::thread(cluster.pid(), DISPATCH_THREAD);
    let errors = [
        "ECONNABORTED",
        "EPROTO",
        "EPERM",
        "ENETDOWN",
        "EHOSTUNREACH",
        "EINTR",
        "ENOBUFS",
        "ENOMEM",
        "ENFILE",
        "EMFILE",
    ];
    let mut progress = Progress::of("errors of accept", errors.len());
    for error in errors {
        let inject = format!("inject=accept4:error={error}:when={fail}");
        let strace = Strace::attach(thread, &["trace=accept4", &inject]);
        for _ in 0..times {
            assert_all_answered(ask_many(cluster.address(), clients));
        }
        let failed = strace.count("(INJECTED)");
        assert!(failed >= failed_min, "{error} came {failed} times");
        let counted = accepts_that_failed(&cluster, error);
        assert!(
            counted >= failed_min as u64,
            "{error} was counted {counted} times"
        );
        progress.step();
    }
    cluster.stop();
}

#[test]
fn a_listener_that_will_never_work_again_is_closed_and_the_others_serve_on() {
    let worker = program("test_worker");
    let worker = worker.to_str().unwrap();
    let run = [
        "-i",
        "1",
        worker,
        "--",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:0",
    ];
    let cluster = Launch::run(run).ready();
    let opened = cluster.log().wait_count("server_opened", 2);
    let addresses: Vec<SocketAddr> = opened
        .iter()
        .map(|event| event["address"].as_str().unwrap().parse().unwrap())
        .collect();
    let thread = processes::thread(cluster.pid(), DISPATCH_THREAD);
    let inject = "inject=accept4:error=EBADF:when=1";
    let strace = Strace::attach(thread, &["trace=accept4", inject]);
    let failed = get(addresses[0], "/");
    assert!(failed.is_err(), "{failed:?}");
    drop(strace);
    let closed = cluster.log().wait("server_closed", |_| true);
    assert_eq!(closed["server"], opened[0]["server"]);
    assert!(
        TcpStream::connect(addresses[0]).is_err(),
        "the door is closed"
    );
    assert_eq!(get(addresses[1], "/").unwrap().status, 200);
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.finish().code, Some(0));
}

#[test]
fn a_worker_that_stands_still_holds_up_nobody_else_and_loses_nothing() {
    let window = WINDOW_MAX.to_string();
    let launch = Launch::demo(2).with(["--window", &window]).with(PATIENT);
    let cluster = launch.ready();
    let workers = cluster.workers();
    // Whoever has just served stands last in the ring, so the other one is next.
    let served = get(cluster.address(), "/").unwrap().worker();
    let (stuck, pid) = workers.iter().find(|(id, _)| **id != served).unwrap();
    processes::freeze(*pid);
    let mut clients = Vec::new();
    // Each second one, until the stuck worker's window is full: it is handed no more then.
    for _ in 0..WINDOW_MAX {
        clients.extend(ask_many(cluster.address(), 1));
        assert_ne!(get(cluster.address(), "/").unwrap().worker(), *stuck);
    }
    for _ in 0..50 {
        let began = Instant::now();
        assert_ne!(get(cluster.address(), "/").unwrap().worker(), *stuck);
        assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    }
    processes::signal(*pid, Signal::CONT);
    for mut client in clients {
        assert_eq!(client.answer().unwrap().worker(), *stuck);
    }
    cluster.stop();
}

#[test]
fn a_full_channel_delays_its_connections_and_loses_none() {
    let patient = Limits {
        ack_timeout: Duration::ZERO,
        heartbeat_timeout: Duration::ZERO,
        ..Limits::default()
    };
    let cluster = LibraryCluster::with(|_| Settings::new().limits(patient));
    let (stuck, address) = cluster.fork_listening("test_worker", &["tcp:127.0.0.1:0"]);
    let (other, _) = cluster.fork_listening("test_worker", &["tcp:127.0.0.1:0"]);
    let pid = stuck.pid().unwrap();
    // Long messages fill the channel, and what the master keeps for it: handoffs wait behind.
    let long = "x".repeat(60_000);
    let before = others_p99s(&cluster, address);
    processes::freeze(pid);
    while cluster.wait(stuck.send(&long)).is_ok() {}
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.extend(ask_many(address, 1));
        assert_eq!(get(address, "/").unwrap().worker(), other.id());
    }
    assert_eq!(get(address, "/").unwrap().worker(), other.id());
    let beside = others_p99s(&cluster, address);
    processes::signal(pid, Signal::CONT);
    for mut client in clients {
        assert_eq!(client.answer().unwrap().worker(), stuck.id());
    }
    tell(&format!(
        "99 % of requests and snapshots within {before:?}, beside it {beside:?}"
    ));
    for (before, beside) in before.into_iter().zip(beside) {
        // In a short run the 99th of 100 is chance.
        assert!(
            !is_long() || beside <= before * 2 || beside <= MEASURABLE,
            "{beside:?}"
        );
    }
    cluster.stop();
}

/// What the master may stand still without anybody calling it so; less than a machine that
/// does other things can measure.
const MEASURABLE: Duration = Duration::from_millis(10);

/// Returns the time within which 99 of 100 requests are answered, and as many questions to the
/// thread that hands connections out: how long that stands still nobody else can tell.
fn others_p99s(cluster: &LibraryCluster, address: SocketAddr) -> [Duration; 2] {
    let time = |one: &dyn Fn()| {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..short_or_long(20, 2000) {
            let began = Instant::now();
            one();
            times.push(began.elapsed());
        }
        times.sort_unstable();
        times[times.len() * 99 / 100]
    };
    let request = || drop(get(address, "/").unwrap());
    let snapshot = || drop(cluster.wait(cluster.cluster().snapshot()).unwrap());
    [time(&request), time(&snapshot)]
}

/// A cluster that the kernel may refuse to pass on more descriptors, since it is not root's.
fn as_somebody(workers: usize, descriptors: usize) -> TestCluster {
    let mut words = vec![
        "prlimit".to_owned(),
        format!("--nofile={descriptors}:{descriptors}"),
    ];
    if geteuid().is_root() {
        // The kernel counts by user, over all processes: not nobody, who runs other tests.
        let user = "setpriv --reuid=65533 --regid=65533 --clear-groups --inh-caps=-all";
        words.extend(user.split(' ').map(str::to_owned));
    }
    let launch = Launch::demo(workers).with(["--window", &WINDOW_MAX.to_string()]);
    launch.with(PATIENT).through(words).ready()
}

#[test]
fn too_many_descriptors_in_flight_delay_a_connection_and_lose_none() {
    // One holds 192 in flight, which is more than the other may see: 128.
    let (hoarder, cluster) = (as_somebody(3, 1024), as_somebody(1, 128));
    let in_flight = 3 * WINDOW_MAX;
    let workers = hoarder.workers();
    workers.values().copied().for_each(processes::freeze);
    let before = processes::descriptors(hoarder.pid()).unwrap();
    let hoarded = ask_many(hoarder.address(), in_flight);
    wait_until("all that the windows allow are in flight", || {
        processes::descriptors(hoarder.pid()) == Some(before + in_flight)
    });

    let thread = processes::thread(cluster.pid(), DISPATCH_THREAD);
    let strace = Strace::attach(thread, &["trace=sendmsg,sendto"]);
    let clients = ask_many(cluster.address(), 50);
    wait_until("the kernel refuses to pass on more", || {
        strace.count("ETOOMANYREFS") >= 10
    });
    drop(strace);
    for pid in workers.into_values() {
        processes::signal(pid, Signal::CONT);
    }
    assert_all_answered(hoarded);
    assert_all_answered(clients);
    hoarder.stop();
    cluster.stop();
}

/// Connects and leaves at once, in the rudest way: with a reset.
fn call_and_reset(address: SocketAddr) {
    let stream = TcpStream::connect(address).unwrap();
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

#[test]
fn clients_that_leave_while_they_wait_cost_nothing() {
    /// At a time: fewer than the listener's queue holds.
    const CLIENTS: usize = 2000;
    let rounds = short_or_long(1, 9);
    let cluster = Launch::demo(2).with(PATIENT).ready();
    let workers = cluster.workers();
    let mut progress = Progress::of("rounds of clients that leave", rounds);
    for _ in 0..rounds {
        // In the listener's queue: nobody accepts.
        processes::freeze(cluster.pid());
        (0..CLIENTS).for_each(|_| call_and_reset(cluster.address()));
        processes::signal(cluster.pid(), Signal::CONT);
        get(cluster.address(), "/").unwrap();
        // Between accept and ack: the windows fill, and then the queue.
        workers.values().copied().for_each(processes::freeze);
        (0..CLIENTS).for_each(|_| call_and_reset(cluster.address()));
        for pid in workers.values() {
            processes::signal(*pid, Signal::CONT);
        }
        // And at whatever moment it happens to be.
        (0..CLIENTS).for_each(|_| call_and_reset(cluster.address()));
        get(cluster.address(), "/").unwrap();
        progress.step();
    }

    assert_all_answered(ask_many(cluster.address(), 10));
    assert_eq!(cluster.workers(), workers, "nobody died of it");
    for pid in workers.values() {
        // A listener, a channel, a runtime; no connection of somebody who has left.
        wait_until("the worker has let go of all of them", || {
            processes::descriptors(*pid).is_some_and(|count| count < 30)
        });
    }
    // Its end compares the master's descriptors with those of the beginning.
    cluster.stop();
}
