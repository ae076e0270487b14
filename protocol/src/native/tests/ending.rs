//! How a channel ends, and what must still be read before it has ended.

use super::super::codec::FRAME_MAX;
use super::super::{MasterInbox, WorkerEnd, WorkerInbox};
use super::{
    Ends, bytes_of, ends, master_and_raw_worker, send_raw, welcome, worker_and_raw_master,
};
use crate::message::{MasterToWorker, UserMessage, WorkerToMaster};
use crate::version::PROTOCOL_VERSION;
use crate::{ChannelError, HandoffId};

/// Acks three handoffs and dies with messages of the master still unread. The kernel then
/// reports `ECONNRESET` to the master *before* it gives out the acks.
fn ack_and_die(worker: &WorkerEnd, handoffs: std::ops::Range<u64>) {
    for handoff in handoffs {
        worker.ack(HandoffId(handoff)).unwrap();
    }
}

fn is_ack(message: &WorkerToMaster, handoff: u64) -> bool {
    let handoff = HandoffId(handoff);
    *message == WorkerToMaster::Ack { handoff }
}

fn dead_worker() -> MasterInbox {
    let Ends {
        master,
        from_worker,
        worker,
        from_master,
    } = ends();
    for _ in 0..3 {
        master.welcome(welcome()).unwrap();
    }
    ack_and_die(&worker, 1..4);
    drop((worker, from_master));
    from_worker
}

#[tokio::test]
async fn late_acks_are_received_after_the_workers_death() {
    let mut inbox = dead_worker();
    for handoff in 1..4 {
        let message = inbox.receive().await.unwrap();
        assert!(is_ack(&message, handoff), "{message:?}");
    }
    for _ in 0..2 {
        assert!(matches!(inbox.receive().await, Err(ChannelError::PeerGone)));
    }
}

#[tokio::test]
async fn late_acks_are_received_by_looking_too() {
    let mut inbox = dead_worker();
    for handoff in 1..4 {
        let message = inbox.try_receive().unwrap().unwrap();
        assert!(is_ack(&message, handoff), "{message:?}");
    }
    for _ in 0..2 {
        assert!(matches!(inbox.try_receive(), Err(ChannelError::PeerGone)));
    }
}

/// A failed send takes the pending `ECONNRESET` away; the acks must come out all the same.
#[tokio::test]
async fn late_acks_are_received_after_a_failed_send() {
    let Ends {
        master,
        mut from_worker,
        worker,
        from_master,
    } = ends();
    master.welcome(welcome()).unwrap();
    ack_and_die(&worker, 1..4);
    drop((worker, from_master));
    for _ in 0..2 {
        let refusal = master.welcome(welcome()).unwrap_err();
        assert!(matches!(refusal, ChannelError::PeerGone), "{refusal:?}");
    }
    for handoff in 1..4 {
        let message = from_worker.receive().await.unwrap();
        assert!(is_ack(&message, handoff), "{message:?}");
    }
    assert!(matches!(
        from_worker.receive().await,
        Err(ChannelError::PeerGone)
    ));
}

#[tokio::test]
async fn a_worker_learns_that_its_master_is_gone() {
    let Ends {
        master,
        from_worker,
        worker,
        mut from_master,
    } = ends();
    worker.ack(HandoffId(1)).unwrap();
    drop((master, from_worker));
    assert!(matches!(
        from_master.receive().await,
        Err(ChannelError::PeerGone)
    ));
    let refusal = worker.ack(HandoffId(2)).unwrap_err();
    assert!(matches!(refusal, ChannelError::PeerGone));
}

/// A clone of the sending half keeps the socket, so only the drop of all ends the channel.
#[tokio::test]
async fn the_channel_lives_as_long_as_one_half_of_an_end() {
    let Ends {
        mut from_worker,
        worker,
        from_master,
        master: _master,
    } = ends();
    drop(from_master);
    assert!(from_worker.try_receive().unwrap().is_none());
    drop(worker);
    assert!(matches!(
        from_worker.try_receive(),
        Err(ChannelError::PeerGone)
    ));
}

#[tokio::test]
async fn an_empty_frame_is_the_end_for_a_master() {
    let (_master, mut inbox, worker) = master_and_raw_worker();
    send_raw(&worker, &[], &[]).unwrap();
    assert!(matches!(inbox.receive().await, Err(ChannelError::PeerGone)));
}

#[tokio::test]
async fn an_empty_frame_is_the_end_for_a_worker() {
    let (_worker, mut inbox, master): (WorkerEnd, WorkerInbox, _) = worker_and_raw_master();
    send_raw(&master, &[], &[]).unwrap();
    assert!(matches!(inbox.receive().await, Err(ChannelError::PeerGone)));
}

#[tokio::test]
async fn the_longest_frame_passes_and_one_byte_more_is_refused() {
    let mut ends = ends();
    let text = |len: usize| UserMessage {
        json: "x".repeat(len - 4),
    };
    let longest = WorkerToMaster::User(text(FRAME_MAX));
    assert_eq!(bytes_of(&longest).len(), FRAME_MAX);
    ends.worker.send(&longest).unwrap();
    assert_eq!(ends.from_worker.receive().await.unwrap(), longest);

    let too_long = WorkerToMaster::User(text(FRAME_MAX + 1));
    let refusal = ends.worker.send(&too_long).unwrap_err();
    assert!(matches!(refusal, ChannelError::FrameTooLong { .. }));
    assert!(ends.from_worker.try_receive().unwrap().is_none());
}

#[tokio::test]
async fn a_frame_that_is_too_long_is_refused_whole() {
    let (_master, mut inbox, worker) = master_and_raw_worker();
    let hello = WorkerToMaster::Hello {
        version: PROTOCOL_VERSION,
        pid: 1,
    };
    // Its beginning is a fine greeting: what is cut must not pass for what is whole.
    let mut frame = bytes_of(&hello);
    frame.resize(FRAME_MAX + 1, 0);
    send_raw(&worker, &frame, &[]).unwrap();
    send_raw(&worker, &bytes_of(&hello), &[]).unwrap();
    let refusal = inbox.receive().await.unwrap_err();
    assert!(matches!(
        refusal,
        ChannelError::FrameTooLong { len, max } if len == FRAME_MAX + 1 && max == FRAME_MAX
    ));
    assert_eq!(inbox.receive().await.unwrap(), hello);
}

#[tokio::test]
async fn a_worker_refuses_a_frame_that_is_too_long() {
    let (_worker, mut inbox, master) = worker_and_raw_master();
    let mut frame = bytes_of(&MasterToWorker::Welcome(welcome()));
    frame.resize(FRAME_MAX + 1, 0);
    send_raw(&master, &frame, &[]).unwrap();
    let refusal = inbox.receive().await.unwrap_err();
    assert!(matches!(refusal, ChannelError::FrameTooLong { .. }));
}
