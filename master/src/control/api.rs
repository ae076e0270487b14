//! What is asked and answered over the control socket.
//!
//! Both sides are built from these types. They may be of different builds, so fields are only
//! ever added, and whatever an answer has besides them is ignored.

use std::collections::BTreeMap;

use maitred::{PolicyName, SlotState, WorkerState};
use serde::{Deserialize, Serialize};

use super::name::{AppName, Target};

/// Where requests go; `{app}` is an app's name, `all`, or a worker's slot.
pub(crate) mod route {
    /// Whether a master is there.
    pub(crate) const PING: &str = "/v1/ping";
    /// The apps.
    pub(crate) const APPS: &str = "/v1/apps";
    /// The workers.
    pub(crate) const WORKERS: &str = "/v1/workers";
    /// What happens, from now on.
    pub(crate) const EVENTS: &str = "/v1/events";
    /// Another number of workers.
    pub(crate) const SCALE: &str = "/v1/apps/{app}/scale";
    /// Another generation of workers, one after the other.
    pub(crate) const RELOAD: &str = "/v1/apps/{app}/reload";
    /// Other workers in the same slots.
    pub(crate) const RESTART: &str = "/v1/apps/{app}/restart";
    /// No workers.
    pub(crate) const STOP: &str = "/v1/apps/{app}/stop";
    /// Some workers of the program that is on disk now.
    pub(crate) const CANARY: &str = "/v1/apps/{app}/canary";
    /// All workers of that.
    pub(crate) const PROMOTE: &str = "/v1/apps/{app}/promote";
    /// None of that any more.
    pub(crate) const WITHDRAW: &str = "/v1/apps/{app}/withdraw";
    /// Another way to spread connections.
    pub(crate) const POLICY: &str = "/v1/apps/{app}/policy";
    /// Another share for one worker.
    pub(crate) const WEIGHT: &str = "/v1/apps/{app}/weight";
    /// Counters at zero.
    pub(crate) const RESET: &str = "/v1/apps/{app}/reset";
    /// The end of the master.
    pub(crate) const KILL: &str = "/v1/kill";
}

/// Answers a ping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pong {
    /// The master's process.
    pub(crate) pid: u32,
    /// Its version.
    pub(crate) version: String,
    /// Since when it has been there.
    pub(crate) uptime_ms: u64,
}

/// All apps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Apps {
    /// One row an app.
    pub(crate) apps: Vec<AppRow>,
}

/// One app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AppRow {
    /// Its name.
    pub(crate) name: AppName,
    /// How many workers it is to have.
    pub(crate) wanted: u32,
    /// How many listen.
    pub(crate) listening: u32,
    /// How its connections are spread.
    #[serde(default)]
    pub(crate) policy: String,
    /// How often accepting failed since the master began, by the kernel's name for the error.
    #[serde(default)]
    pub(crate) accept_errors: BTreeMap<String, u64>,
}

/// All workers, by slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workers {
    /// One row a worker; while one takes another's place, both.
    pub(crate) workers: Vec<WorkerRow>,
    /// One row an app.
    #[serde(default)]
    pub(crate) apps: Vec<AppRow>,
}

/// One worker, or a slot without one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkerRow {
    /// Its place: 0, 1, …, kept by its successors.
    pub(crate) slot: u32,
    /// Its app.
    pub(crate) name: AppName,
    /// Its number: 1, 2, …, never used twice. None if the slot is empty.
    pub(crate) worker: Option<u32>,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// Which reload it came with, if that is known.
    pub(crate) generation: Option<u32>,
    /// Where it is in its life.
    pub(crate) state: State,
    /// How many workers the slot had before it, since the last reset.
    pub(crate) restarts: u32,
    /// What it runs, where not all run the same: while there are canaries.
    #[serde(default)]
    pub(crate) program: Option<String>,
    /// How long its process has run.
    pub(crate) uptime_ms: Option<u64>,
    /// Connections it serves.
    pub(crate) open: u32,
    /// Connections it took since its start.
    pub(crate) taken: u64,
    /// CPU time it used lately, in percent of one processor.
    pub(crate) cpu_percent: Option<f64>,
    /// Memory that it has resident, what it shares with others included.
    pub(crate) memory_bytes: Option<u64>,
    /// Requests it answered since its start; 0 if it does not count them.
    #[serde(default)]
    pub(crate) requests: u64,
    /// The longest that its event loop was late, as it last told. Only Node workers tell.
    pub(crate) loop_delay_micros: Option<u64>,
    /// What it uses of its JavaScript heap. Only Node workers tell.
    pub(crate) heap_bytes: Option<u64>,
}

