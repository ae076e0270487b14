//! Tests of the native channel: both ends, and peers that break its rules.

mod any;
mod codec;
mod descriptors;
mod ending;
mod flow;
mod greeting;
mod wire;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use sendfd::SendWithFd;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{MasterEnd, MasterInbox, WorkerEnd, WorkerInbox, pair};
use crate::message::{MasterToWorker, Welcome};
use crate::version::PROTOCOL_VERSION;
use crate::{ChannelError, Generation, HandoffId, ServerId, SlotId, WorkerId};

/// Both ends of one channel, greeted.
struct Ends {
    master: MasterEnd,
    from_worker: MasterInbox,
    worker: WorkerEnd,
    from_master: WorkerInbox,
}

fn welcome() -> Welcome {
    Welcome {
        version: PROTOCOL_VERSION,
        worker: WorkerId(1),
        slot: SlotId(0),
        generation: Generation(1),
        window: 4,
    }
}

fn new_connection(handoff: u64) -> MasterToWorker {
    MasterToWorker::NewConnection {
        handoff: HandoffId(handoff),
        server: ServerId(1),
        client: None,
    }
}

fn ends() -> Ends {
    let (master, worker) = pair().unwrap();
    let (master, mut from_worker) = MasterEnd::new(master).unwrap();
    let (worker, mut from_master) = WorkerEnd::new(worker).unwrap();
    worker.hello().unwrap();
    from_worker.try_receive().unwrap().unwrap();
    master.welcome(welcome()).unwrap();
    from_master.try_receive().unwrap().unwrap();
    Ends {
        master,
        from_worker,
        worker,
        from_master,
    }
}

/// A master whose worker is a bare socket, so that it can say anything.
fn master_and_raw_worker() -> (MasterEnd, MasterInbox, UnixStream) {
    let (master, worker) = pair().unwrap();
    let (end, inbox) = MasterEnd::new(master).unwrap();
    (end, inbox, UnixStream::from(worker))
}

/// A worker whose master is a bare socket. Welcomed, unless it is told otherwise.
fn worker_and_raw_master() -> (WorkerEnd, WorkerInbox, UnixStream) {
    let (master, worker) = pair().unwrap();
    let (end, inbox) = WorkerEnd::new(worker).unwrap();
    (end, inbox, UnixStream::from(master))
}

/// A pair as it was before kernels could refuse descriptors for us.
fn plain_pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

fn bytes_of<M: Serialize>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    super::codec::encode(message, &mut bytes).unwrap();
    bytes
}

/// Decodes a frame that is one message.
fn decode<M: DeserializeOwned>(frame: &[u8]) -> Result<M, ChannelError> {
    let mut messages = VecDeque::new();
    super::codec::decode(frame, &mut messages)?;
    assert_eq!(messages.len(), 1, "of {} bytes", frame.len());
    Ok(messages.pop_front().unwrap())
}

/// Sends any bytes with any descriptors, as a peer without manners would.
fn send_raw(socket: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let sent = socket.send_with_fd(bytes, &numbers)?;
    assert_eq!(sent, bytes.len());
    Ok(())
}

/// Tells whether the last copy of a descriptor was closed.
///
/// Counting `/proc/self/fd` would count what other tests do meanwhile. A pipe's reading end
/// meets the end of the file when no copy of the writing end exists in any process or on
/// any channel, and tells it only about its own.
struct Witness(PipeReader);

impl Witness {
    fn new() -> (Self, OwnedFd) {
        let (reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        (Self(reader), OwnedFd::from(writer))
    }

    fn all_copies_are_closed(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(len) => len == 0,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("read the witness: {error}"),
        }
    }
}
