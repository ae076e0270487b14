//! What the tasks around the event loop report to it.

use std::io;

use maitred_core::id::WorkerId;
use maitred_core::supervise::ExitStatus;
use maitred_protocol::ChannelError;

use super::dialect::Incoming;
use super::process::Spawned;

/// Something that happened outside the event loop. Reports about one worker keep their
/// order, and [`Exited`](Self::Exited) is the last of them.
#[derive(Debug)]
pub(crate) enum Report {
    /// The spawner has done what it was asked, or could not.
    Spawned(WorkerId, io::Result<Spawned>),
    /// A worker says something.
    Message(WorkerId, Incoming),
    /// A worker broke the protocol; it is not listened to any more.
    Breached(WorkerId, ChannelError),
    /// A worker has closed its end of the channel.
    ChannelClosed(WorkerId),
    /// A channel that was full can take frames again.
    Writable(WorkerId),
    /// A worker's process is reaped, and what it said ends in the middle of a word: it may have
    /// answered for more connections than anybody has heard of.
    CutOff(WorkerId),
    /// A worker's process is reaped and its channel read to the end.
    Exited(WorkerId, ExitStatus),
}

/// Reports that may wait for the event loop.
///
/// One turn takes up to [`BATCH`](super::event_loop::BATCH); the rest is room for a burst
/// from many workers. When it is full, workers' frames wait in their sockets.
pub(crate) const QUEUE: usize = 1024;
