//! How a process finds out that it is a worker.
//!
//! The master hands its end of the channel over at a fixed number and names that number in
//! the environment. The variable alone proves nothing: a grandchild inherits the variable but
//! not the (close-on-exec) channel, so the number must also be a `SOCK_SEQPACKET` socket.
//! The variable stays in the environment, since removing it is unsafe in a threaded program.

use std::os::fd::{AsFd, RawFd};

use crate::fd;

/// Names the descriptor of the channel in a worker.
pub const CHANNEL_FD: &str = "MAITRED_CHANNEL_FD";
/// Holds the worker's number, for programs that do not read the channel.
pub const WORKER_ID: &str = "MAITRED_WORKER_ID";
/// Holds the worker's slot, for programs that want one instance to differ from the others.
pub const SLOT: &str = "MAITRED_SLOT";
/// Names the descriptor of the channel to Node (lib/child_process.js).
pub const NODE_CHANNEL_FD: &str = "NODE_CHANNEL_FD";
/// The form of messages on a Node channel: `json`.
pub const NODE_SERIALIZATION: &str = "NODE_CHANNEL_SERIALIZATION_MODE";
/// A Node worker's number; what makes `cluster.isWorker` true (lib/cluster.js).
pub const NODE_UNIQUE_ID: &str = "NODE_UNIQUE_ID";
/// A Node worker's slot, by pm2's name for it, unless another name is wished for.
pub const NODE_INSTANCE: &str = "NODE_APP_INSTANCE";
/// The number at which the master places a worker's channel: the first after the standard
/// three.
pub const CHANNEL_NUMBER: RawFd = 3;

/// Returns the number of this process's channel, or `None` if it is not a worker.
#[must_use]
pub fn channel_number() -> Option<RawFd> {
    let number: RawFd = std::env::var(CHANNEL_FD).ok()?.parse().ok()?;
    fd::is_seqpacket(number).then_some(number)
}

/// Returns whether this process was started by a master as its worker.
///
/// Once the channel was taken the answer is remembered by the worker library; ask it there.
#[must_use]
pub fn is_worker() -> bool {
    channel_number().is_some()
}

/// Returns whether `descriptor` can be a worker's channel.
pub(crate) fn is_seqpacket(descriptor: impl AsFd) -> bool {
    rustix::net::sockopt::socket_type(descriptor)
        .is_ok_and(|kind| kind == rustix::net::SocketType::SEQPACKET)
}
