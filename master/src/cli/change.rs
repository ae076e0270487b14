//! `maitred reload`, `restart`, `stop` and `reset`: what is done to all workers of an app.

use std::process::ExitCode;

use clap::{Args, value_parser};
use maitred::INSTANCES_MAX;
use serde::Serialize;
use serde_json::json;

use super::ask::{self, Form, route_to, subject, subject_or_only_app};
use crate::control::api::{CanaryRequest, Changed, ReloadRequest, route};
use crate::control::client::Client;
use crate::control::name::Subject;
use crate::control::refusal::Refusal;

/// To what something is done.
#[derive(Debug, Args)]
pub(crate) struct ChangeArguments {
    /// An app's name or `all`, or a worker's slot (but not for `stop`); may be left out if there
    /// is only one app
    #[arg(value_parser = subject)]
    app: Option<Subject>,

    #[command(flatten)]
    form: Form,
}

/// Replace workers one by one: each new one listens before the old one leaves.
///
/// The new ones run the program that is on disk now. If one does not come up, the old one
/// stays, and so do those that were not replaced yet.
#[derive(Debug, Args)]
pub(crate) struct ReloadArguments {
    #[command(flatten)]
    change: ChangeArguments,

    /// Workers that are replaced at the same time
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = value_parser!(u32).range(1..=i64::from(INSTANCES_MAX)))]
    parallel: u32,

    /// Let the new workers listen elsewhere than the old ones
    #[arg(long)]
    allow_listen_change: bool,
}

/// Start workers of the program that is on disk now, and give them a share of the connections.
///
/// The others stay, and whoever of them dies is followed by one of the same program. `promote`
/// then replaces these, and `withdraw` drains the new ones.
#[derive(Debug, Args)]
pub(crate) struct CanaryArguments {
    #[command(flatten)]
    change: ChangeArguments,

    /// The share of all connections that the new workers get together
    #[arg(long, value_name = "PERCENT", value_parser = value_parser!(u32).range(1..=99))]
    percent: u32,

    /// How many new workers
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = value_parser!(u32).range(1..=i64::from(INSTANCES_MAX)))]
    workers: u32,
}

/// Begins a canary.
///
/// # Errors
///
/// Those of asking.
pub(super) fn canary(arguments: &CanaryArguments) -> anyhow::Result<ExitCode> {
    let request = CanaryRequest {
        percent: arguments.percent,
        workers: arguments.workers,
    };
    let done = format!("started as canaries, for {} %", arguments.percent);
    change(&arguments.change, route::CANARY, &request, &done)
}

/// Promotes.
///
/// # Errors
///
/// Those of asking.
pub(super) fn promote(arguments: &ChangeArguments) -> anyhow::Result<ExitCode> {
    change(arguments, route::PROMOTE, &json!({}), "replaced")
}

/// Withdraws.
///
/// # Errors
///
/// Those of asking.
pub(super) fn withdraw(arguments: &ChangeArguments) -> anyhow::Result<ExitCode> {
    change(arguments, route::WITHDRAW, &json!({}), "withdrawn")
}

/// Reloads.
///
/// # Errors
///
/// Those of asking.
pub(super) fn reload(arguments: &ReloadArguments) -> anyhow::Result<ExitCode> {
    let request = ReloadRequest {
        parallel: arguments.parallel,
        allow_listen_change: arguments.allow_listen_change,
    };
    change(&arguments.change, route::RELOAD, &request, "reloaded")
}

/// Restarts.
///
/// # Errors
///
/// Those of asking.
pub(super) fn restart(arguments: &ChangeArguments) -> anyhow::Result<ExitCode> {
    change(arguments, route::RESTART, &json!({}), "restarted")
}

/// Stops.
///
/// # Errors
///
/// Those of asking.
pub(super) fn stop(arguments: &ChangeArguments) -> anyhow::Result<ExitCode> {
    change(arguments, route::STOP, &json!({}), "stopped")
}

/// Resets.
///
/// # Errors
///
/// Those of asking.
pub(super) fn reset(arguments: &ChangeArguments) -> anyhow::Result<ExitCode> {
    change(arguments, route::RESET, &json!({}), "reset")
}

fn change(
    arguments: &ChangeArguments,
    route: &str,
    request: &impl Serialize,
    done: &str,
) -> anyhow::Result<ExitCode> {
    let ask = |client: Client| -> Result<Changed, Refusal> {
        let app = subject_or_only_app(&client, arguments.app.clone())?;
        client.post(&route_to(route, &app), request)
    };
    let changed = Client::new().and_then(ask);
    let changed = arguments
        .form
        .tell(changed, |changed| in_words(changed, done))?;
    Ok(ask::code(changed.changed.iter().any(|row| row.cut > 0)))
}

fn in_words(changed: &Changed, done: &str) -> String {
    let mut lines = Vec::new();
    for row in &changed.changed {
        let mut line = match row.slot {
            Some(slot) => format!("{}: slot {slot} {done}", row.name),
            None if row.workers == 1 => format!("{}: 1 worker {done}", row.name),
            None => format!("{}: {} workers {done}", row.name, row.workers),
        };
        if row.cut > 0 {
            line += &format!(
                "; {} of them passed the drain deadline and were cut",
                row.cut
            );
        }
        lines.push(line);
        lines.extend(row.what_was_cut.iter().map(|cut| format!("  {cut}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::ChangedRow;

    #[test]
    fn what_was_done_is_said_in_a_line_each() {
        let row = |slot, workers, cut| ChangedRow {
            name: "shop".parse().unwrap(),
            slot,
            workers,
            cut,
            what_was_cut: Vec::new(),
        };
        let changed = vec![row(None, 4, 0), row(Some(3), 1, 0), row(None, 1, 1)];
        assert_eq!(
            in_words(&Changed { changed }, "restarted"),
            "shop: 4 workers restarted\nshop: slot 3 restarted\n\
             shop: 1 worker restarted; 1 of them passed the drain deadline and were cut"
        );
    }
}
