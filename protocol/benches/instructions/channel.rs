//! One frame's way: its messages encoded, sent on a real channel, received and decoded.
//!
//! Decoding is nothing that a channel's users can do by themselves, so the frame goes through
//! the channel as it does at work. The instructions are those of our own process; what the kernel
//! adds is not among them.

use std::hint::black_box;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use maitred_protocol::message::Welcome;
use maitred_protocol::native::{Encoded, MasterEnd, MasterInbox, WorkerEnd, WorkerInbox, pair};
use maitred_protocol::version::PROTOCOL_VERSION;
use maitred_protocol::{
    Generation, HandoffId, MasterToWorker, ServerId, SlotId, WorkerId, WorkerToMaster,
};
use tokio::runtime::{Builder, Runtime};

/// Both ends of a channel in this process, past their greeting.
#[derive(Debug)]
struct Channel {
    master: (MasterEnd, MasterInbox),
    worker: (WorkerEnd, WorkerInbox),
    /// What the ends are registered with. It is never run.
    _runtime: Runtime,
}

impl Channel {
    fn greeted() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let (master, worker) = pair()?;
        let (master, worker) = (MasterEnd::new(master)?, WorkerEnd::new(worker)?);
        drop(entered);
        let mut channel = Self {
            master,
            worker,
            _runtime: runtime,
        };
        channel.greet().map_err(io::Error::other)?;
        Ok(channel)
    }

    fn greet(&mut self) -> Result<(), maitred_protocol::ChannelError> {
        self.worker.0.hello()?;
        self.master.1.try_receive()?;
        self.master.0.welcome(Welcome {
            version: PROTOCOL_VERSION,
            worker: WorkerId(1),
            slot: SlotId(0),
            generation: Generation(0),
            window: 4,
        })?;
        self.worker.1.try_receive().map(drop)
    }
}

/// Returns one turn: a frame of so many connections, from the master to the worker.
///
/// The descriptors are those of one socket: whose they are costs nothing in our process.
pub(crate) fn connections(messages: u32) -> impl FnMut() {
    let mut channel = Channel::greeted().expect("a channel can be made");
    let (client, _peer) = UnixStream::pair().expect("a socket pair can be made");
    let client = OwnedFd::from(client);
    let address = SocketAddr::from((Ipv4Addr::new(192, 168, 17, 4), 40_000));
    let (mut frame, mut handoffs) = (Encoded::default(), FIRST_HANDOFF);
    move || {
        frame.clear();
        let mut descriptors = Vec::with_capacity(messages as usize);
        for _ in 0..messages {
            handoffs += 1;
            let message = MasterToWorker::NewConnection {
                handoff: HandoffId(handoffs),
                server: ServerId(3),
                client: Some(address),
            };
            frame.push(black_box(&message)).expect("it has room");
            descriptors.push(client.as_fd());
        }
        let sent = channel.master.0.send(&frame, &descriptors);
        sent.expect("the channel is empty");
        for _ in 0..messages {
            let received = channel.worker.1.try_receive();
            let frame = received.expect("it is a frame").expect("it was sent");
            assert!(black_box(frame).descriptor.is_some());
        }
    }
}

/// Returns one turn: a frame of so many acks, from the worker to the master.
pub(crate) fn acks(messages: u32) -> impl FnMut() {
    let mut channel = Channel::greeted().expect("a channel can be made");
    let (mut frame, mut handoffs) = (Encoded::default(), FIRST_HANDOFF);
    move || {
        frame.clear();
        for _ in 0..messages {
            handoffs += 1;
            let handoff = HandoffId(handoffs);
            let message = WorkerToMaster::Ack { handoff };
            frame.push(black_box(&message)).expect("it has room");
        }
        let sent = channel.worker.0.send_frame(&frame);
        sent.expect("the channel is empty");
        for _ in 0..messages {
            let received = channel.master.1.try_receive();
            let message = received.expect("it is a frame").expect("it was sent");
            assert!(matches!(black_box(message), WorkerToMaster::Ack { .. }));
        }
    }
}

/// A master that has run for a while: the encoding makes small numbers shorter, and a run must
/// not cross from one length to the next.
const FIRST_HANDOFF: u64 = 1_000_000;
