//! Descriptors arrive with their own frame, owned and close-on-exec, or not at all.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::io::{Errno, FdFlags, fcntl_getfd};

use super::super::MasterEnd;
use super::{
    Witness, bytes_of, ends, master_and_raw_worker, new_connection, plain_pair, send_raw, welcome,
    worker_and_raw_master,
};
use crate::message::{MasterToWorker, WorkerToMaster};
use crate::version::PROTOCOL_VERSION;
use crate::{ChannelError, HandoffId, ServerId};

fn hello() -> Vec<u8> {
    let version = PROTOCOL_VERSION;
    bytes_of(&WorkerToMaster::Hello { version, pid: 1 })
}

fn ack() -> Vec<u8> {
    let handoff = HandoffId(1);
    bytes_of(&WorkerToMaster::Ack { handoff })
}

#[tokio::test]
async fn a_descriptor_is_close_on_exec_on_arrival() {
    let mut ends = ends();
    let (mut witness, connection) = Witness::new();
    let origin = (ServerId(1), None);
    let handoff = HandoffId(1);
    ends.master
        .hand_off(handoff, origin, connection.as_fd())
        .unwrap();
    let frame = ends.from_master.receive().await.unwrap();
    assert_eq!(frame.message, new_connection(1));

    let arrived = frame.descriptor.unwrap();
    assert!(fcntl_getfd(&arrived).unwrap().contains(FdFlags::CLOEXEC));
    drop(connection);
    assert!(
        !witness.all_copies_are_closed(),
        "the worker's copy is open"
    );
    drop(arrived);
    assert!(witness.all_copies_are_closed());
}

#[tokio::test]
async fn frames_read_back_to_back_keep_their_own_descriptors() {
    let mut ends = ends();
    let ping = |nonce| MasterToWorker::Ping { nonce };
    let (_first, first) = Witness::new();
    let (_second, second) = Witness::new();
    let origin = (ServerId(1), None);
    let send = |message| {
        let frame = super::super::Encoded::new(&message).unwrap();
        ends.master.send(&frame, &[]).unwrap();
    };
    send(ping(1));
    ends.master
        .hand_off(HandoffId(1), origin, first.as_fd())
        .unwrap();
    ends.master
        .hand_off(HandoffId(2), origin, second.as_fd())
        .unwrap();
    send(ping(2));

    let inode = |descriptor: &dyn AsFd| rustix::fs::fstat(descriptor.as_fd()).unwrap().st_ino;
    let expected = [
        (ping(1), None),
        (new_connection(1), Some(inode(&first))),
        (new_connection(2), Some(inode(&second))),
        (ping(2), None),
    ];
    for (message, descriptor) in expected {
        let frame = ends.from_master.try_receive().unwrap().unwrap();
        assert_eq!(frame.message, message);
        assert_eq!(frame.descriptor.map(|arrived| inode(&arrived)), descriptor);
    }
    assert!(ends.from_master.try_receive().unwrap().is_none());
}

#[tokio::test]
async fn messages_of_one_frame_get_the_descriptors_that_belong_to_them() {
    let mut ends = ends();
    let (_first, first) = Witness::new();
    let (_second, second) = Witness::new();
    let ping = MasterToWorker::Ping { nonce: 1 };
    let mut frame = super::super::Encoded::new(&new_connection(1)).unwrap();
    frame.push(&ping).unwrap();
    frame.push(&new_connection(2)).unwrap();
    let descriptors = [first.as_fd(), second.as_fd()];
    ends.master.send(&frame, &descriptors).unwrap();

    let inode = |descriptor: &dyn AsFd| rustix::fs::fstat(descriptor.as_fd()).unwrap().st_ino;
    let expected = [
        (new_connection(1), Some(inode(&first))),
        (ping, None),
        (new_connection(2), Some(inode(&second))),
    ];
    for (message, descriptor) in expected {
        let frame = ends.from_master.receive().await.unwrap();
        assert_eq!(frame.message, message);
        assert_eq!(frame.descriptor.map(|arrived| inode(&arrived)), descriptor);
    }
    assert!(ends.from_master.try_receive().unwrap().is_none());
}

