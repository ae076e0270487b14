//! `maitred ping` and `kill`: is a master there, and let it be there no more.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;

use super::ask::{self, Form};
use super::ls::uptime;
use crate::control::api::{Killed, Pong, route};
use crate::control::client::Client;

/// How long to wait for a process that has said that it ends; it has nothing left to do.
const LAST_STEPS: Duration = Duration::from_secs(5);

/// Ask whether a master is running. Exit code 4: none is.
#[derive(Debug, Args)]
pub(crate) struct PingArguments {
    #[command(flatten)]
    form: Form,
}

/// Drain all workers and end the master, as SIGTERM does.
#[derive(Debug, Args)]
pub(crate) struct KillArguments {
    #[command(flatten)]
    form: Form,
}

/// Pings.
///
/// # Errors
///
/// Those of asking.
pub(super) fn ping(arguments: &PingArguments) -> anyhow::Result<ExitCode> {
    let pong = Client::new().and_then(|client| client.get::<Pong>(route::PING));
    arguments.form.tell(pong, |pong| {
        let (pid, version, up) = (pong.pid, &pong.version, uptime(pong.uptime_ms));
        format!("master {pid}, version {version}, has run for {up}")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Kills the master, and returns when its process is gone, so that another may start.
///
/// # Errors
///
/// Those of asking.
pub(super) fn kill(arguments: &KillArguments) -> anyhow::Result<ExitCode> {
    let killed = Client::new().and_then(|client| {
        let killed = client.post::<Killed>(route::KILL, &json!({}))?;
        wait_until_gone(killed.pid);
        Ok(killed)
    });
    let killed = arguments.form.tell(killed, in_words)?;
    Ok(ask::code(killed.cut))
}

fn in_words(killed: &Killed) -> String {
    let cut = if killed.cut {
        "; connections were cut at the drain deadline"
    } else {
        ""
    };
    let mut told = format!("master {} has ended{cut}", killed.pid);
    told.extend(killed.what_was_cut.iter().map(|cut| format!("\n  {cut}")));
    told
}

fn wait_until_gone(pid: u32) {
    let pid = pid.try_into().ok().and_then(Pid::from_raw);
    // No descriptor: it is gone already, or in a place where we cannot see it.
    let Some(Ok(process)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return;
    };
    let limit = Timespec::try_from(LAST_STEPS).ok();
    // If it takes longer, it has said that it ends all the same.
    poll(&mut [PollFd::new(&process, PollFlags::IN)], limit.as_ref())
        .map(drop)
        .unwrap_or_default();
}
