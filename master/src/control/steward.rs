//! Who runs the apps, as the control API sees it.
//!
//! The API knows no cluster, only this trait, so that its tests can say what happens, and the
//! same API can stand before one app in the foreground or many of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use maitred::PolicyName;

use super::api::{ChangedRow, Killed, PolicyRow, ScaledRow, State, Weighed};
use super::name::{AppName, Target};
use super::refusal::Refusal;

/// Whoever runs the apps.
///
/// Each act ends when it is done. The client may leave before: then the future is dropped,
/// which abandons the wait and not the act.
pub(crate) trait Steward: Send + Sync + 'static {
    /// What [`events`](Self::events) returns.
    type News: News;

    /// Returns all apps with their workers.
    fn apps(&self) -> impl Future<Output = Result<Vec<App>, Refusal>> + Send;

    /// Lets an app have so many workers from now on; does not wait for them. Two who add one
    /// at the same time add two.
    fn scale(
        &self,
        app: &AppName,
        to: Target,
    ) -> impl Future<Output = Result<ScaledRow, Refusal>> + Send;

    /// Spreads an app's connections in another way.
    fn change_policy(
        &self,
        app: &AppName,
        policy: PolicyName,
    ) -> impl Future<Output = Result<PolicyRow, Refusal>> + Send;

    /// Gives the worker of a slot another share of connections.
    fn weigh(
        &self,
        app: &AppName,
        slot: u32,
        weight: u32,
    ) -> impl Future<Output = Result<Weighed, Refusal>> + Send;

    /// Does something to an app or to one of its workers.
    fn change(
        &self,
        change: Change,
        whom: &Whom,
    ) -> impl Future<Output = Result<ChangedRow, Refusal>> + Send;

    /// Drains and ends everything.
    fn kill(&self) -> impl Future<Output = Result<Killed, Refusal>> + Send;

    /// Returns what happens from now on.
    fn events(&self) -> Self::News;
}

/// What happens, in order. Whoever takes it too slowly loses some, and is told how much.
pub(crate) trait News: Send + 'static {
    /// Waits for the next event; `None` after the last.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Bulletin>> + Send;

    /// Returns how many were lost so far.
    fn missed(&self) -> u64;
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bulletin {
    /// Its name.
    pub(crate) event: &'static str,
    /// Its own fields and its name, as a JSON object.
    pub(crate) fields: serde_json::Value,
    /// The event in a sentence.
    pub(crate) text: String,
}

/// What can be done to an app, or to one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Replace each worker by one that listens before the old one leaves.
    Reload {
        /// How many at once.
        parallel: u32,
        /// Whether the new ones may listen elsewhere.
        allow_listen_change: bool,
    },
    /// Drain each worker and start another in its slot.
    Restart,
    /// Drain each worker, and close the listeners.
    Stop,
    /// Set the counters to zero.
    Reset,
    /// Start workers from the program that is on disk now, beside the others, and give them
    /// a share of the connections.
    Canary {
        /// How many.
        workers: u32,
        /// Their share together, in percent.
        percent: u32,
    },
    /// Replace all others by such as the canaries are.
    Promote,
    /// Drain the canaries.
    Withdraw,
}

/// To whom it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whom {
    /// The app.
    pub(crate) app: AppName,
    /// Only the worker in this slot.
    pub(crate) slot: Option<u32>,
}

/// One app at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct App {
    /// Its name.
    pub(crate) name: AppName,
    /// How many workers it is to have.
    pub(crate) wanted: u32,
    /// How its connections are spread.
    pub(crate) policy: PolicyName,
    /// How often accepting failed since the master began, by the kernel's name for the error.
    pub(crate) accept_errors: BTreeMap<String, u64>,
    /// Its workers, and its slots that have none.
    pub(crate) places: Vec<Place>,
}

/// One worker, or a slot without one, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// Which slot.
    pub(crate) slot: u32,
    /// The worker's number.
    pub(crate) worker: Option<u32>,
    /// Its process.
    pub(crate) pid: Option<u32>,
    /// Which reload it came with, if that is known.
    pub(crate) generation: Option<u32>,
    /// Where it is in its life.
    pub(crate) state: State,
    /// What it runs, where not all run the same.
    pub(crate) program: Option<String>,
    /// How many workers the slot had before it, since the last reset.
    pub(crate) restarts: u32,
    /// Connections it serves.
    pub(crate) open: u32,
    /// Connections it took since its start.
    pub(crate) taken: u64,
    /// Requests it answered since its start, as far as it counts them.
    pub(crate) requests: u64,
    /// The longest that its event loop was late of late, if it has one that is measured.
    pub(crate) loop_delay: Option<Duration>,
    /// What it uses of its JavaScript heap, if it has one.
    pub(crate) heap_bytes: Option<u64>,
}
