//! What the supervisor orders.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exit::ExitStatus;
use super::hang::HangSign;
use super::reload_failure::ReloadFailure;
use super::restarting::RestartFailure;
use crate::id::{Generation, SlotId, WorkerId};

/// An order for the shell. Orders are performed first to last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Start a process. `Spawned` or `SpawnFailed` answers.
    Spawn {
        /// The new worker's number, never used before.
        worker: WorkerId,
        /// Its place. No other worker is in it, except one that this one is to replace and
        /// those that a reload has replaced, or given up, and that are on their way out.
        slot: SlotId,
        /// The set of workers it belongs to.
        generation: Generation,
    },
    /// Take a worker out of the rings, settle what is in flight to it, send it the drain
    /// notice and then the disconnect. Given once, and only to a worker that was `Spawned`.
    Drain(WorkerId),
    /// Send a signal to a worker's process group. Only to a worker that was `Spawned`.
    Signal {
        /// The worker whose group gets it.
        worker: WorkerId,
        /// Which signal.
        signal: i32,
    },
    /// Ask a worker whether it is there; `Answered` answers. Only one that is online, and
    /// was `Spawned`.
    Ping(WorkerId),
    /// Serve what the backlogs hold, close the listeners, then say `ServersClosed`.
    CloseServers,
    /// Tell whoever wants to know: logs, the API, `sd_notify`. Nothing waits for it.
    Announce(Announcement),
    /// Leave: nothing of ours lives any more. The last order of all.
    Finish(Outcome),
}

/// Something worth telling, of which the shell would not know by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announcement {
    /// Every wanted worker listens. Said once at the end of the start, and once more at the
    /// end of each restart.
    Ready,
    /// A worker ended, with what the supervisor knew of it; its record is gone by now.
    Exited {
        /// The worker that is gone.
        worker: WorkerId,
        /// The place it leaves.
        slot: SlotId,
        /// How it ended.
        status: ExitStatus,
        /// Whether it left because it, or the master, wanted so: Node's word for it.
        exited_after_disconnect: bool,
    },
    /// A slot waits before its next attempt, for its program did not come up.
    BackingOff {
        /// The slot that waits.
        slot: SlotId,
        /// How long.
        delay: Duration,
        /// Boot failures in a row until now.
        failures: u32,
    },
    /// A slot is given up after too many boot failures in a row.
    Errored {
        /// The slot without a worker.
        slot: SlotId,
        /// The last that failed there.
        worker: WorkerId,
        /// How that one ended; nothing if it could not even be started.
        status: Option<ExitStatus>,
        /// How many it were.
        failures: u32,
    },
    /// A slot stays empty: its worker ended with a code that says so.
    Stopped {
        /// The slot without a worker.
        slot: SlotId,
    },
    /// Everything was asked to stop, and has; somebody may ask for a restart.
    Resting,
    /// A worker hangs, and is being killed.
    Hung {
        /// Who.
        worker: WorkerId,
        /// How it was recognised.
        sign: HangSign,
    },
    /// A reload has begun.
    ReloadBegun {
        /// What the new workers belong to.
        generation: Generation,
        /// How many are to be replaced.
        workers: usize,
    },
    /// A new worker is ready and has taken a slot; the old one drains.
    Replaced {
        /// The slot.
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
    /// The reload has ended early. Whoever was not replaced stays.
    ReloadFailed {
        /// What the new workers would have belonged to.
        generation: Generation,
        /// The new worker that failed, and its slot.
        culprit: Option<(WorkerId, SlotId)>,
        /// Why.
        failure: ReloadFailure,
    },
    /// A slot that was to be restarted has a new worker, which listens.
    Restarted {
        /// Which slot.
        slot: SlotId,
    },
    /// A slot that was to be restarted has no worker that listens; nobody should wait for one.
    RestartFailed {
        /// Which slot.
        slot: SlotId,
        /// Why.
        failure: RestartFailure,
    },
    /// A worker passed its drain deadline: what it still served is cut.
    CutAtDeadline {
        /// The worker that now gets the kill signal.
        worker: WorkerId,
    },
}

/// How it all ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every worker drained in time.
    Done,
    /// Some worker passed its drain deadline during the shutdown.
    Cut,
    /// No worker ever got ready, and each wanted slot failed at least once.
    BootFailed {
        /// The slots that failed.
        slots: Vec<SlotId>,
    },
    /// Every managed slot is errored.
    Errored,
}
