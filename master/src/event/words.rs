//! What happened, in a sentence.

use std::fmt;
use std::time::Duration;

use maitred_core::id::{SlotId, WorkerId};
use maitred_core::supervise::{ExitStatus, HangSign};

use super::Event;
use crate::operation::Cut;

fn how_it_ended(worker: WorkerId, status: Option<ExitStatus>) -> String {
    let worker = worker.0;
    match status {
        Some(status) => format!("worker {worker} exited with {status}"),
        None => format!("worker {worker} could not be started"),
    }
}

fn who_took_over(slot: SlotId, old: Option<WorkerId>, new: WorkerId) -> String {
    let ready = format!("slot {}: worker {} is ready", slot.0, new.0);
    match old {
        Some(old) => format!("{ready}, worker {} drains", old.0),
        None => ready,
    }
}

fn what_was_cut(cut: &Cut) -> String {
    if cut.is_loss() {
        format!("passed its drain deadline, and what it still serves is cut: {cut}")
    } else {
        "did not leave in time, and held nothing as far as it told".to_owned()
    }
}

/// Says what a worker lacks that is not ready.
fn what_is_missing(listens: bool) -> &'static str {
    if listens {
        "has not said that it is ready"
    } else {
        "does not listen"
    }
}

fn how_it_hangs(sign: HangSign) -> &'static str {
    match sign {
        HangSign::Stopped => "it is stopped and owes an ack",
        HangSign::NoAck => "it sleeps and owes an ack",
        HangSign::NoPong => "it answers no ping",
    }
}

/// Says in a sentence without its full stop what happened; what follows from it is up to
/// whoever prints it.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((worker, pid)) = self.process() {
            write!(f, "worker {} (pid {pid}) ", worker.0)?;
        }
        match self {
            Self::Setup => f.write_str("the cluster is set up"),
            Self::Fork { slot, .. } => write!(f, "is started in slot {}", slot.0),
            Self::Online { .. } => f.write_str("is online"),
            Self::Listening { address, .. } => write!(f, "listens on {address}"),
            Self::NotListening {
                after_ms, listens, ..
            } => {
                let after = Duration::from_millis(*after_ms);
                write!(f, "{} yet after {after:?}", what_is_missing(*listens))
            }
            Self::Message { message, .. } => write!(f, "says {message}"),
            Self::Disconnect { .. } => f.write_str("disconnected"),
            Self::Exit { status, .. } => write!(f, "exited with {status}"),
            Self::SpawnFailed { worker, reason } => {
                write!(f, "worker {} could not be started: {reason}", worker.0)
            }
            Self::Ready { workers: 1 } => f.write_str("ready: the one worker listens"),
            Self::Ready { workers } => write!(f, "ready: all {workers} workers listen"),
            Self::ServerOpened { server, address } => {
                write!(f, "server {server} is open on {address}")
            }
            Self::ServerClosed { server } => write!(f, "server {server} is closed"),
            Self::AcceptPaused { server, reason, .. } => {
                write!(f, "server {server} cannot accept: {reason}")
            }
            Self::ListenFailed { reason, .. } => write!(f, "cannot listen: {reason}"),
            Self::Breached { reason, .. } => write!(f, "broke the protocol: {reason}"),
            Self::Refused { reason } => write!(f, "a connection was closed unserved: {reason}"),
            Self::BackingOff { slot, failures, .. } => {
                write!(f, "slot {} did not come up, {failures} in a row", slot.0)
            }
            Self::Errored {
                slot,
                worker,
                status,
                failures,
                ..
            } => {
                let (slot, end) = (slot.0, how_it_ended(*worker, *status));
                write!(
                    f,
                    "slot {slot} is given up: {end}, {failures} failures in a row"
                )
            }
            Self::CutAtDeadline { cut, .. } => f.write_str(&what_was_cut(cut)),
            Self::Hung { sign, .. } => {
                write!(f, "hangs ({}) and is being killed", how_it_hangs(*sign))
            }
            Self::Stopped { slot } => {
                write!(f, "slot {} stays empty, as its worker wanted", slot.0)
            }
            Self::Resting => f.write_str("everything has stopped"),
            Self::ReloadBegun { workers, .. } => write!(f, "reload: {workers} workers to replace"),
            Self::Replaced { slot, old, new } => f.write_str(&who_took_over(*slot, *old, *new)),
            Self::Reloaded { generation } => write!(f, "reloaded: generation {}", generation.0),
            Self::ReloadFailed { reason, .. } => write!(f, "reload failed: {reason}"),
            Self::PolicyChanged { from, to } => {
                write!(
                    f,
                    "connections are spread by {to} now, and no more by {from}"
                )
            }
            Self::Weighed { slot, weight } => write!(f, "slot {} weighs {weight} now", slot.0),
            Self::ShuttingDown => f.write_str("shutting down"),
        }
    }
}
