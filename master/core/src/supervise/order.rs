//! What the supervisor orders.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::exit::ExitStatus;
use crate::id::{Generation, SlotId, WorkerId};

/// An order for the shell. Orders are performed first to last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Start a process. `Spawned` or `SpawnFailed` answers.
    Spawn {
        /// The new worker's number, never used before.
        worker: WorkerId,
        /// Its place, which no living worker holds.
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
    /// Serve what the backlogs hold, close the listeners, then say `ServersClosed`.
    CloseServers,
    /// Tell whoever wants to know: logs, the API, `sd_notify`. Nothing waits for it.
    Announce(Announcement),
    /// Leave: nothing of ours lives any more. The last order of all.
    Finish(Outcome),
}

/// Something worth telling, of which the shell would not know by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announcement {
    /// Every wanted worker listens. Said once, at the end of the start.
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
        /// How many it were.
        failures: u32,
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
