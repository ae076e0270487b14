//! `maitred bench`: puts a server under load, and can tell of each request what became of it.
//!
//! It is a closed loop, as wrk and autocannon are: so many connections, so many requests in
//! flight on each, and a next one only when one has ended. Latency counts from the moment
//! at which the write of a request began until its answer was complete. Since a server that
//! stalls is asked less meanwhile, such latencies flatter it; for a load that does not wait,
//! use something else.
//!
//! ```text
//!  options ──► load ──► course ──► client ──► connection ──► answer ──► tally ──► report
//!  what        shared   the time   one of c   the wire       parsing    counts    figures
//!                                                 └──► record: a line for each, if wanted
//! ```
//!
//! **Nothing is tried again.** A request that fails has failed, with one of the outcomes of
//! `outcome.rs`, and the next one is another request. That is what makes it an instrument:
//! whatever a server loses shows.
//!
//! Absent on purpose: TLS, HTTP/2, several URLs, several threads. One thread of
//! this client outruns one of any server that it was made for.

mod answer;
mod client;
mod course;
mod load;
mod options;
mod outcome;
mod progress;
mod record;
mod report;
mod request;
mod samples;
mod tally;
mod target;

#[cfg(test)]
mod testing;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, LocalOptions};

use load::Load;
use record::Recorder;
use report::Report;

pub(crate) use options::{CONNECTIONS_MAX, Length, Options, PIPELINING_MAX, Think};
pub(crate) use outcome::Outcome;
pub(crate) use target::Target;

/// Descriptors beside connections: standard streams, the runtime's, the record, and some room.
const DESCRIPTORS_BESIDE: u64 = 32;

/// Why no load was run, or why what it shows is incomplete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BenchError {
    /// The host of the URL has no address.
    #[error("find {url}: {source}")]
    Resolve {
        /// The URL.
        url: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// The record cannot be begun.
    #[error("create {}: {source}", path.display())]
    CreateRecord {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// This process may not have so many sockets.
    #[error("open {connections} connections: at most {max} files may be open (see `ulimit -n`)")]
    Descriptors {
        /// As were asked for.
        connections: u32,
        /// As are allowed.
        max: u64,
    },
    /// The record lacks lines.
    #[error("complete {}: {source}", path.display())]
    WriteRecord {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system does not let us begin.
    #[error("start: {0}")]
    Start(#[from] io::Error),
}

impl BenchError {
    /// Whether something else should have been asked for.
    pub(crate) fn is_misuse(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::CreateRecord { .. } | Self::Descriptors { .. } => true,
            Self::WriteRecord { .. } | Self::Start(_) => false,
        }
    }
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Results {
    report: Report,
    is_clean: bool,
    record: Result<(), BenchError>,
}

impl Results {
    /// Returns the tables for people.
    pub(crate) fn tables(&self) -> String {
        report::tables(&self.report)
    }

    /// Returns the same for programs.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&self.report)
    }

    /// Whether every request had its answer.
    pub(crate) fn is_clean(&self) -> bool {
        self.is_clean
    }

    /// Returns why the record is incomplete, if it is.
    ///
    /// # Errors
    ///
    /// That.
    pub(crate) fn into_record(self) -> Result<(), BenchError> {
        self.record
    }
}

/// Runs a load to its end. Shows nothing but the progress bar.
///
/// # Errors
///
/// Why none was run.
pub(crate) fn run(options: &Options) -> Result<Results, BenchError> {
    run_at(options, &resolve(&options.target)?)
}

/// Runs a load against the first of `addresses` that takes a connection.
fn run_at(options: &Options, addresses: &[SocketAddr]) -> Result<Results, BenchError> {
    allow_descriptors(options.connections)?;
    let recorder = options.record.as_ref().map(|path| {
        Recorder::create(path).map_err(|source| BenchError::CreateRecord {
            path: path.clone(),
            source,
        })
    });
    let load = Rc::new(Load::new(options, recorder.transpose()?, addresses[0]));
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())?;
    let course = runtime.block_on(course::run(&load, options, addresses));
    let record = load.finish_record();
    let tally = load.tally.borrow();
    Ok(Results {
        report: Report::new(options, &course, &tally, load.unfinished()),
        is_clean: tally.failures() == 0 && load.unfinished() == 0,
        record: record.map_err(|source| BenchError::WriteRecord {
            path: options.record.clone().unwrap_or_default(),
            source,
        }),
    })
}

fn resolve(target: &Target) -> Result<Vec<SocketAddr>, BenchError> {
    target.resolve().map_err(|source| BenchError::Resolve {
        url: target.url().to_owned(),
        source,
    })
}

/// Raises the limit of open files as far as it is needed and allowed.
fn allow_descriptors(connections: u32) -> Result<(), BenchError> {
    let wanted = u64::from(connections) + DESCRIPTORS_BESIDE;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if let Some(max) = limit.maximum
        && max < wanted
    {
        return Err(BenchError::Descriptors { connections, max });
    }
    limit.current = Some(wanted);
    setrlimit(Resource::Nofile, limit).map_err(|error| BenchError::Start(error.into()))
}
