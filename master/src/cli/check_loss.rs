//! `maitred check-loss`: proves from two records that no connection was lost.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{Misuse, duration};
use crate::check::{self, Demands, Findings, Verdict};

/// Bytes read at once: records are hundreds of megabytes.
const READ: usize = 256 * 1024;

/// Check that no connection was lost, from a load client's record and a master's events.
///
/// BENCH is what `bench --record` wrote, EVENTS what `run --events json` did at the same time,
/// on the same machine. Every request that failed must have its reason in the events: its
/// worker died, or passed its drain deadline. Exit code 1 if one has none, or if the files are
/// incomplete and so prove nothing.
#[derive(Debug, Args)]
pub(crate) struct CheckLossArguments {
    /// The load client's record
    bench: PathBuf,

    /// The master's events, as JSON
    events: PathBuf,

    /// Connections that must have been looked at
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_connections: u64,

    /// How far apart a client and the master may notice the same thing
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "100ms")]
    slack: Duration,

    /// Workers accepted for themselves (policies `kernel` and `shared`): then a connection that
    /// a worker has accepted shares that worker's fate, and one in a queue is never lost
    #[arg(long)]
    workers_accept: bool,

    /// Answer with one JSON object
    #[arg(long)]
    json: bool,
}

/// The answer for programs.
#[derive(Serialize)]
struct Answer<'a> {
    verdict: Verdict,
    #[serde(flatten)]
    findings: &'a Findings,
}

/// Checks both files and answers.
///
/// # Errors
///
/// [`Misuse`] if a file is not there; why one cannot be read.
pub(super) fn run(arguments: &CheckLossArguments) -> anyhow::Result<ExitCode> {
    let demands = Demands {
        min_connections: arguments.min_connections,
        slack: arguments.slack,
        workers_accept: arguments.workers_accept,
    };
    let (load, events) = (open(&arguments.bench)?, open(&arguments.events)?);
    let findings = check::check(load, events, demands).context("read the records")?;
    let verdict = findings.verdict();
    let mut out = io::stdout().lock();
    if arguments.json {
        let findings = &findings;
        serde_json::to_writer(&mut out, &Answer { verdict, findings })?;
        writeln!(out)?;
    } else {
        write!(out, "{findings}")?;
    }
    Ok(match verdict {
        Verdict::Pass => ExitCode::SUCCESS,
        Verdict::Fail | Verdict::Inconclusive => ExitCode::from(super::FAILED),
    })
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path)
        .map_err(|error| Misuse(format!("cannot read {}: {error}", path.display())))?;
    Ok(BufReader::with_capacity(READ, file))
}
