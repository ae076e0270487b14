//! What the two ends of a native channel share: the socket, and how a frame goes through it.
//!
//! Sending never waits: a full channel is [`ChannelError::Full`], and the caller decides what
//! to keep. Receiving has two forms, one that waits and one that looks.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::codec::{self, FRAME_MAX, MESSAGES_PER_FRAME};
use crate::ChannelError;
use crate::fd::{self, Datagram};

/// How often a receive is repeated after `ECONNRESET`.
///
/// On a sequenced-packet socket a dying peer's `ECONNRESET` comes *before* the last frames it
/// sent, once; stopping there would lose late acks and serve connections twice.
const RESETS_SKIPPED: usize = 2;

/// Makes a new channel: the master's end first, then the worker's.
///
/// Both are close-on-exec and non-blocking; the spawner maps the worker's end to its number
/// in the child. The master's end refuses descriptors where the kernel can.
///
/// # Errors
///
/// Those of socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (master, worker) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    fd::forbid_descriptors(master.as_fd())?;
    Ok((master, worker))
}

/// One to [`MESSAGES_PER_FRAME`] messages in their encoded form, ready to be sent now or later.
#[derive(Clone, Debug, Default)]
pub struct Encoded {
    bytes: Vec<u8>,
    messages: usize,
}

impl Encoded {
    /// Encodes `message`.
    ///
    /// # Errors
    ///
    /// [`ChannelError::FrameTooLong`].
    pub fn new<M: Serialize>(message: &M) -> Result<Self, ChannelError> {
        let mut frame = Self {
            bytes: Vec::with_capacity(64),
            messages: 0,
        };
        frame.push(message).map(|()| frame)
    }

    /// Adds a message to the frame.
    ///
    /// # Errors
    ///
    /// [`ChannelError::FrameTooLong`], also when there are enough messages in it already; the
    /// frame is then as it was.
    pub fn push<M: Serialize>(&mut self, message: &M) -> Result<(), ChannelError> {
        if self.messages == MESSAGES_PER_FRAME {
            let (len, max) = (self.bytes.len(), FRAME_MAX);
            return Err(ChannelError::FrameTooLong { len, max });
        }
        codec::encode(message, &mut self.bytes)?;
        self.messages += 1;
        Ok(())
    }

    /// Empties the frame and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.messages = 0;
    }

    /// Returns whether no message is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Returns the frame's length, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// What both ends share.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) socket: AsyncFd<UnixStream>,
}

pub(super) type Read = fn(&UnixStream, &mut [u8]) -> io::Result<Datagram>;

impl Channel {
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        let socket = UnixStream::from(end);
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: fd::watch(socket, Interest::READABLE)?,
        })
    }

    pub(super) fn send(
        &self,
        frame: &Encoded,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        debug_assert!(descriptors.len() <= frame.messages, "at most one each");
        let sent = fd::send(self.socket.get_ref(), &frame.bytes, descriptors);
        sent.map_err(ChannelError::of_send)
    }

    /// Waits until the socket may take another frame.
    pub(super) async fn writable(&self) -> io::Result<()> {
        fd::writable(self.socket.get_ref()).await
    }

    /// Receives one datagram, waiting for it. Cancel safe: it is taken in the last step.
    pub(super) async fn receive(
        &self,
        read: Read,
        buffer: &mut [u8],
    ) -> Result<Datagram, ChannelError> {
        loop {
            let mut guard = self.socket.readable().await?;
            if let Ok(read) = guard.try_io(|socket| read_frame(socket.get_ref(), read, buffer)) {
                return whole(read?, buffer.len());
            }
        }
    }

    /// Receives one datagram if one is there, whatever the runtime has noticed: after the
    /// peer's death its last frames must be read although no further event comes.
    pub(super) fn try_receive(
        &self,
        read: Read,
        buffer: &mut [u8],
    ) -> Result<Option<Datagram>, ChannelError> {
        match read_frame(self.socket.get_ref(), read, buffer) {
            Ok(datagram) => whole(datagram, buffer.len()).map(Some),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn read_frame(socket: &UnixStream, read: Read, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut attempts = 0;
    loop {
        match read(socket, buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error)
                if error.kind() == ErrorKind::ConnectionReset && attempts < RESETS_SKIPPED =>
            {
                attempts += 1;
            }
            other => return other,
        }
    }
}

/// Refuses what is not one whole frame. An empty one is the end of the channel.
fn whole(datagram: Datagram, max: usize) -> Result<Datagram, ChannelError> {
    match datagram.len {
        0 => Err(ChannelError::PeerGone),
        len if len > max => Err(ChannelError::FrameTooLong { len, max }),
        _ => Ok(datagram),
    }
}

/// Returns room for the longest frame; pages that no frame reaches are never touched.
pub(super) fn buffer() -> Box<[u8]> {
    vec![0; FRAME_MAX].into_boxed_slice()
}
