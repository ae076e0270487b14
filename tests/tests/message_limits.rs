//! How long messages to workers may be, and how much of them may wait for one that does not read.

use maitred::{Dialect, LINE_MAX, MESSAGE_MAX, SendError, Settings, Worker};
use maitred_tests::harness::{LibraryCluster, processes, wait_until};
use rustix::process::Signal;

/// Long enough not to fit into any socket's buffer, in bytes.
const LONG: usize = 800_000;

/// What may wait for one worker, in bytes, and how many long messages that makes.
const WAITING_MAX: usize = 16 << 20;
const LONG_MAX: usize = WAITING_MAX / LONG;

/// A Node program that sends back what it is sent, as `{"echo": …}`.
const PROGRAM: &str = "messages.js";

#[test]
fn each_kind_of_worker_has_its_own_longest_message() {
    const MAX: usize = 1 << 20;
    let cluster = LibraryCluster::start();
    let native = cluster.fork("test_worker", &[]);
    let default = cluster.fork_node(PROGRAM);
    let short = cluster.fork_as(Settings::new().line_max(MAX));
    let limits = [&native, &default, &short].map(Worker::message_max);
    assert_eq!(limits, [MESSAGE_MAX, LINE_MAX, MAX]);
    // Two bytes are its quotes; the echo must fit, too.
    let fits = "x".repeat(MAX - 2 - "{\"echo\":}".len());
    cluster.wait(short.send(&fits)).unwrap();
    cluster.message(&short, |message| message["echo"] == fits);
    let longer = "x".repeat(MAX - 1);
    let error = cluster.wait(short.send(&longer)).unwrap_err();
    let expected = SendError::TooLong {
        worker: short.id(),
        len: MAX + 1,
        max: MAX,
    };
    assert_eq!(error, expected);
    assert!(error.to_string().contains(&MAX.to_string()), "{error}");
    // To one that is allowed more it goes.
    cluster.wait(default.send(&longer)).unwrap();
    cluster.message(&default, |message| message["echo"] == longer);
    cluster.stop();
}

/// Sends long messages until no more are taken, and returns how many were.
fn fill(cluster: &LibraryCluster, worker: &Worker) -> usize {
    let long = "x".repeat(LONG - 2);
    // Twice as many as may wait.
    let taken = (0..2 * LONG_MAX).take_while(|_| match cluster.wait(worker.send(&long)) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error, SendError::QueueFull(worker.id()));
            false
        }
    });
    taken.count()
}

#[test]
fn what_waits_for_a_node_worker_that_does_not_read_is_bounded_in_bytes() {
    let cluster = LibraryCluster::start();
    let worker = cluster.fork_node(PROGRAM);
    cluster.log().wait_count("listening", 1);
    let pid = worker.pid().unwrap();
    processes::signal(pid, Signal::STOP);
    wait_until("the worker to stand still", || {
        processes::state(pid) == Some('T')
    });
    assert_eq!(fill(&cluster, &worker), LONG_MAX);
    // What is short enough still is taken.
    cluster.wait(worker.send(&"short")).unwrap();
    processes::signal(pid, Signal::CONT);
    cluster.message(&worker, |message| message["echo"] == "short");
    assert_eq!(cluster.log().named("message").len(), LONG_MAX + 1);
    cluster.stop();
}

#[test]
fn what_waits_for_a_node_worker_that_has_not_greeted_is_bounded_in_bytes() {
    let cluster = LibraryCluster::start();
    // It is spoken to in Node's language, and will never answer.
    let mute = Settings::new().exec("sleep").args(["1000"]);
    let worker = cluster.fork_as(mute.dialect(Dialect::Node));
    assert_eq!(fill(&cluster, &worker), LONG_MAX);
    cluster.wait(worker.kill(Signal::KILL.as_raw()));
    cluster.exit_as(&worker, None, Some(Signal::KILL.as_raw()), false);
    cluster.stop();
}

#[test]
fn a_message_that_is_longer_than_all_that_may_wait_passes_alone() {
    let cluster = LibraryCluster::with(|_| Settings::new().line_max(2 * WAITING_MAX));
    let worker = cluster.fork_node(PROGRAM);
    let long = "x".repeat(WAITING_MAX + 1);
    cluster.wait(worker.send(&long)).unwrap();
    cluster.message(&worker, |message| message["echo"] == long);
    cluster.stop();
}
