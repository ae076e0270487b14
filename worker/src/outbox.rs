//! What waits to be said to the master, in two lines.
//!
//! Nothing here waits: a frame goes out at once if the channel takes it, and else stands in
//! line until the task that serves the channel finds it writable. The words of the protocol
//! go before the program's messages, so that no flood of those delays an answer.
//!
//! Acks stand in no line at all: the connection itself stays in its listener's queue until
//! its ack is written, so nothing can be lost between the two.

use std::collections::VecDeque;

use maitred_protocol::message::UserMessage;
use maitred_protocol::native::{Encoded, FRAME_MAX, WorkerEnd};
use maitred_protocol::{ChannelError, HandoffId, WorkerToMaster};

use crate::messages::SendError;

/// Most messages of the program that may wait.
///
/// A master that reads takes them within microseconds, so this is room for a burst. At the
/// frame limit it is 8 MiB.
const USER_MAX: usize = 128;

/// How many words of the protocol may wait before nothing more is read from the master.
///
/// Each answers something that it said (rejects at most a window, pongs one a ping), so a
/// master that does not read what it asked for is asked no more either. That costs no
/// progress: acks are not read, they are written.
const WORDS_MAX: usize = 1024;

/// Why the last frame did not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The channel is full, and will be writable.
    Full,
    /// The kernel refused for another reason (no memory): try again after a pause.
    Refused,
}

/// Whether an ack was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acked {
    /// It is, or there is no master left to whom it matters.
    Yes,
    /// Not yet; the connection must not be read.
    Blocked,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    end: WorkerEnd,
    words: VecDeque<WorkerToMaster>,
    user: VecDeque<WorkerToMaster>,
    blocked: Option<Blocked>,
    /// The frame of the last acks, for its memory.
    acks: Encoded,
}

impl Outbox {
    pub(crate) fn new(end: WorkerEnd) -> Self {
        Self {
            end,
            words: VecDeque::new(),
            user: VecDeque::new(),
            blocked: None,
            acks: Encoded::default(),
        }
    }

    /// Returns what the sender waits for.
    pub(crate) fn blocked(&self) -> Option<Blocked> {
        self.blocked
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty() && self.user.is_empty()
    }

    /// Tells whether there is room for answers to what may be read next.
    pub(crate) fn has_room(&self) -> bool {
        self.words.len() < WORDS_MAX
    }

    /// Says a word of the protocol, now or as soon as the channel takes it.
    pub(crate) fn say(&mut self, word: WorkerToMaster) {
        self.words.push_back(word);
        self.flush();
    }

    /// Writes acks for all of these, or for none: at most [`MESSAGES_PER_FRAME`](maitred_protocol::native::MESSAGES_PER_FRAME).
    pub(crate) fn ack(&mut self, handoffs: impl IntoIterator<Item = HandoffId>) -> Acked {
        self.acks.clear();
        for handoff in handoffs {
            if self.acks.push(&WorkerToMaster::Ack { handoff }).is_err() {
                debug_assert!(false, "so many acks fit into a frame");
                return Acked::Blocked;
            }
        }
        match self.end.send_frame(&self.acks) {
            Err(error) => match blocked_by(&error) {
                Some(blocked) => {
                    self.blocked = Some(blocked);
                    Acked::Blocked
                }
                // The master is gone, and its copy with it: ours is the only one now.
                None => Acked::Yes,
            },
            Ok(()) => Acked::Yes,
        }
    }

    /// Takes a message of the program.
    pub(crate) fn send(&mut self, json: String) -> Result<(), SendError> {
        if self.user.len() >= USER_MAX {
            return Err(SendError::QueueFull { max: USER_MAX });
        }
        let message = WorkerToMaster::User(UserMessage { json });
        if let Err(ChannelError::FrameTooLong { len, .. }) = Encoded::new(&message) {
            let max = FRAME_MAX;
            return Err(SendError::TooLong { len, max });
        }
        self.user.push_back(message);
        self.flush();
        Ok(())
    }

    /// Sends what waits, as far as the channel takes it.
    pub(crate) fn flush(&mut self) {
        self.blocked = None;
        loop {
            let line = if self.words.is_empty() {
                &mut self.user
            } else {
                &mut self.words
            };
            let Some(next) = line.front() else {
                return;
            };
            if let Err(error) = self.end.send(next) {
                self.blocked = blocked_by(&error);
                if self.blocked.is_some() {
                    return;
                }
            }
            // It went out, or nobody is there to read it.
            line.pop_front();
        }
    }

    /// Forgets what waits: the channel is closed.
    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.user.clear();
        self.blocked = None;
    }
}

/// Returns whether a failed send may succeed later, and when.
fn blocked_by(error: &ChannelError) -> Option<Blocked> {
    let may_pass = matches!(error, ChannelError::Io(_) | ChannelError::TooManyInFlight);
    if matches!(error, ChannelError::Full) {
        Some(Blocked::Full)
    } else {
        may_pass.then_some(Blocked::Refused)
    }
}
