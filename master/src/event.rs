//! What happens in a cluster, as its owner sees it: Node's events and a few more.

mod words;

use maitred_core::dispatch::PolicyName;
use maitred_core::id::{Generation, ServerId, SlotId, WorkerId};
use maitred_core::supervise::{ExitStatus, HangSign};
use serde::Serialize;
use serde_json::Value;

use crate::operation::Cut;

/// One event of a cluster.
///
/// The first seven bear Node's names. Their order for one worker is Node's too: `fork`,
/// `online`, `listening`, then `disconnect` and `exit`, of which the last is always `exit`
/// here (Node leaves that open).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Settings were laid down or changed.
    Setup,
    /// A worker process was started.
    Fork {
        /// Its number.
        worker: WorkerId,
        /// Its place.
        slot: SlotId,
        /// Its process.
        pid: u32,
    },
    /// A worker has greeted the master.
    Online {
        /// Its number.
        worker: WorkerId,
        /// Its process.
        pid: u32,
    },
    /// A worker listens on a server.
    Listening {
        /// Its number.
        worker: WorkerId,
        /// Its process.
        pid: u32,
        /// The address, with the real port.
        address: String,
    },
    /// A worker should be ready by now, and is not. It is left alone.
    NotListening {
        /// Its number.
        worker: WorkerId,
        /// Its process; 0 if it was not even started.
        pid: u32,
        /// How long it has had, in milliseconds: the listen timeout.
        after_ms: u64,
        /// Whether it does listen, and only has not said that it is ready.
        listens: bool,
    },
    /// A worker's program sent a message.
    Message {
        /// Its number.
        worker: WorkerId,
        /// Its process.
        pid: u32,
        /// What it said.
        message: Value,
    },
    /// A worker's channel is closed.
    Disconnect {
        /// Its number.
        worker: WorkerId,
        /// Its process.
        pid: u32,
    },
    /// A worker's process has ended and was reaped.
    Exit {
        /// Its number.
        worker: WorkerId,
        /// Its process; 0 if it never started.
        pid: u32,
        /// How it ended.
        #[serde(flatten)]
        status: ExitStatus,
        /// It left because it was asked to, or because it wanted to and said so.
        exited_after_disconnect: bool,
    },
    /// A worker could not be started.
    SpawnFailed {
        /// Its number, which no process bears.
        worker: WorkerId,
        /// The system's words.
        reason: String,
    },
    /// All first workers are ready: they listen, or have said so where that is awaited.
    Ready {
        /// How many there are.
        workers: usize,
    },
    /// A listener was opened.
    ServerOpened {
        /// Its name.
        server: ServerId,
        /// The address, with the real port.
        address: String,
    },
    /// A listener was closed.
    ServerClosed {
        /// Its name.
        server: ServerId,
    },
    /// Accepting failed in a way that time may mend; it is tried again shortly.
    AcceptPaused {
        /// On which server.
        server: ServerId,
        /// The kernel's name for the error, such as `EMFILE`; `other` for what accept(2) does
        /// not tell of.
        error: &'static str,
        /// The system's words.
        reason: String,
    },
    /// A worker could not be asked to listen where it wanted.
    ListenFailed {
        /// Which worker asked.
        worker: WorkerId,
        /// Its process.
        pid: u32,
        /// The errno it was told.
        errno: i32,
        /// The system's words.
        reason: String,
    },
    /// A worker broke the protocol and is being killed.
    Breached {
        /// Which worker.
        worker: WorkerId,
        /// Its process.
        pid: u32,
        /// What it did.
        reason: String,
    },
    /// A connection was closed unserved.
    Refused {
        /// Why.
        reason: String,
    },
    /// A program that does not come up is started again only after a pause.
    BackingOff {
        /// Which place.
        slot: SlotId,
        /// How long, in milliseconds.
        delay_ms: u64,
        /// How often in a row it has failed.
        failures: u32,
    },
    /// A place is given up: its program failed too often in a row before it was ready.
    Errored {
        /// Which place.
        slot: SlotId,
        /// The last worker that failed there.
        worker: WorkerId,
        /// How that one ended; nothing if it could not even be started.
        #[serde(flatten)]
        status: Option<ExitStatus>,
        /// How often in a row it has failed.
        failures: u32,
        /// What the last worker printed last, as far as it was read by then, if its output is
        /// read here.
        last_lines: Vec<String>,
    },
    /// A worker passed its drain deadline and is being ended; what it held is cut.
    CutAtDeadline {
        /// Which worker.
        worker: WorkerId,
        /// Its process.
        pid: u32,
        /// What it still held.
        cut: Cut,
    },
    /// A worker hangs, and is being killed.
    Hung {
        /// Which worker.
        worker: WorkerId,
        /// Its process.
        pid: u32,
        /// How it was recognised.
        sign: HangSign,
    },
    /// A place stays empty: its worker ended with a code that says so.
    Stopped {
        /// Which place.
        slot: SlotId,
    },
    /// Everything was asked to stop, and has; the master stays.
    Resting,
    /// Every worker is being replaced by a new one.
    ReloadBegun {
        /// What the new workers belong to.
        generation: Generation,
        /// How many are to be replaced.
        workers: usize,
    },
    /// A new worker is ready and has taken a place; the old one drains.
    Replaced {
        /// Which place.
        slot: SlotId,
        /// Who had it, if anybody did.
        old: Option<WorkerId>,
        /// Who has it now.
        new: WorkerId,
    },
    /// Every worker was replaced, and the old ones are gone.
    Reloaded {
        /// What the new workers belong to.
        generation: Generation,
    },
    /// A reload has ended early; whoever was not replaced stays.
    ReloadFailed {
        /// What the new workers would have belonged to.
        generation: Generation,
        /// The new worker that failed.
        worker: Option<WorkerId>,
        /// Why.
        reason: String,
    },
    /// Connections are spread in another way from now on.
    PolicyChanged {
        /// The policy before.
        from: PolicyName,
        /// The policy from now on.
        to: PolicyName,
    },
    /// A slot's worker, and whoever follows it there, has another share under `weighted`.
    Weighed {
        /// Which place.
        slot: SlotId,
        /// Its share, in relation to the others'.
        weight: u32,
    },
    /// The shutdown began: what the backlog holds is served, and no more workers are started,
    /// but for one in the place of the last that dies before that is done.
    ShuttingDown,
}

