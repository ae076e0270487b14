//! Waits for something to happen and has the master deal with it; nothing else.
//!
//! One turn: at most [`BATCH`] reports from workers, or one command; then whatever is due;
//! then as many connections as the turn allows; and last, each worker is sent all that the turn
//! has for it. Whatever woke the loop, the accepting comes late, so that acks have made room by
//! then.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use maitred_core::supervise::Outcome;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::command::Command;
use super::master::Master;
use super::orphans::Orphans;
use super::report::Report;

/// Reports taken in one turn: what several workers' windows can produce at once.
pub(crate) const BATCH: usize = 64;

/// Where the loop hears from others.
#[derive(Debug)]
pub(crate) struct Inlets {
    pub(crate) reports: mpsc::Receiver<Report>,
    /// `None` once the owner's last handle is gone.
    pub(crate) commands: Option<mpsc::Receiver<Command>>,
    pub(crate) orphans: Orphans,
}

/// What woke the loop.
enum Wake {
    Reports,
    Command(Command),
    OwnerGone,
    Orphan,
    Acceptable,
    Deadline,
}

/// Runs the master until nothing of it is left.
pub(crate) async fn run(mut master: Master, mut inlets: Inlets) -> Outcome {
    let mut batch = Vec::with_capacity(BATCH);
    let mut timer = Box::pin(tokio::time::sleep_until(Instant::now().into()));
    loop {
        let wake = next(&master, &mut inlets, &mut batch, timer.as_mut()).await;
        let now = Instant::now();
        handle(&mut master, &mut inlets, now, (wake, &mut batch));
        // In every turn: the timer is asked last, and under a steady load that may be never.
        master.handle_deadlines(now);
        let exhausted = master.accept_turn(now);
        master.send_handoffs(now);
        if let Some(outcome) = master.outcome() {
            return outcome;
        }
        if inlets.orphans.wanted() {
            inlets.orphans.reap(&master);
        }
        if exhausted {
            // More is waiting than one turn may take. Without a pause here the tasks that
            // listen to workers, which share this thread, would never run.
            tokio::task::yield_now().await;
        }
    }
}

async fn next(
    master: &Master,
    inlets: &mut Inlets,
    batch: &mut Vec<Report>,
    mut timer: Pin<&mut Sleep>,
) -> Wake {
    let deadline = master.deadline();
    if let Some(deadline) = deadline
        && timer.deadline() != deadline.into()
    {
        timer.as_mut().reset(deadline.into());
    }
    // All of these are cancel safe: what is not returned is not taken.
    tokio::select! {
        biased;
        // The spawner holds a sender, so this queue never ends before the loop does.
        _ = inlets.reports.recv_many(batch, BATCH) => Wake::Reports,
        command = command(&mut inlets.commands) => command.map_or(Wake::OwnerGone, Wake::Command),
        () = inlets.orphans.notice() => Wake::Orphan,
        () = acceptable(master) => Wake::Acceptable,
        () = timer, if deadline.is_some() => Wake::Deadline,
    }
}

/// Waits for the owner's next wish; `None` once, when nobody is left to have one. Cancel safe.
async fn command(commands: &mut Option<mpsc::Receiver<Command>>) -> Option<Command> {
    match commands {
        Some(commands) => commands.recv().await,
        None => pending().await,
    }
}

/// Waits until some open server has a connection. Cancel safe: none is taken.
async fn acceptable(master: &Master) {
    poll_fn(|context| {
        if master.servers.any_acceptable(context) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn handle(
    master: &mut Master,
    inlets: &mut Inlets,
    now: Instant,
    (wake, batch): (Wake, &mut Vec<Report>),
) {
    match wake {
        Wake::Reports => {
            for report in batch.drain(..) {
                master.handle_report(now, report);
            }
        }
        Wake::Command(command) => master.handle_command(now, command),
        Wake::OwnerGone => {
            inlets.commands = None;
            // As Node's primary does when its program ends.
            master.shut_down(now);
        }
        Wake::Orphan | Wake::Acceptable | Wake::Deadline => {}
    }
}
