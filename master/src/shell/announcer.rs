//! Tells whoever listens to events what happened.
//!
//! Events go into a ring of fixed length: who is too slow loses the oldest and is told how
//! many. Messages from workers' programs go the same way, but as the text that came: they are
//! parsed by whoever takes them, since a text can be long, many times longer in memory once
//! it is parsed, and written by a worker that means no good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use maitred_core::id::WorkerId;
use maitred_protocol::message::UserMessage;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use crate::event::Event;

/// Events kept for a listener that is slow to take them; older ones are lost, and counted.
const EVENTS_KEPT: usize = 4096;

/// Bytes of messages that may wait in the ring, as long as some listener has not taken them:
/// 256 of the longest there are. What comes beyond is lost, and counted.
const MESSAGES_MAX: usize = 16 * 1024 * 1024;

/// What goes through the ring.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    /// An event as it is.
    Event(Event),
    /// A message that somebody has yet to parse.
    Message(Arc<Letter>),
}

/// A message from a worker's program.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) worker: WorkerId,
    pub(crate) pid: u32,
    pub(crate) json: String,
    /// Given back when the last listener has taken the message, or it fell out of the ring.
    _room: OwnedSemaphorePermit,
}

/// The sending side of the events. Clones speak to the same listeners.
#[derive(Clone, Debug)]
pub(crate) struct Announcer {
    ring: broadcast::Sender<Notice>,
    room: Arc<Semaphore>,
    lost: Arc<AtomicU64>,
}

impl Announcer {
    /// Makes a ring, and a listener that hears everything from the start.
    pub(crate) fn new() -> (Self, broadcast::Receiver<Notice>) {
        let (ring, first) = broadcast::channel(EVENTS_KEPT);
        let announcer = Self {
            ring,
            room: Arc::new(Semaphore::new(MESSAGES_MAX)),
            lost: Arc::default(),
        };
        (announcer, first)
    }

    /// Tells one event. Nobody waits for anybody.
    pub(crate) fn announce(&self, event: Event) {
        self.send(Notice::Event(event));
    }

    /// Tells what a worker's program said.
    pub(crate) fn pass_on(&self, worker: WorkerId, pid: u32, message: UserMessage) {
        let len = u32::try_from(message.json.len()).unwrap_or(u32::MAX);
        match self.room.clone().try_acquire_many_owned(len) {
            Ok(room) => self.send(Notice::Message(Arc::new(Letter {
                worker,
                pid,
                json: message.json,
                _room: room,
            }))),
            Err(_) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Begins to listen.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.ring.subscribe()
    }

    /// Returns how many messages were lost for want of room, for whoever listened.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn send(&self, notice: Notice) {
        // An error means that nobody listens.
        self.ring.send(notice).map(drop).unwrap_or_default();
    }
}