/// Where a worker is in its life, or what its empty slot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub(crate) enum State {
    /// Perhaps not even forked; it has not spoken.
    Starting,
    /// It has greeted the master.
    Online,
    /// It listens.
    Listening,
    /// It takes nothing new and finishes what it holds.
    Draining,
    /// It must exit soon, or is killed.
    Stopping,
    /// It is gone.
    Dead,
    /// An empty slot, until its wait is over.
    Backoff,
    /// An empty slot, by somebody's wish.
    Stopped,
    /// An empty slot whose program does not come up.
    Errored,
    /// A state that this program is too old to know.
    #[serde(other)]
    Unknown,
}

impl From<SlotState> for State {
    fn from(state: SlotState) -> Self {
        match state {
            SlotState::Occupied => Self::Starting,
            SlotState::Backoff => Self::Backoff,
            SlotState::Stopped => Self::Stopped,
            SlotState::Errored => Self::Errored,
        }
    }
}

impl From<WorkerState> for State {
    fn from(state: WorkerState) -> Self {
        match state {
            WorkerState::Starting => Self::Starting,
            WorkerState::Online => Self::Online,
            WorkerState::Listening => Self::Listening,
            WorkerState::Draining => Self::Draining,
            WorkerState::Stopping => Self::Stopping,
            WorkerState::Dead => Self::Dead,
        }
    }
}

impl State {
    /// Returns the state's name, as it stands in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Online => "online",
            Self::Listening => "listening",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Dead => "dead",
            Self::Backoff => "backoff",
            Self::Stopped => "stopped",
            Self::Errored => "errored",
            Self::Unknown => "unknown",
        }
    }
}

/// Asks for another number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScaleRequest {
    /// `"3"`, `"+1"`, `"-1"` or `"max"`.
    pub(crate) to: Target,
}

/// Answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaled {
    /// One row an app.
    pub(crate) scaled: Vec<ScaledRow>,
}

/// What was made of one app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScaledRow {
    /// Its name.
    pub(crate) name: AppName,
    /// How many workers it was to have.
    pub(crate) from: u32,
    /// How many it is to have now.
    pub(crate) to: u32,
}

/// Asks for canaries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanaryRequest {
    /// Their share of the connections.
    pub(crate) percent: u32,
    /// How many.
    #[serde(default = "one")]
    pub(crate) workers: u32,
}

/// Asks for another policy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicyRequest {
    /// Its name.
    pub(crate) policy: PolicyName,
}

/// Answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Respread {
    /// One row an app.
    pub(crate) policies: Vec<PolicyRow>,
}

/// What was made of one app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PolicyRow {
    /// Its name.
    pub(crate) name: AppName,
    /// How its connections were spread.
    pub(crate) from: PolicyName,
    /// How they are now.
    pub(crate) to: PolicyName,
}

/// Asks for another weight of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WeightRequest {
    /// Its share, in relation to the others'.
    pub(crate) weight: u32,
}

/// Answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Weighed {
    /// The app.
    pub(crate) name: AppName,
    /// The worker's slot.
    pub(crate) slot: u32,
    /// What it weighed.
    pub(crate) from: u32,
    /// What it weighs now.
    pub(crate) to: u32,
}

/// Asks for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReloadRequest {
    /// How many workers are replaced at once.
    #[serde(default = "one")]
    pub(crate) parallel: u32,
    /// Whether the new workers may listen elsewhere than the old ones.
    #[serde(default)]
    pub(crate) allow_listen_change: bool,
}

fn one() -> u32 {
    1
}

impl Default for ReloadRequest {
    fn default() -> Self {
        Self {
            parallel: one(),
            allow_listen_change: false,
        }
    }
}

/// Answers a reload, a restart, a stop or a reset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changed {
    /// One row for each app, or for the one worker, that it was about.
    pub(crate) changed: Vec<ChangedRow>,
}

/// What became of one app, or of one worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChangedRow {
    /// The app.
    pub(crate) name: AppName,
    /// The worker's slot, if it was only about that one.
    pub(crate) slot: Option<u32>,
    /// How many workers it was done to.
    pub(crate) workers: u32,
    /// How many of them passed their drain deadline, so that connections were cut.
    pub(crate) cut: u32,
    /// What was cut, in words: a line for each of those workers.
    #[serde(default)]
    pub(crate) what_was_cut: Vec<String>,
}

/// Answers that the master has ended but for this answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Killed {
    /// What was its process.
    pub(crate) pid: u32,
    /// Whether connections were cut at the drain deadline.
    pub(crate) cut: bool,
    /// What was cut, in words: a line for each worker that passed the deadline.
    #[serde(default)]
    pub(crate) what_was_cut: Vec<String>,
}
