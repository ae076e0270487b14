//! What the cluster's owner asks of the event loop.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use maitred_core::dispatch::{PolicyName, Snapshot};
use maitred_core::id::{SlotId, WorkerId};
use maitred_core::supervise::ReloadWish;
use tokio::sync::oneshot;

use crate::accept_errors::AcceptErrors;
use crate::cluster::ClusterError;
use crate::operation::{ReloadError, ReloadReport, RestartError, RestartReport, SlotStatus};
use crate::policy::PolicyError;
use crate::settings::Settings;
use crate::shell::dialect::UserText;
use crate::worker::{SendError, Worker};

/// Commands that may wait for the event loop; whoever asks for more waits.
pub(crate) const QUEUE: usize = 256;

/// One wish of the cluster's owner.
#[derive(Debug)]
pub(crate) enum Command {
    /// Lay these settings over those in force.
    Setup(Box<Settings>),
    /// Keep this many workers alive.
    Scale {
        workers: u32,
        reply: oneshot::Sender<Result<(), ClusterError>>,
    },
    /// Start one worker that is not replaced when it ends.
    Fork {
        env: BTreeMap<OsString, OsString>,
        reply: oneshot::Sender<Worker>,
    },
    /// Send a user message.
    Send {
        worker: WorkerId,
        text: UserText,
        reply: oneshot::Sender<Result<(), SendError>>,
    },
    /// Drain one worker.
    Disconnect(WorkerId),
    /// Drain all workers, and answer when none is left.
    DisconnectAll(oneshot::Sender<()>),
    /// Signal a worker's process group.
    Kill {
        worker: WorkerId,
        signal: i32,
    },
    /// List the workers that are alive.
    Workers(oneshot::Sender<Vec<Worker>>),
    /// Describe the dispatcher's state.
    Snapshot(oneshot::Sender<Snapshot>),
    AcceptErrors(oneshot::Sender<AcceptErrors>),
    /// Start workers in these slots from this program, or as the settings say.
    Pin {
        slots: Vec<SlotId>,
        program: Option<PathBuf>,
    },
    /// Say how connections are spread.
    Policy(oneshot::Sender<PolicyName>),
    /// Spread them in another way, and answer how it was before.
    ChangePolicy {
        policy: PolicyName,
        reply: oneshot::Sender<Result<PolicyName, PolicyError>>,
    },
    /// Give a slot another weight, and answer what it was before.
    Weigh {
        slot: SlotId,
        weight: u32,
        reply: oneshot::Sender<Result<u32, PolicyError>>,
    },
    /// Replace every worker by a new one.
    Reload {
        wish: ReloadWish,
        reply: oneshot::Sender<Result<ReloadReport, ReloadError>>,
    },
    /// Drain one slot's worker, or all, and start anew.
    Restart {
        which: Option<SlotId>,
        reply: oneshot::Sender<Result<RestartReport, RestartError>>,
    },
    /// Drain everything; answer when nothing runs.
    Stop(oneshot::Sender<()>),
    /// Begin the counts of starts anew.
    Reset(Option<SlotId>),
    /// Describe every slot.
    Describe(oneshot::Sender<Vec<SlotStatus>>),
    /// Drain everything and end.
    Shutdown,
}
