//! What can be asked of the load client.

use std::path::PathBuf;
use std::time::Duration;

use super::target::Target;

/// Most connections: about twice as many as Linux has local ports for one server address by
/// default. Whoever wants so many must have raised that limit, and others.
pub(crate) const CONNECTIONS_MAX: u32 = 65_536;

/// Most requests in flight on one connection: a hundred times what the lesson's load has.
pub(crate) const PIPELINING_MAX: u32 = 1_000;

/// When the load ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// After this time.
    Time(Duration),
    /// After this many requests.
    Amount(u64),
}

/// A think time: each one lies between the two, all equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Think {
    /// The shortest.
    pub(crate) min: Duration,
    /// The longest.
    pub(crate) max: Duration,
}

/// What to do.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where the load goes.
    pub(crate) target: Target,
    /// Connections that are open at a time.
    pub(crate) connections: u32,
    /// Requests in flight on each.
    pub(crate) pipelining: u32,
    /// When the load ends.
    pub(crate) length: Length,
    /// How long a connection may take to come about, and then an answer.
    pub(crate) timeout: Duration,
    /// How long a client waits between an answer and its next request.
    pub(crate) think: Option<Think>,
    /// Whether each request has a connection of its own.
    pub(crate) close: bool,
    /// The request's method.
    pub(crate) method: String,
    /// Headers beside those that every request has, and in their place if the name is the same.
    pub(crate) headers: Vec<(String, String)>,
    /// The request's body.
    pub(crate) body: Vec<u8>,
    /// Where to write a line for every connection and request.
    pub(crate) record: Option<PathBuf>,
}
