//! Decides what of a line may be written now. Pure: it writes nothing itself.
//!
//! Two facts make it necessary. A Unix stream stops a read after the bytes that brought a
//! descriptor, but joins plain bytes *before* them to it. And a Node worker reads at most
//! [`READ`] bytes at a time and remembers one descriptor only, until it meets the line which
//! that belongs to. So if a read ends *inside* a line with a descriptor, and the next read
//! brings another descriptor, the first is silently lost, and all that follow are attached
//! to the wrong lines:
//!
//! ```text
//!   plain … plain {"cmd":"NODE_HAN│DLE", …}  {"cmd":"NODE_HANDLE", …}
//!   ◄──────── one read ──────────►│◄──────────── the next ──────────►
//!             with the first descriptor         with the second: it takes the first's place
//! ```
//!
//! A single such line is fine, however it is cut. Hence the rule: where a cut is possible the
//! line is a *barrier*. It is begun only when no other line with a descriptor is un-acked,
//! and the next one waits for its `NODE_HANDLE_ACK`.

use super::line::Line;
use crate::ChannelError;

/// What a Node worker reads at a time, in bytes (libuv's buffer for a pipe).
const READ: usize = 65_536;

/// Longest line that surely goes into the channel in one piece, in bytes.
///
/// The kernel cuts what is sent into pieces of half the send buffer and less. The smallest
/// buffer that an administrator can set is 4,608 bytes. A connection's line takes some 130.
const PIECE: usize = 2048;

/// What has been written, as far as it matters for what may be written next.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Plain bytes since the last line with a descriptor: the most that a worker can still
    /// have in front of the next one.
    plain: usize,
    /// The last line with a descriptor was a barrier.
    barrier: bool,
    /// The line that is written in part, and how far.
    begun: Option<(u64, usize)>,
}

/// The part of a line that is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) bytes: &'a [u8],
    /// The line's descriptor goes with it.
    pub(super) with_descriptor: bool,
}

impl Writer {
    /// Returns what of `line` is to be written next, while `unacked` lines with descriptors
    /// have not been acked.
    ///
    /// # Errors
    ///
    /// [`ChannelError::AwaitingAck`] if the line must wait for them.
    pub(super) fn next<'a>(
        &self,
        line: &'a Line,
        unacked: usize,
    ) -> Result<Part<'a>, ChannelError> {
        if let Some((number, written)) = self.begun {
            debug_assert_eq!(number, line.number, "a line is finished before the next");
            return Ok(Part {
                bytes: &line.bytes[written.min(line.len())..],
                with_descriptor: false,
            });
        }
        let with_descriptor = line.descriptor();
        if with_descriptor && unacked > 0 && (self.barrier || self.may_be_cut(line)) {
            return Err(ChannelError::AwaitingAck);
        }
        Ok(Part {
            bytes: &line.bytes,
            with_descriptor,
        })
    }

    /// Notes that `len` more bytes of `line` are in the channel; returns whether it is
    /// complete.
    pub(super) fn wrote(&mut self, line: &Line, len: usize) -> bool {
        let before = self.begun.map_or(0, |(_, written)| written);
        let written = before + len;
        let complete = written >= line.len();
        if line.descriptor() {
            // Its later pieces come without the descriptor, and would be joined to the next
            // line: a cut like any other.
            self.barrier = self.may_be_cut(line) || !complete || before > 0;
            if complete {
                self.plain = 0;
            }
        } else {
            self.plain = self.plain.saturating_add(len);
        }
        self.begun = (!complete).then_some((line.number, written));
        complete
    }

    fn may_be_cut(&self, line: &Line) -> bool {
        line.len() > PIECE || self.plain.saturating_add(line.len()) >= READ
    }
}
