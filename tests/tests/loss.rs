//! Workers that die, stop, spin or crash at every start: no connection is lost that no worker
//! had acked.
//!
//! Each load is judged by `maitred check-loss`, which holds the client's record against the
//! master's and checks the master's invariants, too.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use maitred::{Moment, WorkerId};
use maitred_tests::harness::client::get;
use maitred_tests::harness::{
    Beat, Bench, Changing, Finished, Launch, Log, Progress, TestCluster, is_long, number,
    processes, short_or_long, tell, torment, wait_for, wait_until, worker,
};
use rustix::process::Signal;
use serde_json::Value;

/// Puts a cluster under load for so long: one connection a request, and as many at a time as a
/// busy server has.
fn storm(cluster: &TestCluster, duration: &str) -> Bench {
    cluster.bench("/", &["-c", "64", "--close", "-d", duration])
}

/// Lets one test of this file run at a time. Beside a worker in an endless loop the others get
/// so little of a small machine that the master itself comes late.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Once is enough to see that something is wrong, and not that it is right.
fn runs() -> usize {
    short_or_long(1, 3)
}

/// Returns how long it took from the death of each worker that had listened until there was
/// one in its slot that did, shortest first.
fn respawns(log: &Log) -> Vec<Duration> {
    let (forks, listening) = (log.named("fork"), log.named("listening"));
    let slot = |id: &Value| {
        let fork = forks.iter().find(|fork| fork["worker"] == *id);
        fork.expect("who listens or dies was started")["slot"].clone()
    };
    let took = |exit: &Value| {
        let (worker, at) = (&exit["worker"], number(exit, "monotonic_ns"));
        listening.iter().find(|event| event["worker"] == *worker)?;
        let next = listening.iter().find(|event| {
            number(event, "monotonic_ns") > at && slot(&event["worker"]) == slot(worker)
        })?;
        Some(Duration::from_nanos(number(next, "monotonic_ns") - at))
    };
    let mut respawns: Vec<_> = log.named("exit").iter().filter_map(took).collect();
    respawns.sort_unstable();
    respawns
}

/// Returns the one below or at which 99 of 100 are, if there are any.
fn p99(sorted: &[Duration]) -> Duration {
    let found = sorted.get(sorted.len() * 99 / 100);
    found.copied().unwrap_or_default()
}

fn end(cluster: TestCluster) -> Finished {
    cluster.wait_for_workers(4);
    cluster.end()
}

#[test]
fn killing_workers_loses_no_connection_that_none_of_them_had_acked() {
    /// A respawn takes a tenth of it, so that there is always somebody to kill.
    const EVERY: Duration = Duration::from_millis(150);
    /// For half of them. It mostly holds for 99 of 100, too, but not where other programs keep
    /// all processors busy: everything takes its time there.
    const RESPAWN_MAX: Duration = Duration::from_millis(500);
    let _alone = alone();
    let (duration, connections_min) = short_or_long(("5s", 1000), ("60s", 300_000));
    for _ in 0..runs() {
        let cluster = Launch::demo(4).recorded().ready();
        let load = storm(&cluster, duration);
        let (record, kills) = torment(&cluster, load, Signal::KILL, EVERY);
        let master = end(cluster);
        let found = record.assert_nothing_lost(&master, connections_min);
        assert_eq!(record.figures["totals"]["timeout"], 0, "{found:#}");
        assert!(!kills.is_empty());
        let (failed, respawns) = (number(&found, "failed"), respawns(&master.log));
        let (median, most) = (respawns[respawns.len() / 2], p99(&respawns));
        tell(&format!(
            "{} kills, {} connections: {failed} failed, none of them un-acked; half of \
             the respawns within {median:?}, 99 % within {most:?}",
            kills.len(),
            number(&found, "joined")
        ));
        // A worker serves a quarter of them, if they are spread evenly.
        assert!(failed <= kills.len() as u64 * 64 / 4, "{found:#}");
        assert!(median <= RESPAWN_MAX, "{median:?}");
    }
}

