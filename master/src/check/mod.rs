//! Proves from two records that no connection was lost, or says which one was.
//!
//! One record is the load client's: what became of each request. The other is the master's:
//! which worker had which connection when. Neither can lie for the other, so a failed request
//! is excused only by what the master wrote down at that time. `docs/loss.md` describes both
//! files and the classes.
//!
//! ```text
//!  load ────┐
//!           ├──► join ──► judge ──► Findings
//!  master ──┘
//! ```
//!
//! Where workers accept for themselves the master knows nothing of most connections, and less is
//! promised; `direct.rs` holds what the client saw against that.
//!
//! Everything here is told lines and returns values; it opens no file. What is not certain is
//! a [`Doubt`], and with a single one there is no proof.

mod direct;
mod findings;
mod join;
mod judge;
mod lines;
mod load;
mod master;

#[cfg(test)]
mod tests;

use std::io::{self, BufRead};
use std::time::Duration;

pub(crate) use findings::{Findings, Verdict};
use load::Load;
use master::Master;

/// What makes a proof.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demands {
    /// Connections that must have been looked at.
    pub(crate) min_connections: u64,
    /// How far apart a master and a client may notice the same thing.
    pub(crate) slack: Duration,
    /// Workers accept for themselves, so that the master knows only what it handed over.
    pub(crate) workers_accept: bool,
}

/// Reads both records and judges every request that failed.
///
/// # Errors
///
/// Those of reading. That a record proves nothing is no error but a [`Doubt`].
pub(crate) fn check(
    load: impl BufRead,
    events: impl BufRead,
    demands: Demands,
) -> io::Result<Findings> {
    let (load, master) = (Load::read(load)?, Master::read(events)?);
    let joined = join::join(&load, &master);
    Ok(judge::judge(&load, &master, &joined, demands))
}

/// Why two records prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    /// A line that cannot be understood.
    #[error("line {number} of {file} cannot be read: {reason}")]
    BadLine {
        /// Which record.
        file: Record,
        /// Counted from 1.
        number: u64,
        /// What is wrong.
        reason: String,
    },
    /// The writer was killed, or writes yet.
    #[error("{0} has no end: it is cut off, or still being written")]
    NoEnd(Record),
    /// Lines follow the one that should be the last.
    #[error("{0} goes on behind its end")]
    BehindEnd(Record),
    /// Steps of connections have no line.
    #[error("the master dropped {0} steps of connections, as they were not written in time")]
    Dropped(u64),
    /// Events have no line: one may be a worker's exit.
    #[error("{0} of the master's events were lost, as they were not written in time")]
    Lost(u64),
    /// The load client did not wait for requests.
    #[error("{0} requests were unfinished when the load ended")]
    Unfinished(u64),
    /// Lines of requests are missing.
    #[error("the load client's record tells of {told} requests, but made {made}")]
    Requests {
        /// As there are lines.
        told: u64,
        /// As the client counted.
        made: u64,
    },
    /// Connections that carried answers and yet are unknown to the master.
    #[error(
        "{count} connections that were answered are not in the master's events, such as {example}"
    )]
    Unjoined {
        /// How many.
        count: u64,
        /// One of them.
        example: String,
    },
    /// Connections that were joined with another one's life, or were answered by a stranger.
    #[error(
        "{count} connections were answered by another worker than the one that acked, such as {example}"
    )]
    WrongWorker {
        /// How many.
        count: u64,
        /// One of them.
        example: String,
    },
    /// Too little was looked at.
    #[error("only {joined} connections were looked at, and {wanted} are wanted")]
    TooFew {
        /// As there were.
        joined: u64,
        /// As there should be.
        wanted: u64,
    },
}

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The load client's.
    Load,
    /// The master's.
    Events,
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Load => "the load client's record",
            Self::Events => "the master's record",
        })
    }
}