impl Event {
    /// Returns the event's name, as it stands in its JSON form.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Fork { .. } => "fork",
            Self::Online { .. } => "online",
            Self::Listening { .. } => "listening",
            Self::NotListening { .. } => "not_listening",
            Self::Message { .. } => "message",
            Self::Disconnect { .. } => "disconnect",
            Self::Exit { .. } => "exit",
            Self::SpawnFailed { .. } => "spawn_failed",
            Self::Ready { .. } => "ready",
            Self::ServerOpened { .. } => "server_opened",
            Self::ServerClosed { .. } => "server_closed",
            Self::AcceptPaused { .. } => "accept_paused",
            Self::ListenFailed { .. } => "listen_failed",
            Self::Breached { .. } => "breached",
            Self::Refused { .. } => "refused",
            Self::BackingOff { .. } => "backing_off",
            Self::Errored { .. } => "errored",
            Self::CutAtDeadline { .. } => "cut_at_deadline",
            Self::Hung { .. } => "hung",
            Self::Stopped { .. } => "stopped",
            Self::Resting => "resting",
            Self::ReloadBegun { .. } => "reload_begun",
            Self::Replaced { .. } => "replaced",
            Self::Reloaded { .. } => "reloaded",
            Self::ReloadFailed { .. } => "reload_failed",
            Self::PolicyChanged { .. } => "policy_changed",
            Self::Weighed { .. } => "weighed",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// Returns what the worker it is about printed last, where that explains what happened.
    #[must_use]
    pub fn last_lines(&self) -> &[String] {
        if let Self::Errored { last_lines, .. } = self {
            last_lines
        } else {
            &[]
        }
    }

    /// Returns the worker it is about and that worker's process, where there is one.
    #[must_use]
    pub fn process(&self) -> Option<(WorkerId, u32)> {
        match *self {
            Self::Fork { worker, pid, .. }
            | Self::Online { worker, pid }
            | Self::Listening { worker, pid, .. }
            | Self::NotListening { worker, pid, .. }
            | Self::Message { worker, pid, .. }
            | Self::Disconnect { worker, pid }
            | Self::Exit { worker, pid, .. }
            | Self::ListenFailed { worker, pid, .. }
            | Self::Breached { worker, pid, .. }
            | Self::Hung { worker, pid, .. }
            | Self::CutAtDeadline { worker, pid, .. } => Some((worker, pid)),
            Self::Setup
            | Self::SpawnFailed { .. }
            | Self::Ready { .. }
            | Self::ServerOpened { .. }
            | Self::ServerClosed { .. }
            | Self::AcceptPaused { .. }
            | Self::Refused { .. }
            | Self::BackingOff { .. }
            | Self::Errored { .. }
            | Self::Stopped { .. }
            | Self::Resting
            | Self::ReloadBegun { .. }
            | Self::Replaced { .. }
            | Self::Reloaded { .. }
            | Self::ReloadFailed { .. }
            | Self::PolicyChanged { .. }
            | Self::Weighed { .. }
            | Self::ShuttingDown => None,
        }
    }
}
