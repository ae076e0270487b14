//! What happens when one side is faster than the other.

use std::time::Duration;

use tokio::time::timeout;

use super::super::Encoded;
use super::{Ends, ends};
use crate::message::{MasterToWorker, UserMessage, WorkerToMaster};
use crate::{ChannelError, HandoffId};

/// A wake-up takes microseconds; the rest is room for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fills the channel from the master's side; returns how many frames went in.
fn fill(ends: &Ends, frame: &Encoded) -> usize {
    for sent in 0.. {
        match ends.master.send(frame, &[]) {
            Ok(()) => {}
            Err(ChannelError::Full) => return sent,
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!("a channel has a bound")
}

async fn a_full_channel_wakes_its_sender(frame: &Encoded) {
    let mut ends = ends();
    for _ in 0..3 {
        let sent = fill(&ends, frame);
        assert!(sent > 1, "only {sent} frames fit");
        tokio::select! {
            biased;
            _ = ends.master.writable() => panic!("a full channel is said to be writable"),
            () = tokio::task::yield_now() => {}
        }
        let sender = ends.master.clone();
        let woken = tokio::spawn(async move { sender.writable().await });
        tokio::task::yield_now().await;
        for _ in 0..sent {
            ends.from_master.receive().await.unwrap();
        }
        timeout(PATIENCE, woken).await.unwrap().unwrap().unwrap();
        ends.master.send(frame, &[]).unwrap();
        ends.from_master.receive().await.unwrap();
    }
}

#[tokio::test]
async fn a_channel_full_of_long_frames_wakes_its_sender() {
    let json = "x".repeat(60_000);
    let message = MasterToWorker::User(UserMessage { json });
    a_full_channel_wakes_its_sender(&Encoded::new(&message).unwrap()).await;
}

#[tokio::test]
async fn a_channel_full_of_short_frames_wakes_its_sender() {
    let message = MasterToWorker::Ping { nonce: 1 };
    a_full_channel_wakes_its_sender(&Encoded::new(&message).unwrap()).await;
}

#[tokio::test]
async fn a_full_channel_does_not_stop_the_other_direction() {
    let mut ends = ends();
    fill(&ends, &Encoded::new(&MasterToWorker::Disconnect).unwrap());
    let handoff = HandoffId(1);
    ends.worker.ack(handoff).unwrap();
    assert_eq!(
        ends.from_worker.receive().await.unwrap(),
        WorkerToMaster::Ack { handoff }
    );
}

#[tokio::test]
async fn a_sender_that_waits_learns_that_the_peer_is_gone() {
    let Ends {
        master,
        from_worker: _from_worker,
        worker,
        from_master,
    } = {
        let ends = ends();
        fill(&ends, &Encoded::new(&MasterToWorker::Disconnect).unwrap());
        ends
    };
    let sender = master.clone();
    let woken = tokio::spawn(async move { sender.writable().await });
    tokio::task::yield_now().await;
    drop((worker, from_master));
    timeout(PATIENCE, woken).await.unwrap().unwrap().unwrap();
    let frame = Encoded::new(&MasterToWorker::Disconnect).unwrap();
    assert!(matches!(
        master.send(&frame, &[]),
        Err(ChannelError::PeerGone)
    ));
}

#[tokio::test]
async fn a_receive_that_is_given_up_loses_nothing() {
    let mut ends = ends();
    for round in 0..100 {
        tokio::select! {
            biased;
            message = ends.from_worker.receive() => panic!("{message:?} was never sent"),
            () = tokio::task::yield_now() => {}
        }
        let handoff = HandoffId(round);
        ends.worker.ack(handoff).unwrap();
        assert_eq!(
            ends.from_worker.receive().await.unwrap(),
            WorkerToMaster::Ack { handoff }
        );
    }
}
