//! What waits for one worker, and how it goes into the channel.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use maitred_core::id::ConnectionId;
use maitred_protocol::native::{Encoded, MESSAGES_PER_FRAME};
use maitred_protocol::{ChannelError, MasterToWorker};

use super::dialect::{Frame, LinkEnd};

/// What waits to be sent, in order.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A frame, with the descriptor that it carries.
    Frame(Frame, Cargo),
    /// Handoffs to a Rust worker that go into one frame, or as few as hold them. They are put
    /// into words when they are sent; until then more may come to stand behind them.
    Handoffs(VecDeque<Handed>),
}

impl Waiting {
    pub(super) fn has_connections(&self) -> bool {
        match self {
            Self::Frame(_, cargo) => matches!(cargo, Cargo::Connection(_)),
            Self::Handoffs(_) => true,
        }
    }
}

/// One connection for one worker.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    /// The message.
    pub(crate) message: MasterToWorker,
    /// Whose descriptor goes with it; it stays in the connection table until the ack.
    pub(crate) connection: ConnectionId,
}

/// The descriptor that a frame carries.
#[derive(Debug)]
pub(crate) enum Cargo {
    /// None.
    Nothing,
    /// A client connection for a Node worker; it stays in the connection table until the ack.
    Connection(ConnectionId),
    /// A listening socket, given away for good.
    Socket(OwnedFd),
}

/// What became of a frame that was to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It is in the channel.
    Sent,
    /// It waits for room in the channel.
    Queued,
    /// It waits for the worker's next word.
    Held,
    /// The worker does not read: its outbox is full.
    Overflow,
    /// The channel is closed; the worker's end will be reported.
    Gone,
}

/// Finds the descriptor of a connection in the master's table.
pub(crate) trait Descriptors {
    /// Returns the descriptor, if the master still holds the connection.
    fn descriptor(&self, connection: ConnectionId) -> Option<BorrowedFd<'_>>;
}

/// Sends one frame with the descriptor that it carries.
pub(super) fn send_one(
    end: &mut LinkEnd,
    frame: &Frame,
    cargo: &Cargo,
    descriptors: &impl Descriptors,
) -> Result<(), ChannelError> {
    let descriptor = match cargo {
        Cargo::Nothing => None,
        Cargo::Socket(socket) => Some(socket.as_fd()),
        Cargo::Connection(connection) => match descriptors.descriptor(*connection) {
            Some(descriptor) => Some(descriptor),
            None => return Ok(()), // See `send_some`.
        },
    };
    end.send(frame, descriptor)
}

/// Sends as many handoffs as go into one frame, and takes them out.
pub(super) fn send_some(
    end: &LinkEnd,
    handoffs: &mut VecDeque<Handed>,
    frame: &mut Encoded,
    descriptors: &impl Descriptors,
) -> Result<(), ChannelError> {
    frame.clear();
    let mut carried = [None; MESSAGES_PER_FRAME];
    let mut count = 0;
    for (
        Handed {
            message,
            connection,
        },
        place,
    ) in handoffs.iter().zip(&mut carried)
    {
        // Handoffs are numbered, so a worker can ack one that it was not sent yet. It has only
        // cheated itself: there is nothing left to send.
        *place = descriptors.descriptor(*connection);
        if place.is_some() {
            frame.push(message)?;
        }
        count += 1;
    }
    if !frame.is_empty() {
        end.send_handoffs(frame, carried.into_iter().flatten())?;
    }
    handoffs.drain(..count);
    Ok(())
}
