//! Waits for something to happen and has the master deal with it; nothing else.
//!
//! One turn: at most [`BATCH`] reports from workers, or one command, or a deadline; then as
//! many connections as the turn allows. Whatever woke the loop, the accepting comes last, so
//! that acks have made room by then.

use std::future::poll_fn;
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
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) orphans: Orphans,
}

/// What woke the loop.
enum Wake {
    Reports,
    Command(Option<Command>),
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
        handle(&mut master, wake, &mut batch);
        let exhausted = master.accept_turn(Instant::now());
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
    if let Some(deadline) = master.deadline()
        && timer.deadline() != deadline.into()
    {
        timer.as_mut().reset(deadline.into());
    }
    let armed = master.deadline().is_some();
    // All of these are cancel safe: what is not returned is not taken.
    tokio::select! {
        biased;
        // The spawner holds a sender, so this queue never ends before the loop does.
        _ = inlets.reports.recv_many(batch, BATCH) => Wake::Reports,
        command = inlets.commands.recv() => Wake::Command(command),
        () = inlets.orphans.notice() => Wake::Orphan,
        () = acceptable(master) => Wake::Acceptable,
        () = timer, if armed => Wake::Deadline,
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

fn handle(master: &mut Master, wake: Wake, batch: &mut Vec<Report>) {
    let now = Instant::now();
    match wake {
        Wake::Reports => {
            for report in batch.drain(..) {
                master.handle_report(now, report);
            }
        }
        Wake::Command(Some(command)) => master.handle_command(now, command),
        // The owner's handle is gone: as Node's primary does when its program ends.
        Wake::Command(None) => master.shut_down(now),
        Wake::Deadline => master.handle_deadlines(now),
        Wake::Orphan | Wake::Acceptable => {}
    }
}
