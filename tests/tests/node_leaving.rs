//! Node programs that leave: by themselves, or because they are told to.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::io::ErrorKind;
use std::net::TcpStream;

use maitred_tests::harness::client::{Client, get};
use maitred_tests::harness::{Launch, TestCluster, is_long, processes, wait_until};
use rustix::process::Signal;

/// Asks one after the other until another worker than that one answers.
fn ask_until_another_answers(cluster: &TestCluster, not: u32) {
    wait_until("an answer from the successor", || {
        let answer = get(cluster.address(), "/").unwrap();
        answer.worker().0 != not
    });
}

#[test]
fn while_the_only_node_worker_leaves_by_itself_clients_wait_and_none_is_refused() {
    let cluster = Launch::node("parts.js", 1).ready();
    // As its own signal handler does it.
    let mut slow = Client::connect(cluster.address()).unwrap();
    slow.ask("/slow", "close").unwrap();
    wait_until("it to be taken", || {
        !cluster.log().steps("acked").is_empty()
    });
    processes::signal(
        cluster.workers().into_values().next().unwrap(),
        Signal::TERM,
    );
    ask_until_another_answers(&cluster, 1);
    assert_eq!(slow.answer().unwrap().worker().0, 1);
    // As Node's own word for it does, with a request that keeps it for a while.
    slow = Client::connect(cluster.address()).unwrap();
    slow.ask("/slow", "close").unwrap();
    assert_eq!(get(cluster.address(), "/disconnect").unwrap().worker().0, 2);
    ask_until_another_answers(&cluster, 2);
    assert_eq!(slow.answer().unwrap().worker().0, 2);
    assert!(cluster.log().named("server_closed").is_empty());
    if is_long() {
        // Closed for good, it is closed in the end.
        get(cluster.address(), "/close").unwrap();
        cluster.log().wait("server_closed", |_| true);
        let refusal = TcpStream::connect(cluster.address()).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::ConnectionRefused);
    }
    cluster.signal(Signal::TERM);
    assert_eq!(cluster.finish().code, Some(0));
}

#[test]
fn a_node_worker_with_nothing_left_to_serve_gets_its_signal_before_the_drain_timeout() {
    let options = ["--env", "KEPT=1", "--kill-signal", "SIGINT"];
    // More than the test has patience for.
    let options = options.into_iter().chain(["--drain-timeout", "60s"]);
    let cluster = Launch::node("parts.js", 1).with(options).ready();
    let mut slow = Client::connect(cluster.address()).unwrap();
    slow.ask("/slow", "close").unwrap();
    wait_until("it to be taken", || {
        !cluster.log().steps("acked").is_empty()
    });
    cluster.signal(Signal::TERM);
    // It asks for one more server meanwhile. No answer is Node's; an error would be its end.
    assert_eq!(slow.answer().unwrap().status, 200);
    let finished = cluster.finish();
    assert_eq!(finished.code, Some(0));
    let exits = finished.log.named("exit");
    assert_eq!((exits.len(), &exits[0]["code"]), (1, &7.into()));
    for mishap in ["cut_at_deadline", "listen_failed"] {
        assert!(finished.log.named(mishap).is_empty(), "{mishap}");
    }
}
