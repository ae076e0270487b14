//! The bytes that have arrived on a connection and are not yet used.

/// Room for arriving bytes at first: more than nearly every request needs.
const INITIAL: usize = 4 * 1024;

/// A buffer that is filled at its end and emptied from its front.
///
/// One per connection, used again for every request. It grows by doubling, never beyond
/// what its caller allows, and gives surplus memory back while the connection is idle.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Always initialised to its whole length; only `start..end` means anything.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// The bytes that wait to be used.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether nothing waits to be used.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks the first `count` unread bytes as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "consumed more than there was");
    }

    /// Room to read into, which is empty only if `most` bytes are waiting already.
    pub(super) fn room(&mut self, most: usize) -> &mut [u8] {
        if self.start > 0 && (self.is_empty() || self.end == self.bytes.len()) {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() && self.end < most {
            let larger = (self.end * 2).clamp(INITIAL.min(most), most);
            self.bytes.resize(larger, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Makes sure that one read can take `count` bytes.
    pub(super) fn reserve(&mut self, count: usize) {
        if self.bytes.len() < count {
            self.bytes.resize(count, 0);
        }
    }

    /// Takes note that `count` bytes of the room were filled.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// Gives back what a large request made us allocate. Call it when nothing is unread.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.bytes.len() > INITIAL {
            *self = Self::default();
        }
    }

    /// How much memory this holds, in bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }
}
