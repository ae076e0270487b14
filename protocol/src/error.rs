//! What can go wrong on a channel.

use std::io::{self, ErrorKind};

use thiserror::Error;

/// Why a frame could not be sent or received.
///
/// Messages read after "failed to".
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The other end is closed, or its process is gone. Nothing more will come.
    #[error("reach the other end of the channel: it is closed")]
    PeerGone,
    /// The socket's buffer is full: wait until it is writable, then send again.
    #[error("send a frame: the channel is full")]
    Full,
    /// Too many descriptors of this user are on their way (`ETOOMANYREFS`, unix(7)). The
    /// socket stays writable meanwhile, so send again after a pause.
    #[error("send a descriptor: too many are in flight for this user")]
    TooManyInFlight,
    /// A Node worker has to take in what was sent before: send again after it has said
    /// something.
    #[error("send a descriptor: the worker has to take in the one before it first")]
    AwaitingAck,
    /// A frame exceeds the limit.
    #[error("pass a frame: length {len} exceeds the limit {max}")]
    FrameTooLong {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The message needs a descriptor and came without.
    #[error("receive a frame: its descriptor is missing")]
    DescriptorMissing,
    /// Descriptors came with a message that takes none, or more than one came.
    #[error("receive a frame: it brought a descriptor that nobody asked for")]
    DescriptorUnexpected,
    /// The bytes are not a message of this protocol.
    #[error("decode a frame of {len} bytes: {reason}")]
    Malformed {
        /// The frame's length, in bytes.
        len: usize,
        /// What the decoder found.
        reason: String,
    },
    /// The first frame was not the greeting, or a greeting came again.
    #[error("greet: {0}")]
    Greeting(&'static str),
    /// The other side speaks another version.
    #[error(
        "agree on a protocol: the worker speaks version {worker}, the master version {master}; rebuild the older one"
    )]
    UnsupportedVersion {
        /// The worker's version.
        worker: u16,
        /// The master's version.
        master: u16,
    },
    /// The kernel refused.
    #[error("use the channel: {0}")]
    Io(#[from] io::Error),
}

impl ChannelError {
    /// Tells apart what sendmsg(2) on a channel answers.
    pub(crate) fn of_send(error: io::Error) -> Self {
        if error.raw_os_error() == Some(nix::libc::ETOOMANYREFS) {
            return Self::TooManyInFlight;
        }
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the standard library's list grows"
        )]
        match error.kind() {
            ErrorKind::WouldBlock => Self::Full,
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected => {
                Self::PeerGone
            }
            _ => Self::Io(error),
        }
    }

    /// Returns whether the peer did something that this protocol forbids; such a peer is
    /// not to be trusted with anything further.
    #[must_use]
    pub fn is_breach(&self) -> bool {
        match self {
            Self::FrameTooLong { .. }
            | Self::DescriptorMissing
            | Self::DescriptorUnexpected
            | Self::Malformed { .. }
            | Self::Greeting(_)
            | Self::UnsupportedVersion { .. } => true,
            Self::PeerGone
            | Self::Full
            | Self::TooManyInFlight
            | Self::AwaitingAck
            | Self::Io(_) => false,
        }
    }
}
