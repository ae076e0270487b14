//! The channel of Node workers: a byte stream, one line one word, JSON inside.
//!
//! An unmodified Node program that `NODE_UNIQUE_ID` and `NODE_CHANNEL_FD` have told so takes
//! its channel's other end for Node's own primary. What is said there is Node's, measured on
//! the wire; this module translates it to and from [the same messages](crate::message) that
//! Rust workers speak, so that nobody else need know what kind of worker it is. An HTTP
//! worker's life, in short (`cmd` is `NODE_CLUSTER` unless given):
//!
//! ```text
//! worker                                               master
//!   ── act:online ───────────────────────────────────►         Hello, Online
//!   ── act:queryServer address port addressType seq:1 ►        QueryServer
//!   ◄──────────────────────── key ack:1 errno sockname ──      ServerReply
//!   ── act:listening (as asked, with the real port) ─►         Listening
//!   ◄─ cmd:NODE_HANDLE msg:{act:newconn key seq:7} + socket ── NewConnection
//!   ── cmd:NODE_HANDLE_ACK ──────────────────────────►         the descriptor has arrived
//!   ── ack:7 accepted:true ──────────────────────────►         Ack (false: Reject)
//!   ◄───────────────────────────────── act:disconnect ──       Disconnect
//!   ── act:close key ────────────────────────────────►         Close
//!   ── end of the stream ────────────────────────────►
//! ```
//!
//! A worker that leaves by itself says `exitedAfterDisconnect` and waits for ever unless that
//! is acked. Whatever has no `cmd` that begins with `NODE_` is a message of the user's program.
//!
//! Node's side is not ours to repair, and it is easily hurt: a malformed line, a positive
//! errno, a key twice or an ack for nothing make it crash, and two descriptors in the wrong
//! place make it serve the wrong connections (the `writer` module tells how). So each of these
//! has its one place here where it cannot happen.
//!
//! Some Node workers carry a *preload* of ours, a small script that answers pings from the
//! event loop, counts, and drains politely. It speaks on the same channel, with the `cmd`
//! `NODE_MAITRED`, which Node shows to no program. Without it pings are answered here.
//!
//! Reading order: `word` and `query` (what a worker says), `line` (what it is told),
//! `user_line` (what a user's program says), `translator` (what all mean, and all state), `framing` and `writer` (bytes in and out),
//! and at last the two that do I/O, `inbox` and `master_end`.

mod framing;
mod inbox;
mod line;
mod master_end;
mod query;
#[cfg(test)]
mod tests;
mod translator;
mod user_line;
mod word;
mod writer;

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

pub use inbox::{Heard, MasterInbox};
pub use line::Line;
pub use master_end::{MasterEnd, Room};
pub use translator::{Meaning, Wording};
pub use user_line::UserLine;

/// Longest line of a worker's by default, in bytes.
///
/// Node itself has no limit. This is far more than programs send one another in one message,
/// and what a master can hold once for each of some tens of workers.
pub const MESSAGE_MAX: usize = 16 * 1024 * 1024;

/// Makes a new channel: the master's end first, then the worker's. Both are close-on-exec, and
/// the master's is non-blocking; Node makes its own so.
///
/// Unlike a native worker, a Node worker may send descriptors: its program can, with
/// `process.send(message, socket)`. The master closes them on receipt.
///
/// # Errors
///
/// Those of socketpair(2).
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    let (master, worker) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((master, worker))
}
