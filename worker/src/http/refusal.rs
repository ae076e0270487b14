//! The answers we give instead of calling a handler.

use std::io;

/// Why a request is not served: a status and one sentence for whoever reads the answer.
///
/// Every refusal ends the connection. After a request we could not read to its end we do
/// not know where the next one begins, and guessing is how requests are smuggled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Refusal {
    /// The status code of the answer.
    pub(super) status: u16,
    /// The body of the answer; never quotes the client's own bytes.
    pub(super) reason: &'static str,
}

impl Refusal {
    /// No complete head within [`Limits::head_timeout`](super::Limits::head_timeout).
    pub(super) const SLOW_HEAD: Self = Self::new(408, "the request head took too long");
    /// A body paused for [`Limits::body_timeout`](super::Limits::body_timeout).
    pub(super) const SLOW_BODY: Self = Self::new(408, "the request body took too long");
    /// A body over [`Limits::body_bytes`](super::Limits::body_bytes).
    pub(super) const BODY_TOO_LARGE: Self = Self::new(413, "the request body is too large");
    /// The request line alone is over [`Limits::head_bytes`](super::Limits::head_bytes).
    pub(super) const TARGET_TOO_LONG: Self = Self::new(414, "the request line is too long");
    /// An expectation other than `100-continue` (RFC 9110, 10.1.1).
    pub(super) const EXPECTATION: Self = Self::new(417, "unknown expectation");
    /// Too many or too long header fields.
    pub(super) const HEAD_TOO_LARGE: Self = Self::new(431, "the header fields are too large");
    /// The handler failed, or went away without an answer.
    pub(super) const UNANSWERED: Self = Self::new(500, "the application gave no answer");
    /// A transfer coding other than `chunked` (RFC 9112, 6.1).
    pub(super) const UNKNOWN_CODING: Self = Self::new(501, "unknown transfer coding");
    /// `CONNECT`: its success would turn the connection into a tunnel.
    pub(super) const TUNNEL: Self = Self::new(501, "this server is not a proxy");
    /// Any version but HTTP/1.0 and HTTP/1.1.
    pub(super) const VERSION: Self = Self::new(505, "this version is not spoken here");

    /// A refusal with this status and reason.
    const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// A request that does not follow the grammar, or could be read in two ways: 400.
    pub(super) const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}

impl From<Refusal> for io::Error {
    /// What a handler sees when reading a body fails: the text is the refusal's reason.
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.status {
            408 => io::ErrorKind::TimedOut,
            413 => io::ErrorKind::FileTooLarge,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, refusal)
    }
}
