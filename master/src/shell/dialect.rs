//! The channel of one worker, in whichever language the worker speaks.
//!
//! Everything else in the shell knows the typed messages only. Rust workers speak them as they
//! are; Node's own child processes speak JSON lines, which `maitred_protocol::node` translates;
//! a plain program has no channel at all, and hears nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use maitred_protocol::message::{ServerQuery, UserMessage};
use maitred_protocol::native::{self, Encoded, MESSAGES_PER_FRAME};
use maitred_protocol::{ChannelError, MasterToWorker, WorkerToMaster, node};

use crate::launch::Dialect;

/// The master's end of a channel, for sending.
#[derive(Debug)]
pub(crate) enum LinkEnd {
    /// A Rust worker's.
    Native(native::MasterEnd),
    /// A Node worker's, with all that its translation has to remember.
    Node(Box<node::MasterEnd>),
    /// There is nobody to talk to.
    Nothing,
}

/// The master's end of a channel, for receiving.
#[derive(Debug)]
pub(crate) enum LinkInbox {
    /// A Rust worker's.
    Native(native::MasterInbox),
    /// A Node worker's.
    Node(node::MasterInbox),
    /// Nobody will say anything.
    Nothing,
}

/// A message in the form in which it is sent.
#[derive(Debug)]
pub(crate) enum Frame {
    /// To a Rust worker.
    Native(Encoded),
    /// To a Node worker.
    Node(node::Line),
}

/// What a message comes to in a worker's language.
#[derive(Debug)]
pub(crate) enum Wording {
    /// Something to be sent.
    Frame(Frame),
    /// Nothing to be sent: the worker's answer is known already.
    Answered(WorkerToMaster),
    /// Nothing to be sent.
    Nothing,
}

/// A user message in a worker's language, as far as that goes without the worker's channel: a
/// long one takes milliseconds, which are the sender's and not the dispatch thread's.
#[derive(Debug)]
pub(crate) enum UserText {
    /// To a Rust worker.
    Native(Encoded),
    /// To a Node worker.
    Node(node::UserLine),
}

/// What came over a channel.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message, as it is.
    Native(WorkerToMaster),
    /// What a Node worker said; its channel's end knows what that means.
    Node(node::Heard),
}

/// Makes the two ends of a worker's channel: the master's first. A plain program has none.
///
/// # Errors
///
/// Those of socketpair(2).
pub(crate) fn pair(dialect: Dialect) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
    match dialect {
        Dialect::Native => native::pair().map(Some),
        Dialect::Node => node::pair().map(Some),
        Dialect::None => Ok(None),
    }
}

/// Takes over the master's end. Needs a tokio runtime with I/O.
///
/// # Errors
///
/// Those of registering a descriptor with epoll.
pub(crate) fn open(
    dialect: Dialect,
    channel: Option<OwnedFd>,
    message_max: usize,
) -> io::Result<(LinkEnd, LinkInbox)> {
    let Some(channel) = channel else {
        return Ok((LinkEnd::Nothing, LinkInbox::Nothing));
    };
    if dialect == Dialect::Node {
        let (end, inbox) = node::MasterEnd::new(channel, message_max)?;
        return Ok((LinkEnd::Node(Box::new(end)), LinkInbox::Node(inbox)));
    }
    let (end, inbox) = native::MasterEnd::new(channel)?;
    Ok((LinkEnd::Native(end), LinkInbox::Native(inbox)))
}

impl UserText {
    /// Puts a message into a language. A plain program has none, and is sent nothing.
    ///
    /// # Errors
    ///
    /// That it is no JSON, or too long for a frame.
    pub(crate) fn new(dialect: Dialect, json: String) -> Result<Self, ChannelError> {
        let message = UserMessage { json };
        Ok(match dialect {
            Dialect::Node => Self::Node(node::UserLine::new(&message)?),
            Dialect::Native | Dialect::None => {
                Self::Native(Encoded::new(&MasterToWorker::User(message))?)
            }
        })
    }

    /// Returns how many bytes of memory it takes while it waits.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Native(frame) => frame.len(),
            Self::Node(line) => line.len(),
        }
    }
}

impl Frame {
    /// Returns how many bytes of memory it takes while it waits.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Native(frame) => frame.len(),
            Self::Node(line) => line.len(),
        }
    }
}

impl From<node::Wording> for Wording {
    fn from(wording: node::Wording) -> Self {
        match wording {
            node::Wording::Line(line) => Self::Frame(Frame::Node(line)),
            node::Wording::Answered(answer) => Self::Answered(answer),
            node::Wording::Nothing => Self::Nothing,
        }
    }
}

