//! Tells whoever listens to events what happened.
//!
//! Events go into a ring of fixed length: who is too slow loses the oldest and is told how
//! many. Messages from workers' programs go the same way, but their text lies on a shelf that
//! is bounded in bytes, and is parsed by whoever takes it: it may be long, many times longer
//! in memory once it is parsed, and written by a worker that means no good.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use maitred_core::id::WorkerId;
use maitred_protocol::message::UserMessage;
use tokio::sync::broadcast;

use crate::clock::Moment;
use crate::event::Event;

/// Events kept for a listener that is slow to take them; older ones are lost, and counted.
const EVENTS_KEPT: usize = 4096;

/// Bytes of messages kept for a slow listener: 256 of a Rust worker's longest. The latest is
/// kept however long it is, since Node workers may be allowed longer ones.
const TEXT_KEPT: usize = 16 * 1024 * 1024;

/// What goes through the ring.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// When it was told.
    pub(crate) at: Moment,
    pub(crate) said: Said,
}

/// What is told.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// An event as it is.
    Event(Event),
    /// A message that lies on the shelf, if it still does.
    Message(Weak<Letter>),
}

/// A message from a worker's program.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) worker: WorkerId,
    pub(crate) pid: u32,
    pub(crate) json: String,
    /// Listeners that have not taken it.
    unread: AtomicUsize,
}

/// The letters that somebody has not taken, oldest first.
#[derive(Debug, Default)]
struct Shelf {
    letters: VecDeque<Arc<Letter>>,
    bytes: usize,
}

/// The sending side of the events. Clones speak to the same listeners.
#[derive(Clone, Debug)]
pub(crate) struct Announcer {
    ring: broadcast::Sender<Notice>,
    shelf: Arc<Mutex<Shelf>>,
}

impl Announcer {
    /// Makes a ring, and a listener that hears everything from the start.
    pub(crate) fn new() -> (Self, broadcast::Receiver<Notice>) {
        let (ring, first) = broadcast::channel(EVENTS_KEPT);
        let shelf = Arc::default();
        (Self { ring, shelf }, first)
    }

    /// Tells one event. Nobody waits for anybody.
    pub(crate) fn announce(&self, event: Event) {
        self.send(Said::Event(event));
    }

    /// Tells what a worker's program said.
    pub(crate) fn pass_on(&self, worker: WorkerId, pid: u32, message: UserMessage) {
        let listeners = self.ring.receiver_count();
        if listeners == 0 {
            return;
        }
        let letter = Arc::new(Letter {
            worker,
            pid,
            json: message.json,
            unread: AtomicUsize::new(listeners),
        });
        let said = Said::Message(Arc::downgrade(&letter));
        self.with_shelf(|shelf| {
            shelf.bytes += letter.json.len();
            shelf.letters.push_back(letter);
            while shelf.bytes > TEXT_KEPT && shelf.letters.len() > 1 {
                shelf.remove_oldest();
            }
        });
        self.send(said);
    }

    /// Takes a letter from the shelf, for one listener; `None` if it had to make room.
    pub(crate) fn take(&self, letter: &Weak<Letter>) -> Option<Arc<Letter>> {
        let letter = letter.upgrade()?;
        if letter.unread.fetch_sub(1, Ordering::AcqRel) == 1 {
            let is_read = |letter: &Arc<Letter>| letter.unread.load(Ordering::Acquire) == 0;
            self.with_shelf(|shelf| {
                while shelf.letters.front().is_some_and(is_read) {
                    shelf.remove_oldest();
                }
            });
        }
        Some(letter)
    }

    /// Begins to listen.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.ring.subscribe()
    }

    fn send(&self, said: Said) {
        let at = Moment::now();
        let notice = Notice { at, said };
        // An error means that nobody listens.
        self.ring.send(notice).map(drop).unwrap_or_default();
    }

    fn with_shelf(&self, act: impl FnOnce(&mut Shelf)) {
        act(&mut self.shelf.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Shelf {
    fn remove_oldest(&mut self) {
        if let Some(letter) = self.letters.pop_front() {
            self.bytes -= letter.json.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter_of(notice: Notice) -> Weak<Letter> {
        match notice.said {
            Said::Message(letter) => letter,
            Said::Event(event) => panic!("{event:?} is no message"),
        }
    }

    fn say(announcer: &Announcer, len: usize) {
        let json = "x".repeat(len);
        announcer.pass_on(WorkerId(1), 1, UserMessage { json });
    }

    #[test]
    fn a_letter_goes_when_the_last_listener_has_taken_it() {
        let (announcer, mut first) = Announcer::new();
        let mut second = announcer.subscribe();
        say(&announcer, 10);
        let letter = letter_of(first.try_recv().unwrap());
        assert!(announcer.take(&letter).is_some());
        assert_eq!(announcer.shelf.lock().unwrap().bytes, 10);
        let letter = letter_of(second.try_recv().unwrap());
        assert!(announcer.take(&letter).is_some());
        let shelf = announcer.shelf.lock().unwrap();
        assert_eq!((shelf.bytes, shelf.letters.len()), (0, 0));
    }

    #[test]
    fn a_listener_that_takes_nothing_costs_the_others_nothing() {
        let (announcer, _idle) = Announcer::new();
        let mut busy = announcer.subscribe();
        for _ in 0..10 {
            say(&announcer, TEXT_KEPT / 4);
            let letter = letter_of(busy.try_recv().unwrap());
            assert!(announcer.take(&letter).is_some());
        }
        assert!(announcer.shelf.lock().unwrap().bytes <= TEXT_KEPT);
    }

    #[test]
    fn a_letter_that_is_longer_than_the_shelf_lies_there_until_the_next() {
        let (announcer, mut slow) = Announcer::new();
        say(&announcer, 10);
        say(&announcer, TEXT_KEPT + 1);
        let taken = [(); 2].map(|()| {
            let letter = letter_of(slow.try_recv().unwrap());
            announcer.take(&letter).is_some()
        });
        assert_eq!(taken, [false, true]);
        say(&announcer, TEXT_KEPT + 1);
        say(&announcer, 10);
        assert_eq!(announcer.shelf.lock().unwrap().bytes, 10);
    }

    #[test]
    fn the_oldest_make_room() {
        let (announcer, mut slow) = Announcer::new();
        for _ in 0..5 {
            say(&announcer, TEXT_KEPT / 4);
        }
        let mut taken = (0..5).map(|_| {
            let letter = letter_of(slow.try_recv().unwrap());
            announcer.take(&letter).is_some()
        });
        assert_eq!(taken.next(), Some(false));
        assert!(taken.all(|taken| taken));
    }
}
