//! Lessons that are workers, under a master.

use std::collections::BTreeSet;

use crate::client::{datagram, echo, get, get_unix, number};
use crate::master::Master;

/// Checks that two workers take turns, and returns once the master is gone.
async fn take_turns(master: Master, ask: impl Fn(&str) -> String) {
    let pids = master.pids().await;
    let turns: Vec<i32> = (0..6).map(|_| number(&ask(&master.address))).collect();
    assert_eq!(turns.iter().copied().collect::<BTreeSet<_>>(), pids);
    assert!(turns.windows(2).all(|pair| pair[0] != pair[1]), "{turns:?}");
    master.stop().await;
}

#[tokio::test]
async fn axum_app_takes_turns() {
    let master = Master::run("axum_app", "127.0.0.1:0").await;
    take_turns(master, |address| get(address, "/")).await;
}

#[tokio::test]
async fn hyper_app_takes_turns() {
    let master = Master::run("hyper_app", "127.0.0.1:0").await;
    take_turns(master, |address| get(address, "/")).await;
}

#[tokio::test]
async fn http_server_takes_turns() {
    let master = Master::run("http_server", "127.0.0.1:0").await;
    take_turns(master, |address| get(address, "/")).await;
}

#[tokio::test]
async fn tcp_echo_takes_turns() {
    let master = Master::run("tcp_echo", "127.0.0.1:0").await;
    take_turns(master, |address| echo(address, "hello")).await;
}

#[tokio::test]
async fn unix_socket_takes_turns() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lesson.sock");
    let master = Master::run("unix_socket", path.to_str().unwrap()).await;
    let socket = path.to_str().unwrap();
    let pid = |_: &str| {
        get_unix(socket)
            .split_once("\r\n\r\n")
            .unwrap()
            .1
            .to_owned()
    };
    take_turns(master, pid).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn udp_shared_answers_from_whichever_worker() {
    let master = Master::run("udp_shared", "127.0.0.1:0").await;
    let pids = master.pids().await;
    for _ in 0..6 {
        assert!(pids.contains(&number(&datagram(&master.address, "hello"))));
    }
    master.stop().await;
}
