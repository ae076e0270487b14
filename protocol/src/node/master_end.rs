//! The master's sending half: translates, and writes what the writer's rules allow.

use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::inbox::{Heard, MasterInbox};
use super::line::Line;
use super::translator::{Meaning, Translator, Wording};
use super::user_line::UserLine;
use super::writer::{Part, Writer};
use crate::message::QueryId;
use crate::{ChannelError, MasterToWorker, fd};

/// The master's end, for sending, with all that is remembered about the worker. One owner:
/// whoever decides what the worker is told also takes in what it says.
#[derive(Debug)]
pub struct MasterEnd {
    socket: Arc<AsyncFd<UnixStream>>,
    translator: Translator,
    writer: Writer,
}

/// Tells when the channel may take more. Clones are of the same channel.
#[derive(Clone, Debug)]
pub struct Room {
    socket: Arc<AsyncFd<UnixStream>>,
}

impl MasterEnd {
    /// Takes over the master's end of a [`pair`](super::pair). Needs a tokio runtime with I/O.
    ///
    /// A line of the worker's that is longer than `message_max` bytes is a breach.
    ///
    /// # Errors
    ///
    /// Those of registering a descriptor with epoll.
    pub fn new(end: OwnedFd, message_max: usize) -> io::Result<(Self, MasterInbox)> {
        let socket = UnixStream::from(end);
        socket.set_nonblocking(true)?;
        let socket = Arc::new(fd::watch(socket, Interest::READABLE)?);
        let inbox = MasterInbox::new(socket.clone(), message_max);
        let end = Self {
            socket,
            translator: Translator::default(),
            writer: Writer::default(),
        };
        Ok((end, inbox))
    }

    /// Says a message in Node's words.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Malformed`] for a user message that is not JSON. The fault is the
    /// message's, and not the worker's.
    pub fn encode(&mut self, message: &MasterToWorker) -> Result<Wording, ChannelError> {
        self.translator.encode(message)
    }

    /// Gives a user's message its place among the lines.
    pub fn encode_user(&mut self, line: UserLine) -> Wording {
        self.translator.user(line)
    }

    /// Sends one line, with the descriptor it needs.
    ///
    /// # Errors
    ///
    /// Four errors pass, and the same line is to be sent again, before any other:
    /// [`ChannelError::Full`] when the channel is writable (a part of the line may be in it,
    /// and is not sent twice), [`ChannelError::TooManyInFlight`] and some [`ChannelError::Io`]
    /// after a pause, [`ChannelError::AwaitingAck`] when the worker was heard.
    pub fn send(&mut self, line: &Line, fd: Option<BorrowedFd<'_>>) -> Result<(), ChannelError> {
        if line.descriptor() != fd.is_some() {
            let problem = "a line and its descriptor do not match";
            return Err(io::Error::new(ErrorKind::InvalidInput, problem).into());
        }
        loop {
            let part = self.writer.next(line, self.translator.unacked())?;
            let len = write(&self.socket, &part, fd).map_err(ChannelError::of_send)?;
            if part.with_descriptor {
                self.translator.sent(line.carries);
            }
            if self.writer.wrote(line, len) {
                return Ok(());
            }
        }
    }

    /// Takes in what the worker said.
    ///
    /// # Errors
    ///
    /// A breach of the dialect, by its name.
    pub fn hear(&mut self, heard: Heard) -> Result<Meaning, ChannelError> {
        self.translator.hear(heard.word)
    }

    /// Forgets a question that is not going to be answered.
    pub fn ignore(&mut self, query: QueryId) {
        self.translator.forget(query);
    }

    /// Returns what tells when the channel may take more.
    #[must_use]
    pub fn room(&self) -> Room {
        let socket = self.socket.clone();
        Room { socket }
    }
}

impl Room {
    /// Waits until the channel may take more.
    ///
    /// # Errors
    ///
    /// Those of the runtime's I/O driver.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is consumed.
    pub async fn writable(&self) -> io::Result<()> {
        fd::writable(self.socket.get_ref()).await
    }
}

fn write(
    socket: &AsyncFd<UnixStream>,
    part: &Part<'_>,
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let fd = fd.filter(|_| part.with_descriptor);
    fd::send_part(socket.get_ref(), part.bytes, fd)
}
