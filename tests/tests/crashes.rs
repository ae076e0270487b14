//! Workers that die at the worst moment: no client notices but the one they were serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use maitred_tests::harness::client::{Answer, get};
use maitred_tests::harness::{TestCluster, processes, wait_until, worker};
use rustix::process::Signal;

#[test]
fn of_a_thousand_requests_of_which_each_fiftieth_crashes_a_worker_none_fails() {
    let cluster = TestCluster::demo(4);
    for number in 1..=1000 {
        let path = if number % 50 == 0 { "/crash" } else { "/" };
        let answer = get(cluster.address(), path);
        let answer = answer.unwrap_or_else(|error| panic!("request {number}: {error}"));
        assert_eq!(answer.status, 200, "request {number}");
    }
    // The last one may still be dying.
    let crashed = cluster.log().wait_count("exit", 20);
    assert_eq!(crashed.len(), 20);
    assert!(
        crashed.iter().all(|event| event["code"] == 1),
        "{crashed:?}"
    );
    cluster.wait_for_workers(4);
    cluster.stop();
}

#[test]
fn a_handler_that_panics_ends_its_worker_and_costs_its_own_client_only() {
    let cluster = TestCluster::demo(2);
    get(cluster.address(), "/throw").expect_err("nobody answers");
    cluster.log().wait("exit", |_| true);
    for _ in 0..10 {
        get(cluster.address(), "/").unwrap();
    }
    cluster.wait_for_workers(2);
    cluster.stop();
}

#[test]
fn what_a_stopped_worker_was_handed_is_answered_by_others_once_it_is_killed() {
    const CLIENTS: usize = 64;
    // The default window: so many wait in the stopped worker, un-acked.
    const WINDOW: usize = maitred::WINDOW as usize;
    let cluster = TestCluster::demo(4);
    let (&stopped, &pid) = cluster.workers().first_key_value().unwrap();
    processes::freeze(pid);

    let (address, answered) = (cluster.address(), Arc::new(AtomicUsize::new(0)));
    let ask = |_| {
        let answered = answered.clone();
        thread::spawn(move || -> Answer {
            let answer = get(address, "/whoami").unwrap();
            answered.fetch_add(1, Ordering::SeqCst);
            answer
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(ask).collect();
    wait_until(
        "answers to all but those that wait in the stopped worker",
        || answered.load(Ordering::SeqCst) == CLIENTS - WINDOW,
    );
    processes::signal(pid, Signal::KILL);
    for client in clients {
        assert_ne!(client.join().unwrap().worker(), stopped);
    }
    let exit = cluster.log().wait("exit", |event| worker(event) == stopped);
    assert_eq!(exit["signal"], 9);
    cluster.wait_for_workers(4);
    cluster.stop();
}

#[test]
fn killing_workers_under_load_costs_what_they_had_acked_and_no_more() {
    const KILLS: usize = 5;
    const CLIENTS: usize = 8;
    let cluster = TestCluster::demo(4);
    let (address, running) = (cluster.address(), Arc::new(()));
    let answered = Arc::new(AtomicUsize::new(0));
    let load = |_| {
        let (running, answered) = (Arc::downgrade(&running), answered.clone());
        thread::spawn(move || {
            let mut failures = 0;
            while running.strong_count() > 0 {
                match get(address, "/") {
                    Ok(_) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                    Err(_) => failures += 1,
                }
            }
            failures
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(load).collect();
    for kill in 1..=KILLS {
        let before = answered.load(Ordering::SeqCst);
        wait_until("a load", || {
            answered.load(Ordering::SeqCst) > before + 10 * CLIENTS
        });
        let (_, &pid) = cluster.workers().first_key_value().unwrap();
        processes::signal(pid, Signal::KILL);
        cluster.log().wait_count("exit", kill);
        cluster.wait_for_workers(4);
    }
    drop(running);
    let failures: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    // Of eight clients a worker serves two at a time on the average. (That none is lost which
    // was not acked is shown by the tests that know which were: with stopped workers here,
    // and with hostile ones.)
    assert!(failures <= KILLS * CLIENTS / 2, "{failures} failed");
    cluster.stop();
}
