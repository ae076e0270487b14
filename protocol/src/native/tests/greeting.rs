//! The first frame each way is the greeting, once, and it finds out whether the two agree.

use super::{bytes_of, ends, master_and_raw_worker, send_raw, welcome, worker_and_raw_master};
use crate::ChannelError;
use crate::message::{MasterToWorker, Welcome, WorkerToMaster};
use crate::version::PROTOCOL_VERSION;

const OTHER: u16 = PROTOCOL_VERSION + 6;

fn names_both_versions(refusal: &ChannelError, worker: u16, master: u16) {
    let text = refusal.to_string();
    assert!(
        text.contains(&format!("worker speaks version {worker},")),
        "{text}"
    );
    assert!(
        text.contains(&format!("master version {master};")),
        "{text}"
    );
    assert!(refusal.is_breach());
}

#[tokio::test]
async fn a_worker_of_another_version_is_told_apart() {
    let (_master, mut inbox, worker) = master_and_raw_worker();
    let hello = WorkerToMaster::Hello {
        version: OTHER,
        pid: 1,
    };
    send_raw(&worker, &bytes_of(&hello), &[]).unwrap();
    let refusal = inbox.receive().await.unwrap_err();
    names_both_versions(&refusal, OTHER, PROTOCOL_VERSION);
}

#[tokio::test]
async fn a_master_of_another_version_is_told_apart() {
    let (_worker, mut inbox, master) = worker_and_raw_master();
    let other = Welcome {
        version: OTHER,
        ..welcome()
    };
    send_raw(&master, &bytes_of(&MasterToWorker::Welcome(other)), &[]).unwrap();
    let refusal = inbox.receive().await.unwrap_err();
    names_both_versions(&refusal, PROTOCOL_VERSION, OTHER);
}

#[tokio::test]
async fn a_first_frame_that_is_no_hello_is_refused() {
    let (_master, mut inbox, worker) = master_and_raw_worker();
    send_raw(&worker, &bytes_of(&WorkerToMaster::Online), &[]).unwrap();
    let refusal = inbox.receive().await.unwrap_err();
    assert!(matches!(refusal, ChannelError::Greeting(_)));
}

#[tokio::test]
async fn a_first_frame_that_is_no_welcome_is_refused() {
    let (_worker, mut inbox, master) = worker_and_raw_master();
    send_raw(&master, &bytes_of(&MasterToWorker::Disconnect), &[]).unwrap();
    let refusal = inbox.receive().await.unwrap_err();
    assert!(matches!(refusal, ChannelError::Greeting(_)));
}

#[tokio::test]
async fn a_refused_greeting_does_not_count_as_one() {
    let (_worker, mut inbox, master) = worker_and_raw_master();
    for _ in 0..2 {
        send_raw(&master, &bytes_of(&MasterToWorker::Disconnect), &[]).unwrap();
        let refusal = inbox.receive().await.unwrap_err();
        assert!(matches!(refusal, ChannelError::Greeting(_)));
    }
}

#[tokio::test]
async fn hello_twice_is_refused() {
    let mut ends = ends();
    ends.worker.hello().unwrap();
    let refusal = ends.from_worker.receive().await.unwrap_err();
    assert!(matches!(refusal, ChannelError::Greeting(_)));
}

#[tokio::test]
async fn welcome_twice_is_refused() {
    let mut ends = ends();
    ends.master.welcome(welcome()).unwrap();
    let refusal = ends.from_master.receive().await.unwrap_err();
    assert!(matches!(refusal, ChannelError::Greeting(_)));
}