/// Sends `bytes` with `count` descriptors to a welcomed worker, and returns what it says.
/// Afterwards no copy of any of them is left.
async fn refusal_of(bytes: &[u8], count: usize) -> ChannelError {
    let (_worker, mut inbox, master) = worker_and_raw_master();
    send_raw(&master, &bytes_of(&MasterToWorker::Welcome(welcome())), &[]).unwrap();
    inbox.receive().await.unwrap();

    let (mut witnesses, sent): (Vec<_>, Vec<_>) = (0..count).map(|_| Witness::new()).unzip();
    let borrowed: Vec<_> = sent.iter().map(AsFd::as_fd).collect();
    send_raw(&master, bytes, &borrowed).unwrap();
    drop(sent);
    let refusal = inbox.receive().await.unwrap_err();
    assert!(refusal.is_breach());
    for witness in &mut witnesses {
        assert!(witness.all_copies_are_closed(), "a descriptor leaked");
    }
    refusal
}

#[tokio::test]
async fn two_descriptors_where_one_is_expected_are_refused_and_closed() {
    let refusal = refusal_of(&bytes_of(&new_connection(1)), 2).await;
    assert!(matches!(refusal, ChannelError::DescriptorUnexpected));
}

#[tokio::test]
async fn as_many_descriptors_as_a_message_can_carry_are_refused_and_closed() {
    let refusal = refusal_of(&bytes_of(&new_connection(1)), 253).await;
    assert!(matches!(refusal, ChannelError::DescriptorUnexpected));
}

#[tokio::test]
async fn a_descriptor_with_a_message_that_takes_none_is_refused_and_closed() {
    let refusal = refusal_of(&bytes_of(&MasterToWorker::Ping { nonce: 1 }), 1).await;
    assert!(matches!(refusal, ChannelError::DescriptorUnexpected));
}

#[tokio::test]
async fn a_message_without_its_descriptor_is_refused() {
    let refusal = refusal_of(&bytes_of(&new_connection(1)), 0).await;
    assert!(matches!(refusal, ChannelError::DescriptorMissing));
}

#[tokio::test]
async fn a_descriptor_with_bytes_that_are_no_message_is_closed() {
    let refusal = refusal_of(&[200, 1, 2, 3], 1).await;
    assert!(matches!(refusal, ChannelError::Malformed { .. }));
}

#[tokio::test]
async fn a_worker_cannot_send_descriptors() {
    let (_master, mut inbox, worker) = master_and_raw_worker();
    send_raw(&worker, &hello(), &[]).unwrap();
    inbox.receive().await.unwrap();

    let (mut witness, descriptor) = Witness::new();
    match send_raw(&worker, &ack(), &[descriptor.as_fd()]) {
        // Linux 6.16 and later: not even the sender's kernel takes it.
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(Errno::PERM.raw_os_error()));
            assert!(inbox.try_receive().unwrap().is_none());
        }
        Ok(()) => {
            let refusal = inbox.receive().await.unwrap_err();
            assert!(matches!(refusal, ChannelError::DescriptorUnexpected));
        }
    }
    drop(descriptor);
    assert!(witness.all_copies_are_closed());
}

#[tokio::test]
async fn a_worker_that_sends_descriptors_breaches_the_protocol_on_older_kernels() {
    let (master, worker) = plain_pair();
    let (_master, mut inbox) = MasterEnd::new(master).unwrap();
    let worker = UnixStream::from(worker);
    send_raw(&worker, &hello(), &[]).unwrap();
    inbox.receive().await.unwrap();

    let (mut witness, descriptor) = Witness::new();
    send_raw(&worker, &ack(), &[descriptor.as_fd()]).unwrap();
    drop(descriptor);
    let refusal = inbox.receive().await.unwrap_err();
    assert!(matches!(refusal, ChannelError::DescriptorUnexpected));
    assert!(witness.all_copies_are_closed(), "the master has kept it");
}
