//! What workers owe their clients when they leave.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use maitred::Outcome;

use crate::DEADLINE;
use crate::client::{get, try_get};
use crate::master::Master;
use crate::program::Program;

/// Clients that ask all the time.
const CLIENTS: usize = 8;

/// Times that workers come and go meanwhile, two by two. A worker that closes too early was
/// seen to lose one request in twenty drains, so that forty will show it.
const ROUNDS: usize = 20;

/// Asks until it is over; returns how many requests were lost.
fn client(address: &str, over: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let (address, over) = (address.to_owned(), Arc::clone(over));
    thread::spawn(move || {
        let mut lost = 0;
        while !over.load(Ordering::Relaxed) {
            let answer = try_get(&address, "/");
            lost += usize::from(!answer.starts_with("HTTP/1.1 200"));
        }
        lost
    })
}

async fn lose_nothing(lesson: &str) {
    let mut master = Master::run(lesson, "127.0.0.1:0").await;
    let over = Arc::new(AtomicBool::new(false));
    let clients = [(); CLIENTS].map(|()| client(&master.address, &over));
    for _ in 0..ROUNDS {
        for (workers, event) in [(4, "listening"), (2, "exit")] {
            master.cluster.scale(workers).await.unwrap();
            master.next(event).await;
            master.next(event).await;
        }
    }
    over.store(true, Ordering::Relaxed);
    let lost = clients.map(|client| client.join().unwrap());
    assert_eq!(lost, [0; CLIENTS]);
    master.stop().await;
}

#[tokio::test]
async fn axum_app_loses_no_request_while_workers_come_and_go() {
    lose_nothing("axum_app").await;
}

#[tokio::test]
async fn hyper_app_loses_no_request_while_workers_come_and_go() {
    lose_nothing("hyper_app").await;
}

#[test]
fn axum_app_answers_a_slow_request_although_it_is_asked_to_stop() {
    let program = Program::start("axum_app", "127.0.0.1:0");
    let address = program.after("listening on ");
    let client = thread::spawn(move || get(&address, "/slow/300"));
    program.line("a slow request has begun");
    program.stop();
    assert!(client.join().unwrap().ends_with("after 300 ms"));
}

#[tokio::test]
async fn tcp_echo_is_waited_for_while_a_client_speaks() {
    let mut master = Master::run("tcp_echo", "127.0.0.1:0").await;
    let mut client = TcpStream::connect(&master.address).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let lines = BufReader::new(client.try_clone().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("echo by "));

    let cluster = Arc::clone(&master.cluster);
    let speak = async {
        // One worker has nobody to wait for; the other one has us.
        master.next("exit").await;
        writeln!(client, "are you still there?").unwrap();
        assert_eq!(lines.next().unwrap(), "are you still there?");
        drop((client, lines));
        master.next("exit").await;
    };
    let (outcome, ()) = tokio::join!(cluster.shutdown(), speak);
    assert_eq!(outcome, Outcome::Done);
}