impl LinkEnd {
    /// Returns the language that is spoken.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Native(_) => Dialect::Native,
            Self::Node(_) => Dialect::Node,
            Self::Nothing => Dialect::None,
        }
    }

    /// Puts a message into the worker's language.
    ///
    /// # Errors
    ///
    /// As the ends' own.
    pub(crate) fn encode(&mut self, message: &MasterToWorker) -> Result<Wording, ChannelError> {
        Ok(match self {
            Self::Native(_) => Wording::Frame(Frame::Native(Encoded::new(message)?)),
            Self::Node(end) => end.encode(message)?.into(),
            Self::Nothing => Wording::Nothing,
        })
    }

    /// Gives a user message its place among what the worker is told.
    pub(crate) fn encode_user(&mut self, text: UserText) -> Wording {
        match (self, text) {
            (Self::Native(_), UserText::Native(frame)) => Wording::Frame(Frame::Native(frame)),
            (Self::Node(end), UserText::Node(line)) => end.encode_user(line).into(),
            (Self::Nothing, _) => Wording::Nothing,
            (_, _) => {
                debug_assert!(false, "a worker's handle and its link know one language");
                Wording::Nothing
            }
        }
    }

    /// Returns what a Node worker means by what it said.
    ///
    /// # Errors
    ///
    /// A breach of the protocol.
    pub(crate) fn interpret(&mut self, heard: node::Heard) -> Result<node::Meaning, ChannelError> {
        match self {
            Self::Node(end) => end.hear(heard),
            Self::Native(_) | Self::Nothing => {
                debug_assert!(false, "only Node workers have to be interpreted");
                Ok(node::Meaning::default())
            }
        }
    }

    /// Leaves a question of a worker that leaves without an answer, if its language has it so:
    /// Node's primary does not hear it, and a program that got an error might end of that in
    /// the middle of a polite leave. Returns whether that is so.
    pub(crate) fn ignore(&mut self, query: &ServerQuery) -> bool {
        match self {
            Self::Node(end) => {
                end.ignore(query.query);
                true
            }
            Self::Native(_) | Self::Nothing => false,
        }
    }

    /// Returns where to wait for room in the channel.
    pub(crate) fn room(&self) -> Option<Room> {
        match self {
            Self::Native(end) => Some(Room::Native(end.clone())),
            Self::Node(end) => Some(Room::Node(end.room())),
            Self::Nothing => None,
        }
    }

    /// Sends a frame, with the descriptor it needs.
    ///
    /// # Errors
    ///
    /// As the ends' own.
    pub(crate) fn send(
        &mut self,
        frame: &Frame,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), ChannelError> {
        match (self, frame) {
            (Self::Native(end), Frame::Native(frame)) => end.send(frame, descriptor.as_slice()),
            (Self::Node(end), Frame::Node(line)) => end.send(line, descriptor),
            (_, _) => {
                debug_assert!(false, "a link only sends what it has encoded");
                Err(ChannelError::PeerGone)
            }
        }
    }
}

impl LinkEnd {
    /// Sends a Rust worker's handoffs, with their descriptors.
    ///
    /// # Errors
    ///
    /// As the end's own.
    pub(crate) fn send_handoffs<'a>(
        &self,
        frame: &Encoded,
        descriptors: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> Result<(), ChannelError> {
        let Self::Native(end) = self else {
            debug_assert!(false, "Node takes one connection in a message");
            return Err(ChannelError::PeerGone);
        };
        let mut borrowed = [end.as_fd(); MESSAGES_PER_FRAME];
        let places = borrowed.iter_mut().zip(descriptors);
        let count = places
            .map(|(place, descriptor)| *place = descriptor)
            .count();
        end.send(frame, &borrowed[..count])
    }
}

/// Where one waits for room in a channel.
#[derive(Debug)]
pub(crate) enum Room {
    /// A Rust worker's.
    Native(native::MasterEnd),
    /// A Node worker's.
    Node(node::Room),
}

impl Room {
    /// Waits until the channel may take another frame.
    ///
    /// # Errors
    ///
    /// Those of the runtime's I/O driver.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Native(end) => end.writable().await,
            Self::Node(room) => room.writable().await,
        }
    }
}

impl LinkInbox {
    /// Receives what the worker says next.
    ///
    /// # Errors
    ///
    /// As the inboxes' own.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn receive(&mut self) -> Result<Incoming, ChannelError> {
        match self {
            Self::Native(inbox) => inbox.receive().await.map(Incoming::Native),
            Self::Node(inbox) => inbox.receive().await.map(Incoming::Node),
            Self::Nothing => std::future::pending().await,
        }
    }

    /// Receives what the worker says next if it is there.
    ///
    /// # Errors
    ///
    /// As the inboxes' own.
    pub(crate) async fn try_receive(&mut self) -> Result<Option<Incoming>, ChannelError> {
        Ok(match self {
            Self::Native(inbox) => inbox.try_receive()?.map(Incoming::Native),
            Self::Node(inbox) => inbox.try_receive().await?.map(Incoming::Node),
            Self::Nothing => None,
        })
    }
}

impl LinkInbox {
    /// Returns whether a worker that is dead had begun to say something and not finished, so
    /// that it may have had more to say. Datagrams have no middle.
    pub(crate) fn is_cut_off(&self) -> bool {
        match self {
            Self::Node(inbox) => inbox.is_inside_line(),
            Self::Native(_) | Self::Nothing => false,
        }
    }
}

impl Incoming {
    /// Returns how many bytes of a program's own message it carries.
    pub(crate) fn text_len(&self) -> usize {
        match self {
            Self::Native(WorkerToMaster::User(user)) => user.json.len(),
            Self::Native(_) => 0,
            Self::Node(heard) => heard.message_len(),
        }
    }
}
