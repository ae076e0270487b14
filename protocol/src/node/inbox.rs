//! The master's receiving half: reads, cuts into lines, and has each understood.
//!
//! A long line takes milliseconds to check, so another thread does that. One at a time: the
//! next long line is left where it is until the one before was [heard](super::MasterEnd::hear)
//! or thrown away, so a worker holds at most one of them somewhere in the master, and the
//! beginning of another.

use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::framing::{Framing, READ};
use super::word::{self, Word};
use crate::ChannelError;

/// Longest line that is understood on the spot, in bytes. Checking it takes some tens of
/// microseconds, as much as a handoff.
const SHORT: usize = READ;

/// One line of the worker's, understood.
#[derive(Debug)]
pub struct Heard {
    pub(super) word: Word,
    /// Held for a long line until it was heard.
    _room: Option<OwnedSemaphorePermit>,
}

impl Heard {
    /// Returns how long the user message in it is, in bytes; 0 if there is none.
    #[must_use]
    pub fn message_len(&self) -> usize {
        match &self.word {
            Word::User(json) | Word::Handle(Some(json)) => json.len(),
            Word::Online
            | Word::Query(_)
            | Word::Nonsense(_)
            | Word::Listening(_)
            | Word::Close(_)
            | Word::Answer { .. }
            | Word::ExitedAfterDisconnect(_)
            | Word::HandleAck
            | Word::HandleNack
            | Word::Handle(None)
            | Word::SocketsClose(_)
            | Word::SocketsCount(_)
            | Word::PreloadHello(_)
            | Word::Pong(_)
            | Word::Statistics(_)
            | Word::Drained
            | Word::Unknown => 0,
        }
    }
}

/// The master's end, for receiving. One owner at a time.
#[derive(Debug)]
pub struct MasterInbox {
    socket: Arc<AsyncFd<UnixStream>>,
    buffer: Box<[u8]>,
    framing: Framing,
    /// One permit: who has it may hold a long line.
    room: Arc<Semaphore>,
    /// The long line that is being understood elsewhere. It comes before all that follow.
    parsing: Option<JoinHandle<Result<Heard, ChannelError>>>,
}

impl MasterInbox {
    pub(super) fn new(socket: Arc<AsyncFd<UnixStream>>, message_max: usize) -> Self {
        Self {
            socket,
            buffer: vec![0; READ].into_boxed_slice(),
            framing: Framing::new(message_max),
            room: Arc::new(Semaphore::new(1)),
            parsing: None,
        }
    }

    /// Receives the worker's next line.
    ///
    /// # Errors
    ///
    /// [`ChannelError::PeerGone`] at the end; a breach by its name, after which the worker
    /// must not be listened to any more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a line is taken in the last step, and one that is being understood
    /// elsewhere is waited for again by the next call.
    pub async fn receive(&mut self) -> Result<Heard, ChannelError> {
        // Lines that are here already cost no wait. Without this a million of them would
        // keep the thread from everyone else.
        tokio::task::coop::consume_budget().await;
        loop {
            if let Some(heard) = self.parsed().await {
                return heard;
            }
            if let Some(len) = self.framing.next_len()? {
                if len <= SHORT {
                    return self.take_short(len);
                }
                let room = self.room.clone().acquire_owned().await.ok();
                self.parse_elsewhere(len, room);
                continue;
            }
            let mut guard = self.socket.readable().await?;
            if let Ok(read) = guard.try_io(|socket| read(socket.get_ref(), &mut self.buffer)) {
                self.framing.push(&self.buffer[..at_least_one(read)?]);
            }
        }
    }

    /// Receives the worker's next line if it is there, whatever the runtime has noticed:
    /// after the worker's death its last words must be read although no further event comes.
    ///
    /// It waits for nothing but a long line to be understood, and not for room for it: what
    /// a dead worker can still have said is bounded by the channel's buffer.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    ///
    /// # Cancel safety
    ///
    /// As [`receive`](Self::receive).
    pub async fn try_receive(&mut self) -> Result<Option<Heard>, ChannelError> {
        loop {
            if let Some(heard) = self.parsed().await {
                return heard.map(Some);
            }
            if let Some(len) = self.framing.next_len()? {
                if len <= SHORT {
                    return self.take_short(len).map(Some);
                }
                let room = self.room.clone().try_acquire_owned().ok();
                self.parse_elsewhere(len, room);
                continue;
            }
            match read(self.socket.get_ref(), &mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                read => self.framing.push(&self.buffer[..at_least_one(read)?]),
            }
        }
    }

    /// Returns whether the worker is in the middle of a line. If it is dead, then what it had
    /// still to say behind that line was in its own memory, and is lost.
    #[must_use]
    pub fn is_inside_line(&self) -> bool {
        self.framing.is_inside()
    }

    fn take_short(&mut self, len: usize) -> Result<Heard, ChannelError> {
        let word = word::parse(self.framing.take(len))?;
        Ok(Heard { word, _room: None })
    }

    fn parse_elsewhere(&mut self, len: usize, room: Option<OwnedSemaphorePermit>) {
        let line = self.framing.take(len);
        let parse = move || {
            let word = word::parse(line)?;
            Ok(Heard { word, _room: room })
        };
        self.parsing = Some(tokio::task::spawn_blocking(parse));
    }

    /// Waits for the long line that is being understood, if there is one.
    async fn parsed(&mut self) -> Option<Result<Heard, ChannelError>> {
        let outcome = self.parsing.as_mut()?.await;
        self.parsing = None;
        // It ends early only with the runtime.
        Some(outcome.unwrap_or_else(|error| Err(io::Error::other(error).into())))
    }
}

/// Reads from the channel. A plain read offers no room for descriptors, so the kernel closes
/// those that come along.
fn read(mut socket: &UnixStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Nothing is the end. So is a reset: on a stream it comes after all that was sent, when the
/// worker died with something unread.
fn at_least_one(read: io::Result<usize>) -> Result<usize, ChannelError> {
    match read {
        Ok(0) => Err(ChannelError::PeerGone),
        Ok(len) => Ok(len),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(ChannelError::PeerGone),
        Err(error) => Err(error.into()),
    }
}