#[test]
fn who_waits_for_a_stopped_worker_waits_no_longer_than_the_ack_timeout_and_a_little() {
    const EVERY: Duration = Duration::from_secs(2);
    const ACK_TIMEOUT: Duration = Duration::from_millis(250);
    /// For noticing, killing, reaping, and another worker's queue.
    const ROOM: Duration = Duration::from_millis(250);
    /// The ack timeout and 100 ms. It holds for half of the stops, as with respawns; for all of
    /// them there is what nobody may wait longer than.
    const NOTICED_MAX: Duration = Duration::from_millis(350);
    let _alone = alone();
    let (duration, connections_min) = short_or_long(("5s", 1000), ("60s", 100_000));
    let unfaulted_duration = short_or_long("5s", "20s");
    for _ in 0..runs() {
        let cluster = Launch::demo(4).with(["--ack-timeout", "250ms"]);
        let cluster = cluster.recorded().ready();
        let unfaulted = storm(&cluster, unfaulted_duration).finish();
        let load = storm(&cluster, duration);
        let (record, stops) = torment(&cluster, load, Signal::STOP, EVERY);
        wait_until("the end of every stopped worker", || {
            // The last may owe nothing yet: the load ended when it had just been stopped.
            get(cluster.address(), "/").unwrap();
            cluster.log().named("hung").len() >= stops.len()
        });
        // What else the machine does may change meanwhile, so the others are compared with
        // the worse of before and after.
        let after = is_long().then(|| storm(&cluster, unfaulted_duration).finish());
        let master = end(cluster);
        unfaulted.assert_all_answered(&master, 1000);
        let found = record.assert_nothing_lost(&master, connections_min);
        let bound = ACK_TIMEOUT + unfaulted.longest_connection() + ROOM;
        let worst = record.longest_connection();
        let noticed = noticed(&master.log, &stops);
        let (median, most) = (noticed[noticed.len() / 2], p99(&noticed));
        let after = after.map_or(0.0, |record| record.p99());
        let p99s = [unfaulted.p99().max(after), record.p99()];
        tell(&format!(
            "{} stops, {} connections: {} failed; worst {worst:?} of {bound:?}; noticed \
             within {median:?}, at most {most:?}; 99 % answered within {p99s:?} ms \
             without and with stops",
            stops.len(),
            number(&found, "joined"),
            number(&found, "failed"),
        ));
        assert!(
            worst <= bound,
            "{worst:?}, and at most {bound:?} was promised"
        );
        assert!(median <= NOTICED_MAX, "{median:?}");
        // Others feel nothing of it. In a short run those who wait are more than one of 100.
        assert!(!is_long() || p99s[1] <= 2.0 * p99s[0], "{p99s:?}");
    }
}

/// Returns how long it took until each stopped worker was found to hang, shortest first. The
/// last one is left out: when it was stopped, the load ended.
fn noticed(log: &Log, stops: &[(WorkerId, Moment)]) -> Vec<Duration> {
    let hung = log.named("hung");
    let took = |(stopped, at): &(WorkerId, Moment)| {
        let event = hung.iter().find(|event| worker(event) == *stopped);
        let event = event.expect("all of them were found");
        Duration::from_nanos(number(event, "monotonic_ns").saturating_sub(at.0))
    };
    let but_the_last = &stops[..stops.len() - 1];
    let mut noticed: Vec<_> = but_the_last.iter().map(took).collect();
    noticed.sort_unstable();
    noticed
}

#[test]
fn a_worker_in_an_endless_loop_is_replaced_and_costs_no_other_client_anything() {
    const ROOM: Duration = Duration::from_secs(1);
    let _alone = alone();
    let (timeout, load) = short_or_long(("1s", "3s"), ("5s", "8s"));
    let timeout_max = short_or_long(Duration::from_secs(1), Duration::from_secs(5)) + ROOM;
    let cluster = Launch::demo(4).with(["--heartbeat-timeout", timeout]);
    let cluster = cluster.recorded().ready();
    let address = cluster.address();
    let spinning = thread::spawn(move || {
        let began = Instant::now();
        get(address, "/spin").expect_err("nobody answers");
        began.elapsed()
    });
    // One at a time, so that none shares its worker with the spinning one by chance.
    let load = cluster.bench("/", &["-c", "1", "--close", "-d", load]);
    let took = spinning.join().unwrap();
    tell(&format!(
        "a worker in an endless loop was gone after {took:?}"
    ));
    assert!(took <= timeout_max, "{took:?}");
    let record = load.finish();
    let hung = cluster.log().wait("hung", |_| true);
    assert_eq!(hung["sign"], "no_pong", "{hung}");
    record.assert_all_answered(&end(cluster), 100);
}

