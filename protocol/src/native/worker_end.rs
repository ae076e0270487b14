//! The worker's end of a native channel: one method per word that only a worker may say.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFdReadyGuard;

use super::channel::{Channel, Encoded, buffer};
use super::codec::{self, MESSAGES_PER_FRAME};
use crate::fd::{self, Datagram};
use crate::message::{MasterToWorker, RejectReason, Welcome, WorkerToMaster};
use crate::version::PROTOCOL_VERSION;
use crate::{ChannelError, HandoffId};

/// A message from the master, with the descriptor that came with it.
#[derive(Debug)]
pub struct Frame {
    /// The message.
    pub message: MasterToWorker,
    /// Its descriptor. `None` beside a message that should have one means that the kernel
    /// could not install it here: this process is at its descriptor limit.
    pub descriptor: Option<OwnedFd>,
}

/// The worker's end, for sending. Clones speak on the same channel.
#[derive(Clone, Debug)]
pub struct WorkerEnd {
    channel: Arc<Channel>,
}

/// The worker's end, for receiving. One owner at a time.
#[derive(Debug)]
pub struct WorkerInbox {
    channel: Arc<Channel>,
    buffer: Box<[u8]>,
    /// The messages of the frame that is being opened; kept for its memory.
    messages: VecDeque<MasterToWorker>,
    /// What the last frame still holds, each message with the descriptor that belongs to it.
    unread: VecDeque<Frame>,
    greeted: bool,
}

