//! Workers that die, stop, spin or crash at every start: no connection is lost that no worker
//! had acked.
//!
//! Each load is judged by `maitred check-loss`, which holds the client's record against the
//! master's and checks the master's invariants, too.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use maitred_tests::harness::client::get;
use maitred_tests::harness::{
    Beat, Bench, Changing, Finished, Launch, Record, TestCluster, number, processes, wait_for,
    wait_until,
};
use rustix::process::Signal;

/// How long a load lasts, and what it must come to. Short, it is as long as two faults of the
/// rarer kind take. Long, it is as many connections as the project promises, in twice the time
/// that it says for them: a build without optimisation serves a tenth of what others do.
struct Length {
    runs: usize,
    duration: &'static str,
    connections_min: u64,
}

fn length() -> Length {
    if std::env::var_os("MAITRED_LONG").is_some() {
        Length {
            runs: 3,
            duration: "60s",
            connections_min: 100_000,
        }
    } else {
        Length {
            runs: 1,
            duration: "5s",
            connections_min: 1000,
        }
    }
}

/// One connection a request, and as many at a time as a busy server has.
fn storm(cluster: &TestCluster, length: &Length) -> Bench {
    cluster.bench("/", &["-c", "64", "--close", "-d", length.duration])
}

/// Sends a signal to one worker after the other, wherever it is in its life, until the load
/// ends; returns how many had it.
fn torment(
    cluster: &TestCluster,
    mut load: Bench,
    fault: Signal,
    every: Duration,
) -> (Record, u64) {
    let (mut beat, mut victims) = (Beat::every(every), 0);
    loop {
        beat.wait();
        if !load.is_running() {
            break;
        }
        let workers = cluster.workers();
        // Every slot comes by turns; which request it hits is chance enough.
        let place = usize::try_from(victims).unwrap() % workers.len().max(1);
        let Some(&pid) = workers.values().nth(place) else {
            continue;
        };
        // It may have died just now of the last fault.
        if processes::state(pid).is_some_and(|state| state != 'Z') {
            processes::signal(pid, fault);
            victims += 1;
        }
    }
    (load.finish(), victims)
}

fn end(cluster: TestCluster) -> Finished {
    cluster.wait_for_workers(4);
    cluster.end()
}

#[test]
fn killing_workers_loses_no_connection_that_none_of_them_had_acked() {
    /// A respawn takes a tenth of it, so that there is always somebody to kill.
    const EVERY: Duration = Duration::from_millis(150);
    let length = length();
    for _ in 0..length.runs {
        let cluster = Launch::demo(4).recorded().ready();
        let load = storm(&cluster, &length);
        let (record, kills) = torment(&cluster, load, Signal::KILL, EVERY);
        let master = end(cluster);
        let found = record.assert_nothing_lost(&master, length.connections_min);
        assert_eq!(record.figures["totals"]["timeout"], 0, "{found:#}");
        assert!(kills > 0);
    }
}

#[test]
fn who_waits_for_a_stopped_worker_waits_no_longer_than_the_ack_timeout_and_a_little() {
    const EVERY: Duration = Duration::from_secs(2);
    const ACK_TIMEOUT: Duration = Duration::from_millis(250);
    /// For noticing, killing, reaping, and another worker's queue.
    const ROOM: Duration = Duration::from_millis(250);
    let length = length();
    for _ in 0..length.runs {
        let cluster = Launch::demo(4).with(["--ack-timeout", "250ms"]);
        let cluster = cluster.recorded().ready();
        let unfaulted = storm(&cluster, &length).finish();
        let load = storm(&cluster, &length);
        let (record, stops) = torment(&cluster, load, Signal::STOP, EVERY);
        wait_until("the end of every stopped worker", || {
            // The last may owe nothing yet: the load ended when it had just been stopped.
            get(cluster.address(), "/").unwrap();
            cluster.log().named("hung").len() as u64 >= stops
        });
        let master = end(cluster);
        unfaulted.assert_all_answered(&master, length.connections_min);
        record.assert_nothing_lost(&master, length.connections_min);
        let bound = ACK_TIMEOUT + unfaulted.longest_connection() + ROOM;
        let worst = record.longest_connection();
        assert!(
            worst <= bound,
            "{worst:?}, and at most {bound:?} was promised"
        );
    }
}

