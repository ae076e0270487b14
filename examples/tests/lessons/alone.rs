//! Lessons that run in one process, with no master.

use std::collections::BTreeSet;

use crate::client::{datagram, echo, get, get_unix, number};
use crate::program::Program;

/// Starts a lesson; returns it with its address.
fn start(lesson: &str) -> (Program, String) {
    let program = Program::start(lesson, "127.0.0.1:0");
    let address = program.after("listening on ");
    (program, address)
}

fn pid(program: &Program) -> i32 {
    program.pid().as_raw_nonzero().get()
}

#[test]
fn http_server_answers_from_one_process() {
    let (program, address) = start("http_server");
    for _ in 0..2 {
        let answer = get(&address, "/some/path");
        assert_eq!(answer, format!("GET /some/path, says {}", pid(&program)));
    }
    program.stop();
}

#[test]
fn axum_app_runs_without_a_master() {
    let (program, address) = start("axum_app");
    assert_eq!(number(&get(&address, "/")), pid(&program));
    program.stop();
}

#[test]
fn hyper_app_runs_without_a_master() {
    let (program, address) = start("hyper_app");
    assert_eq!(number(&get(&address, "/")), pid(&program));
    program.stop();
}

#[test]
fn tcp_echo_runs_without_a_master() {
    let (program, address) = start("tcp_echo");
    assert_eq!(number(&echo(&address, "is anybody there?")), pid(&program));
    program.stop();
}

#[test]
fn udp_shared_runs_without_a_master() {
    let (program, address) = start("udp_shared");
    let answer = format!("{} says hello", pid(&program));
    assert_eq!(datagram(&address, "hello\n"), answer);
    program.stop();
}

#[test]
fn reuseport_has_the_kernel_spread_clients_over_processes() {
    let (first, address) = start("reuseport");
    assert_eq!(number(&get(&address, "/pid")), pid(&first));
    let second = Program::start("reuseport", &address);
    second.line("listening on ");
    // By a hash of the client's address: that all of so many hit one is next to impossible.
    let met: BTreeSet<i32> = (0..64).map(|_| number(&get(&address, "/pid"))).collect();
    assert_eq!(met, BTreeSet::from([pid(&first), pid(&second)]));
    assert_eq!(get(&address, "/"), "ok");
    first.stop();
    second.stop();
}

#[test]
fn unix_socket_greets_and_takes_its_file_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lesson.sock");
    let program = Program::start("unix_socket", path.to_str().unwrap());
    let address = program.after("listening on ");
    let answer = get_unix(&address);
    assert!(answer.ends_with("greets a neighbour\n"), "{answer:?}");
    program.stop();
    assert!(!path.exists());
}

#[test]
fn round_robin_by_hand_ends_by_itself() {
    let program = Program::start("round_robin_by_hand", "");
    program.line("== three workers, window 1 ==");
    program.line("-> hand c0 to w1");
    program.line("-> hand c1 to w2");
    program.line("== three workers, window 2 ==");
    program.end();
}