impl WorkerEnd {
    /// Takes over the worker's end of a [`pair`](super::pair). Needs a tokio runtime with I/O.
    ///
    /// # Errors
    ///
    /// Those of registering a descriptor with epoll.
    pub fn new(end: OwnedFd) -> io::Result<(Self, WorkerInbox)> {
        let channel = Arc::new(Channel::new(end)?);
        let inbox = WorkerInbox {
            channel: channel.clone(),
            buffer: buffer(),
            messages: VecDeque::with_capacity(MESSAGES_PER_FRAME),
            unread: VecDeque::with_capacity(MESSAGES_PER_FRAME),
            greeted: false,
        };
        Ok((Self { channel }, inbox))
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Full`] passes, the others do not.
    pub fn send(&self, message: &WorkerToMaster) -> Result<(), ChannelError> {
        self.channel.send(&Encoded::new(message)?, &[])
    }

    /// Sends a frame of several messages.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_frame(&self, frame: &Encoded) -> Result<(), ChannelError> {
        self.channel.send(frame, &[])
    }

    /// Says hello: the first word on every channel.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn hello(&self) -> Result<(), ChannelError> {
        let pid = std::process::id();
        self.send(&WorkerToMaster::Hello {
            version: PROTOCOL_VERSION,
            pid,
        })
    }

    /// Takes a connection: the master now closes its copy. To be said before the first read.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn ack(&self, handoff: HandoffId) -> Result<(), ChannelError> {
        self.send(&WorkerToMaster::Ack { handoff })
    }

    /// Refuses a connection of which nothing was read.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn reject(&self, handoff: HandoffId, reason: RejectReason) -> Result<(), ChannelError> {
        self.send(&WorkerToMaster::Reject { handoff, reason })
    }

    /// Waits until the channel may take another frame.
    ///
    /// # Errors
    ///
    /// Those of the runtime's I/O driver.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is consumed.
    pub async fn writable(&self) -> io::Result<()> {
        self.channel.writable().await
    }
}

/// The runtime's note that the channel can be read.
///
/// It stays until it is cleared. Whoever has read until nothing was left clears it, and so
/// waits for the next frame. A frame that came meanwhile made a new note, which stays.
#[derive(Debug)]
pub struct Readable<'a>(AsyncFdReadyGuard<'a, UnixStream>);

impl Readable<'_> {
    /// Takes the note back: nothing was left to read.
    pub fn clear(mut self) {
        self.0.clear_ready();
    }
}

impl WorkerEnd {
    /// Waits until the inbox can be read, which is left to the caller: an inbox behind a lock
    /// must not be held while waiting.
    ///
    /// # Errors
    ///
    /// Those of the runtime's I/O driver.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is consumed.
    pub async fn readable(&self) -> io::Result<Readable<'_>> {
        self.channel.socket.readable().await.map(Readable)
    }

    /// Asks whether the inbox can be read, and is woken when it can.
    ///
    /// Only the latest caller is woken; [`readable`](Self::readable) may wait beside it.
    ///
    /// # Errors
    ///
    /// As [`readable`](Self::readable).
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<Readable<'_>>> {
        let guard = ready!(self.channel.socket.poll_read_ready(context))?;
        Poll::Ready(Ok(Readable(guard)))
    }

    /// Ends the channel for both sides, as if this end were closed.
    ///
    /// Frames that came before can still be read.
    pub fn shut_down(&self) {
        // It fails only if the channel is down already.
        let _down_already = rustix::net::shutdown(self, rustix::net::Shutdown::Both);
    }
}

impl AsFd for WorkerEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.socket.get_ref().as_fd()
    }
}

impl WorkerInbox {
    /// Receives the master's next message.
    ///
    /// # Errors
    ///
    /// [`ChannelError::PeerGone`] when the master is gone; a breach by its name.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a message is taken in the last step.
    pub async fn receive(&mut self) -> Result<Frame, ChannelError> {
        loop {
            if let Some(frame) = self.unread.pop_front() {
                return Ok(frame);
            }
            let datagram = self.channel.receive(fd::receive, &mut self.buffer).await?;
            self.open(datagram)?;
        }
    }

    /// Receives the master's next message if one is there.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub fn try_receive(&mut self) -> Result<Option<Frame>, ChannelError> {
        if self.unread.is_empty() {
            let Some(datagram) = self.channel.try_receive(fd::receive, &mut self.buffer)? else {
                return Ok(None);
            };
            self.open(datagram)?;
        }
        Ok(self.unread.pop_front())
    }

    /// Takes a frame apart, and gives each message the descriptor that belongs to it.
    fn open(&mut self, datagram: Datagram) -> Result<(), ChannelError> {
        self.messages.clear();
        codec::decode(&self.buffer[..datagram.len], &mut self.messages)?;
        for message in &self.messages {
            if !self.greeted {
                agree(message)?;
                self.greeted = true;
            } else if matches!(message, MasterToWorker::Welcome(_)) {
                return Err(ChannelError::Greeting("welcome was said before"));
            }
        }
        let has_one = |message: &&MasterToWorker| message.descriptor();
        let expected = self.messages.iter().filter(has_one).count();
        match (datagram.descriptors.len(), datagram.truncated) {
            (came, false) if came == expected => {}
            // What the kernel could not install here came nevertheless.
            (came, true) if came < expected => {}
            (came, false) if came < expected => return Err(ChannelError::DescriptorMissing),
            _ => return Err(ChannelError::DescriptorUnexpected),
        }
        let mut descriptors = datagram.descriptors.into_iter();
        let framed = self.messages.drain(..).map(|message| Frame {
            descriptor: message.descriptor().then(|| descriptors.next()).flatten(),
            message,
        });
        self.unread.extend(framed);
        Ok(())
    }
}

/// Checks the first frame that a worker receives.
fn agree(message: &MasterToWorker) -> Result<(), ChannelError> {
    match message {
        MasterToWorker::Welcome(Welcome {
            version: PROTOCOL_VERSION,
            ..
        }) => Ok(()),
        MasterToWorker::Welcome(Welcome { version, .. }) => {
            let (worker, master) = (PROTOCOL_VERSION, *version);
            Err(ChannelError::UnsupportedVersion { worker, master })
        }
        MasterToWorker::ServerReply { .. }
        | MasterToWorker::NewConnection { .. }
        | MasterToWorker::Drain { .. }
        | MasterToWorker::Disconnect
        | MasterToWorker::ExitedAfterDisconnectAck
        | MasterToWorker::User(_)
        | MasterToWorker::Ping { .. } => {
            Err(ChannelError::Greeting("the first frame is no welcome"))
        }
    }
}