#[test]
fn a_worker_in_an_endless_loop_is_replaced_and_costs_no_other_client_anything() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    const ROOM: Duration = Duration::from_secs(1);
    let cluster = Launch::demo(4).with(["--heartbeat-timeout", "1s"]);
    let cluster = cluster.recorded().ready();
    let address = cluster.address();
    let spinning = thread::spawn(move || {
        let began = Instant::now();
        get(address, "/spin").expect_err("nobody answers");
        began.elapsed()
    });
    // One at a time, so that none shares its worker with the spinning one by chance.
    let load = cluster.bench("/", &["-c", "1", "--close", "-d", "3s"]);
    let took = spinning.join().unwrap();
    assert!(took <= TIMEOUT + ROOM, "{took:?}");
    let record = load.finish();
    let hung = cluster.log().wait("hung", |_| true);
    assert_eq!(hung["sign"], "no_pong", "{hung}");
    record.assert_all_answered(&end(cluster), 100);
}

#[test]
fn a_worker_that_computes_for_long_is_left_alone_even_when_it_owes_acks() {
    /// Two seconds or so of a build without optimisation; with it still longer than the
    /// timeout that would end a worker which sleeps.
    const TURNS: &str = "400000000";
    let arguments = ["--work", TURNS, "--ack-timeout", "100ms"];
    let cluster = Launch::demo(2).with(arguments).ready();
    let address = cluster.address();
    // More than there are workers, so that some wait un-acked behind the busy ones.
    let clients: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || get(address, "/").unwrap().status))
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), 200);
    }
    let log = cluster.log();
    assert!(log.named("hung").is_empty() && log.named("exit").is_empty());
    cluster.stop();
}

#[test]
fn a_program_that_stops_coming_up_is_given_up_and_comes_back_once_it_is_mended() {
    const WORKERS: usize = 2;
    /// Hundredths of a second of a processor, in one second: 2 %.
    const TICKS_MAX: u64 = 2;
    let program = Changing::new();
    let cluster = Launch::run([program.path()])
        .with(["-i", "2", "--stay"])
        .with(["--max-boot-failures", "3", "--backoff-initial", "20ms"])
        .with(["--", "tcp:127.0.0.1:0"])
        .ready();
    let address = cluster.address();
    get(address, "/").unwrap();

    program.become_script("echo it is broken; exit 1");
    for pid in cluster.workers().into_values() {
        processes::signal(pid, Signal::KILL);
    }
    cluster.log().wait_count("errored", WORKERS);
    cluster.log().wait_count("server_closed", 1);
    let refusal = TcpStream::connect(address).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::ConnectionRefused);
    let before = processes::processor_ticks(cluster.pid()).unwrap();
    Beat::every(Duration::from_secs(1)).wait();
    let after = processes::processor_ticks(cluster.pid()).unwrap();
    assert!(after - before <= TICKS_MAX, "{} %", after - before);

    program.mend();
    cluster.obey(&["restart"]);
    let opened = cluster.log().wait_count("server_opened", 2);
    let address = opened[1]["address"].as_str().unwrap().parse().unwrap();
    wait_for("an answer", || get(address, "/").ok());
    // The crash loop was as long as it was told to be: three starts a slot and no more.
    let failed = cluster.log().named("exit");
    let failed = failed.iter().filter(|event| event["code"] == 1).count();
    assert_eq!(failed, WORKERS * 3);
    assert!(number(&opened[1], "server") > number(&opened[0], "server"));
    cluster.wait_for_workers(WORKERS);
    drop(cluster.end());
}