#[test]
fn a_worker_that_computes_for_long_is_left_alone_even_when_it_owes_acks() {
    /// Two seconds or so of a build without optimisation; with it still longer than the
    /// timeout that would end a worker which sleeps.
    const TURNS: u64 = 400_000_000;
    /// More than the default of the ack timeout.
    const LONG: u64 = 8;
    let _alone = alone();
    let mut launch = Launch::demo(2);
    if is_long() {
        let turns = TURNS.saturating_mul(LONG * 1000) / millis_for(TURNS);
        launch = launch.with(["--work", &turns.to_string()]);
    } else {
        launch = launch.with(["--work", &TURNS.to_string(), "--ack-timeout", "100ms"]);
    }
    let cluster = launch.ready();
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

/// Returns how many milliseconds a worker computes for an answer that takes so many turns.
fn millis_for(turns: u64) -> u64 {
    let cluster = Launch::demo(1).with(["--work", &turns.to_string()]).ready();
    let began = Instant::now();
    get(cluster.address(), "/").unwrap();
    let took = began.elapsed();
    cluster.stop();
    u64::try_from(took.as_millis()).unwrap().max(1)
}

#[test]
fn a_program_that_never_comes_up_is_started_ever_more_rarely() {
    let _alone = alone();
    // Waits of 100 ms, twice that, and so on to 15 s: so many starts fit into this time, and
    // no more than this may.
    let (watched, starts_max) = short_or_long((3, 6), (60, 12));
    let program = Changing::new();
    let worker = ["-i", "1", "--stay", "--", "tcp:127.0.0.1:0"];
    let cluster = Launch::run([program.path()]).with(worker).ready();
    let others = TestCluster::demo(1);
    program.become_script("exit 1");
    let before = cluster.log().named("fork").len();
    let used = processes::processor_time(cluster.pid());
    for pid in cluster.workers().into_values() {
        processes::signal(pid, Signal::KILL);
    }
    let mut progress = Progress::of("seconds of a crash loop", watched);
    let mut beat = Beat::every(Duration::from_secs(1));
    for _ in 0..watched {
        beat.wait();
        get(others.address(), "/").unwrap();
        progress.step();
    }
    let used = processes::processor_time(cluster.pid()) - used;
    let starts = cluster.log().named("fork").len() - before;
    tell(&format!(
        "{starts} starts in {watched} s, {used:?} of a processor"
    ));
    assert!((2..=starts_max).contains(&starts), "{starts} starts");
    let watched = Duration::from_secs(watched as u64);
    // And a tick for each start, by which the kernel counts: few seconds have few of them.
    let ticks = Duration::from_millis(10) * u32::try_from(starts).unwrap();
    assert!(used <= watched / 50 + ticks, "more than 2 %: {used:?}");

    program.mend();
    cluster.obey(&["restart"]);
    cluster.wait_for_workers(1);
    others.stop();
    cluster.stop();
}

#[test]
fn a_program_that_stops_coming_up_is_given_up_and_comes_back_once_it_is_mended() {
    const WORKERS: usize = 2;
    /// Of the time for which it is looked at: 2 %, and what was still being done when it began,
    /// as the kernel counts it: in ticks of 10 ms.
    const BUSY_MAX: u32 = 50;
    const SETTLES: Duration = Duration::from_millis(40);
    let _alone = alone();
    let watched = short_or_long(Duration::from_secs(1), Duration::from_secs(10));
    let program = Changing::new();
    let cluster = Launch::run([program.path()])
        .with(["-i", "2", "--stay"])
        .with(["--max-boot-failures", "3", "--backoff-initial", "20ms"])
        .with(["--", "tcp:127.0.0.1:0"])
        .ready();
    let address = cluster.address();
    get(address, "/").unwrap();

    // It lives on for a moment, so that its line is read before its end is known.
    program.become_script("echo it is broken; sleep 0.05; exit 1");
    for pid in cluster.workers().into_values() {
        processes::signal(pid, Signal::KILL);
    }
    for errored in cluster.log().wait_count("errored", WORKERS) {
        let said = errored["last_lines"][0].as_str().unwrap_or_default();
        assert!(said.ends_with("it is broken"), "{errored}");
        assert_eq!(
            (&errored["code"], &errored["failures"]),
            (&1.into(), &3.into())
        );
    }
    cluster.log().wait_count("server_closed", 1);
    let refusal = TcpStream::connect(address).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::ConnectionRefused);
    let before = processes::processor_time(cluster.pid());
    Beat::every(watched).wait();
    let used = processes::processor_time(cluster.pid()) - before;
    assert!(
        used <= watched / BUSY_MAX + SETTLES,
        "{used:?} in {watched:?}"
    );

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
