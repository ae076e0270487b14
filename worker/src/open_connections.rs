//! Counts the connections that the program still holds, without wrapping them.
//!
//! A program gets plain `TcpStream`s, which any library can use; so nothing tells us when it
//! drops one. But we know the descriptor's number and its inode. Numbers are given again as
//! soon as they are free, inodes are not: a stream is open exactly as long as its number
//! leads to its inode. Asking costs one fstat(2) (0.3 µs) each, so the table is walked only
//! when somebody wants to know.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use maitred_protocol::fd::inode;

/// Tells one listener's connections from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListenerTag(pub(crate) u32);

#[derive(Debug)]
struct Entry {
    inode: u64,
    listener: ListenerTag,
}

/// The streams given to the program, by descriptor number.
///
/// An entry is made when a stream is given out, and removed when a walk finds it closed, or
/// replaced when its number is given out again. So there are never more entries than this
/// process ever had descriptors at once.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    entries: BTreeMap<RawFd, Entry>,
    taken: u64,
}

impl OpenConnections {
    /// Notes a stream that the program is about to get.
    pub(crate) fn note(&mut self, stream: &impl AsRawFd, listener: ListenerTag) {
        let number = stream.as_raw_fd();
        self.taken += 1;
        if let Some(inode) = inode(number) {
            self.entries.insert(number, Entry { inode, listener });
        }
    }

    /// Returns how many streams were given out since the start.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Counts what is open.
    pub(crate) fn count(&mut self) -> usize {
        self.entries.retain(is_open);
        self.entries.len()
    }

    /// Counts what is open of one listener.
    pub(crate) fn count_of(&mut self, listener: ListenerTag) -> usize {
        self.entries
            .retain(|number, entry| entry.listener != listener || is_open(number, entry));
        let of_listener = |entry: &&Entry| entry.listener == listener;
        self.entries.values().filter(of_listener).count()
    }

    /// Tells whether anything is open, looking no further than the first that is.
    pub(crate) fn any(&mut self) -> bool {
        while let Some(mut first) = self.entries.first_entry() {
            let number = *first.key();
            if is_open(&number, first.get_mut()) {
                return true;
            }
            first.remove();
        }
        false
    }
}

fn is_open(number: &RawFd, entry: &mut Entry) -> bool {
    inode(*number) == Some(entry.inode)
}

/// The table that the listeners of one link share, or that a listener without one has.
///
/// Its lock is the innermost: nothing else is locked while it is held.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedTable(Arc<Mutex<OpenConnections>>);

impl SharedTable {
    pub(crate) fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        // Each change is one insertion or removal, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    const A: ListenerTag = ListenerTag(1);
    const B: ListenerTag = ListenerTag(2);

    #[test]
    fn a_closed_stream_is_not_counted_even_when_its_number_is_used_again() {
        let (stream, other) = UnixStream::pair().unwrap();
        let mut open = OpenConnections::default();
        open.note(&stream, A);
        assert_eq!(open.count(), 1);
        let number = stream.as_raw_fd();
        drop(stream);
        // Takes the lowest free number, most likely the one just freed; other tests may be
        // quicker, and then the number is closed or somebody else's. Never ours.
        let again = UnixStream::pair().unwrap();
        assert!(!open.any(), "{number} {again:?} {other:?}");
        assert_eq!((open.count(), open.taken()), (0, 1));
    }

    #[test]
    fn a_number_given_out_again_counts_once() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let mut open = OpenConnections::default();
        open.note(&stream, A);
        open.note(&stream, B);
        assert_eq!((open.count(), open.taken()), (1, 2));
        assert_eq!((open.count_of(A), open.count_of(B)), (0, 1));
    }

    #[test]
    fn each_listener_is_counted_for_itself() {
        let (first, second) = UnixStream::pair().unwrap();
        let mut open = OpenConnections::default();
        open.note(&first, A);
        open.note(&second, B);
        assert_eq!((open.count_of(A), open.count_of(B)), (1, 1));
        drop(first);
        assert_eq!((open.count_of(A), open.count_of(B)), (0, 1));
        assert!(open.any());
    }
}
