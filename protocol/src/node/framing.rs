//! Cuts what a worker sends into lines. Pure: it is given bytes and reads none.
//!
//! A stream has no borders: a read may end anywhere, even inside a character. What is held
//! here is at most one line's beginning and one read: the longest line allowed and
//! [`READ`] bytes. After a long line the room it took is given back.

use crate::ChannelError;

/// Most bytes to be read at a time: Node itself reads as much.
pub(super) const READ: usize = 64 * 1024;

/// Bytes that came and are not yet a line that was taken.
#[derive(Debug)]
pub(super) struct Framing {
    bytes: Vec<u8>,
    /// Where the first line begins.
    start: usize,
    /// How far no newline was found, so that a long line is searched once only.
    searched: usize,
    line_max: usize,
}

impl Framing {
    pub(super) fn new(line_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            searched: 0,
            line_max,
        }
    }

    /// Adds what was read: at most [`READ`] bytes, after all whole lines were taken.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.make_room(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Doubles the room as usual, but never beyond what can be needed.
    fn make_room(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let most = self.line_max + READ;
            let room = (2 * self.bytes.capacity()).min(most).max(needed);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
    }

    /// Returns the length of the next whole line, without its newline.
    ///
    /// # Errors
    ///
    /// [`ChannelError::FrameTooLong`] as soon as that is certain, whole or not.
    pub(super) fn next_len(&mut self) -> Result<Option<usize>, ChannelError> {
        let newline = memchr::memchr(b'\n', &self.bytes[self.searched..]);
        self.searched = newline.map_or(self.bytes.len(), |at| self.searched + at);
        let len = self.searched - self.start;
        if len > self.line_max {
            let max = self.line_max;
            return Err(ChannelError::FrameTooLong { len, max });
        }
        Ok(newline.map(|_| len))
    }

    /// Takes the line whose length [`next_len`](Self::next_len) has just told.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let end = self.start + len;
        let after = end + 1;
        self.searched = after;
        if len <= READ {
            let line = self.bytes[self.start..end].to_vec();
            self.start = after;
            return line;
        }
        // The long line keeps the long buffer, and what follows gets a short one.
        let rest = self.bytes.split_off(after);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        line.truncate(end);
        line.drain(..self.start);
        self.start = 0;
        self.searched = 0;
        line
    }

    /// Returns whether there is more than the lines that were taken: the beginning of one, or
    /// one that is too long.
    pub(super) fn is_inside(&self) -> bool {
        self.start < self.bytes.len()
    }

    /// Returns how many bytes of memory are kept.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
