//! Counts the connections that the program still holds.
//!
//! A program that accepts by itself gets plain `TcpStream`s, which any library can use; so
//! nothing tells us when it drops one. But we know the descriptor's number and its inode.
//! Numbers are given again as soon as they are free, inodes are not: a stream is open exactly as
//! long as its number leads to its inode. Asking costs one fstat(2) (0.3 µs) each, so the table
//! is walked only when somebody wants to know.
//!
//! Our HTTP servers accept for their program and show it requests alone, so their streams can be
//! [`Counted`]: wrapped, and counted off when they are dropped, which costs no system call.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use maitred_protocol::fd::inode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
    /// How many counted streams are open; no entry is 0.
    counted: BTreeMap<ListenerTag, usize>,
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

    fn count_in(&mut self, listener: ListenerTag) {
        self.taken += 1;
        *self.counted.entry(listener).or_default() += 1;
    }

    fn count_off(&mut self, listener: ListenerTag) {
        if let Some(count) = self.counted.get_mut(&listener) {
            *count -= 1;
            if *count == 0 {
                self.counted.remove(&listener);
            }
        }
    }

    /// Returns how many streams were given out since the start.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Counts what is open.
    pub(crate) fn count(&mut self) -> usize {
        self.entries.retain(is_open);
        self.entries.len() + self.counted.values().sum::<usize>()
    }

    /// Counts what is open of one listener.
    pub(crate) fn count_of(&mut self, listener: ListenerTag) -> usize {
        self.entries
            .retain(|number, entry| entry.listener != listener || is_open(number, entry));
        let of_listener = |entry: &&Entry| entry.listener == listener;
        let counted = self.counted.get(&listener).copied().unwrap_or(0);
        self.entries.values().filter(of_listener).count() + counted
    }

    /// Tells whether anything is open, looking no further than the first that is.
    pub(crate) fn any(&mut self) -> bool {
        if !self.counted.is_empty() {
            return true;
        }
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

/// A stream that counts as open until it is dropped.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    /// Dropped last: what is not counted any more is closed.
    _place: Place,
}

#[derive(Debug)]
struct Place {
    table: SharedTable,
    listener: ListenerTag,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().count_off(self.listener);
    }
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S, table: &SharedTable, listener: ListenerTag) -> Self {
        table.lock().count_in(listener);
        let table = table.clone();
        let _place = Place { table, listener };
        Self { stream, _place }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
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
    fn a_counted_stream_counts_until_it_is_dropped() {
        let table = SharedTable::default();
        let first = Counted::new((), &table, A);
        let second = Counted::new((), &table, B);
        let counts = || {
            let mut open = table.lock();
            (open.count(), open.count_of(A), open.count_of(B), open.any())
        };
        assert_eq!(counts(), (2, 1, 1, true));
        drop(first);
        assert_eq!(counts(), (1, 0, 1, true));
        drop(second);
        assert_eq!(counts(), (0, 0, 0, false));
        assert_eq!(table.lock().taken(), 2);
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
