//! The master's end of a native channel: one method per word that only the master may say.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::channel::{Channel, Encoded, buffer};
use super::codec::{self, MESSAGES_PER_FRAME};
use crate::fd::{self, Datagram};
use crate::message::{MasterToWorker, Welcome, WorkerToMaster};
use crate::version::PROTOCOL_VERSION;
use crate::{ChannelError, HandoffId, ServerId};

/// The master's end, for sending. Clones speak on the same channel.
#[derive(Clone, Debug)]
pub struct MasterEnd {
    channel: Arc<Channel>,
}

/// The master's end, for receiving. One owner at a time.
#[derive(Debug)]
pub struct MasterInbox {
    channel: Arc<Channel>,
    buffer: Box<[u8]>,
    /// What the last frame still holds.
    unread: VecDeque<WorkerToMaster>,
    greeted: bool,
}

impl MasterEnd {
    /// Takes over the master's end of a [`pair`](super::pair). Needs a tokio runtime with I/O.
    ///
    /// # Errors
    ///
    /// Those of registering a descriptor with epoll.
    pub fn new(end: OwnedFd) -> io::Result<(Self, MasterInbox)> {
        let channel = Arc::new(Channel::new(end)?);
        let inbox = MasterInbox {
            channel: channel.clone(),
            buffer: buffer(),
            unread: VecDeque::with_capacity(MESSAGES_PER_FRAME),
            greeted: false,
        };
        Ok((Self { channel }, inbox))
    }

    /// Sends a frame, with the descriptors that its messages need, in their order.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Full`] and [`ChannelError::TooManyInFlight`] pass; the others do not.
    pub fn send(
        &self,
        frame: &Encoded,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        self.channel.send(frame, descriptors)
    }

    /// Greets a worker that has said hello.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn welcome(&self, welcome: Welcome) -> Result<(), ChannelError> {
        self.send(&Encoded::new(&MasterToWorker::Welcome(welcome))?, &[])
    }

    /// Gives a connection to the worker. The caller keeps its copy until the answer.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); nothing was given away then.
    pub fn hand_off(
        &self,
        handoff: HandoffId,
        origin: (ServerId, Option<SocketAddr>),
        connection: BorrowedFd<'_>,
    ) -> Result<(), ChannelError> {
        let (server, client) = origin;
        let message = MasterToWorker::NewConnection {
            handoff,
            server,
            client,
        };
        self.send(&Encoded::new(&message)?, &[connection])
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

impl AsFd for MasterEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.socket.get_ref().as_fd()
    }
}

impl MasterInbox {
    /// Receives the worker's next message.
    ///
    /// # Errors
    ///
    /// [`ChannelError::PeerGone`] at the end; a breach of the protocol by its name, after
    /// which the worker must not be listened to any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a message is taken in the last step.
    pub async fn receive(&mut self) -> Result<WorkerToMaster, ChannelError> {
        loop {
            if let Some(message) = self.unread.pop_front() {
                return self.examine(message);
            }
            let read = fd::receive_without_descriptors;
            let datagram = self.channel.receive(read, &mut self.buffer).await?;
            self.open(&datagram)?;
        }
    }

    /// Receives the worker's next message if one is there.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub fn try_receive(&mut self) -> Result<Option<WorkerToMaster>, ChannelError> {
        if self.unread.is_empty() {
            let read = fd::receive_without_descriptors;
            let Some(datagram) = self.channel.try_receive(read, &mut self.buffer)? else {
                return Ok(None);
            };
            self.open(&datagram)?;
        }
        let message = self.unread.pop_front();
        message.map(|message| self.examine(message)).transpose()
    }

    fn open(&mut self, datagram: &Datagram) -> Result<(), ChannelError> {
        // We offered no room, so the kernel has closed what came, and told.
        if datagram.truncated {
            return Err(ChannelError::DescriptorUnexpected);
        }
        codec::decode(&self.buffer[..datagram.len], &mut self.unread)
    }

    fn examine(&mut self, message: WorkerToMaster) -> Result<WorkerToMaster, ChannelError> {
        let hello = matches!(message, WorkerToMaster::Hello { .. });
        match (&message, self.greeted) {
            (WorkerToMaster::Hello { version, .. }, false) if *version != PROTOCOL_VERSION => {
                let (worker, master) = (*version, PROTOCOL_VERSION);
                Err(ChannelError::UnsupportedVersion { worker, master })
            }
            (_, false) if !hello => Err(ChannelError::Greeting("the first frame is no hello")),
            (_, true) if hello => Err(ChannelError::Greeting("hello was said before")),
            _ => {
                self.greeted = true;
                Ok(message)
            }
        }
    }
}
