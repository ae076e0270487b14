//! What an operator asks of a running cluster (reload, restart, stop, a description of its
//! slots), and what is answered.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use maitred_core::id::{Generation, SlotId, WorkerId};
use maitred_core::supervise::{ReloadWish, SlotReport, SlotState};
use maitred_protocol::message::Statistics;
use serde::Serialize;
use thiserror::Error;

use crate::cluster::{Cluster, ClusterError};
use crate::shell::command::Command;
use crate::worker::{Worker, WorkerStatus};

impl Cluster {
    /// Replaces every worker, or that of one slot, by a new one, which runs what is on disk now;
    /// returns when the old ones are gone. There are never fewer workers than before: a new one takes a place
    /// only when it listens, and if one does not come up the old ones stay.
    ///
    /// # Errors
    ///
    /// [`ReloadError`], each with what happened.
    ///
    /// # Cancel safety
    ///
    /// A reload that has begun goes on if nobody waits for it any more.
    pub async fn reload(&self, wish: ReloadWish) -> Result<ReloadReport, ReloadError> {
        let asked = self.inquire(|reply| Command::Reload { wish, reply });
        asked.await.map_err(|_| ReloadError::Ended)?
    }

    /// Drains the worker of one slot, or every worker, and starts a new one in its place;
    /// returns when each of these listens. Connections wait meanwhile. Slots that were given
    /// up or stopped are started, too. While everything is being stopped, it follows upon
    /// that.
    ///
    /// # Errors
    ///
    /// [`RestartError`], each with what happened.
    ///
    /// # Cancel safety
    ///
    /// A restart that has begun goes on if nobody waits for it any more.
    pub async fn restart(&self, which: Option<SlotId>) -> Result<RestartReport, RestartError> {
        let asked = self.inquire(|reply| Command::Restart { which, reply });
        asked.await.map_err(|_| RestartError::Ended)?
    }

    /// Drains every worker and closes the listeners; returns when nothing runs any more. With
    /// [`Limits::stay_when_errored`](crate::Limits::stay_when_errored) the master stays, and
    /// [`restart`](Self::restart) brings the workers back; otherwise it ends.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`]: the master has ended with its last worker.
    pub async fn stop(&self) -> Result<(), ClusterError> {
        self.inquire(Command::Stop).await
    }

    /// Begins the counts of restarts anew, in one slot or everywhere.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`].
    pub async fn reset(&self, slot: Option<SlotId>) -> Result<(), ClusterError> {
        self.ask(Command::Reset(slot)).await
    }

    /// Describes every slot and every worker, by slot.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`].
    pub async fn describe(&self) -> Result<Vec<SlotStatus>, ClusterError> {
        self.inquire(Command::Describe).await
    }
}

/// How a reload went that has replaced every worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReloadReport {
    /// What the new workers belong to.
    pub generation: Generation,
    /// Who took whose place, in order.
    pub replaced: Vec<Replacement>,
    /// Old workers that passed their drain deadline.
    pub cut: Vec<Cut>,
}

/// One worker in another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Replacement {
    /// The place.
    pub slot: SlotId,
    /// Who had it; nobody in a slot that was empty.
    pub old: Option<WorkerId>,
    /// Who has it now.
    pub new: WorkerId,
}

/// What one worker still held at its drain deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Cut {
    /// The worker that was ended.
    pub worker: WorkerId,
    /// Its open connections, as it last told; 0 if it only did not leave in time.
    pub open: u32,
    /// Of these, keep-alive connections between two requests.
    pub idle: u32,
    /// Of these, with a request that is being answered.
    pub busy: u32,
    /// Of these, with an answer whose body is still being sent.
    pub streaming: u32,
    /// Of these, WebSockets and other upgraded ones.
    pub upgraded: u32,
    /// Connections beside these that it took and never told of: all of them, if it is a
    /// program that does not count. They may have ended.
    pub untold: u64,
}

impl Cut {
    pub(crate) fn new(worker: WorkerId, statistics: &Statistics, acked: u64) -> Self {
        let Statistics {
            open,
            taken,
            idle,
            busy,
            streaming,
            upgraded,
            ..
        } = *statistics;
        Self {
            worker,
            open,
            idle,
            busy,
            streaming,
            upgraded,
            untold: acked.saturating_sub(taken),
        }
    }

    /// Tells whether connections were cut, or may have been.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.open > 0 || self.untold > 0
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections", self.open)?;
        let kinds = [
            (self.busy, "in a request"),
            (self.streaming, "in an answer"),
            (self.upgraded, "upgraded"),
            (self.idle, "idle"),
        ];
        let told = kinds.iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = told
            .map(|(count, kind)| format!("{count} {kind}"))
            .collect();
        if !told.is_empty() {
            write!(f, " ({})", told.join(", "))?;
        }
        if self.untold > 0 {
            write!(f, ", and some of {} of which it did not tell", self.untold)?;
        }
        Ok(())
    }
}

/// Why a reload has not replaced every worker.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// Another one runs.
    #[error("reload: another reload is running; wait for it to end")]
    Busy,
    /// There is no worker to replace.
    #[error("reload: no worker runs that could be replaced")]
    NothingRuns,
    /// Everything is being stopped, after which a reload may be asked for again.
    #[error("reload: everything is being stopped")]
    Stopping,
    /// Everything drains, and then the master ends.
    #[error("reload: the master is ending")]
    Ending,
    /// The master has ended.
    #[error("reload: the master has ended")]
    Ended,
    /// A new worker did not come up. The old workers that are not in `replaced` stay.
    #[error("reload: {reason}")]
    Failed {
        /// What happened, with the new worker's number.
        reason: String,
        /// Who was replaced before that.
        replaced: Vec<Replacement>,
        /// The last lines that the failed worker printed, if its output is read here.
        last_lines: Vec<String>,
    },
}

/// How a restart went that has brought every slot it meant a new worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RestartReport {
    /// Slots that have a new worker.
    pub slots: Vec<SlotId>,
    /// Old workers that passed their drain deadline.
    pub cut: Vec<Cut>,
}

/// Why a restart has not brought a new worker everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RestartError {
    /// There is no such slot, or no worker is to follow the one in it.
    #[error("restart: no worker is to follow there")]
    NothingMeant,
    /// Everything drains, and then the master ends.
    #[error("restart: the master is ending")]
    Ending,
    /// The master has ended.
    #[error("restart: the master has ended")]
    Ended,
    /// In one slot no new worker came up. Others may go on.
    #[error("restart: {reason}")]
    Failed {
        /// What happened, with the slot.
        reason: String,
        /// The last lines that the failed worker printed, if its output is read here.
        last_lines: Vec<String>,
    },
}

/// One row of the list of workers: a slot with its worker, or a worker that is on its way out
/// of a slot, or a slot without any.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlotStatus {
    /// The place.
    pub slot: SlotId,
    /// What the place is doing.
    pub state: SlotState,
    /// Whether another worker follows there when this one is gone.
    pub is_wanted: bool,
    /// How often a worker was started again here, since the count was reset.
    pub restarts: u32,
    /// The worker, if there is one.
    pub worker: Option<WorkerId>,
    /// What is known of it.
    pub status: Option<WorkerStatus>,
    /// What it belongs to.
    pub generation: Option<Generation>,
    /// When it was ordered.
    pub started_at: Option<Instant>,
    /// What the next worker here runs, if that is not what the settings say.
    pub pinned_to: Option<PathBuf>,
}

impl SlotStatus {
    pub(crate) fn new(
        report: SlotReport,
        worker: Option<Worker>,
        pinned_to: Option<PathBuf>,
    ) -> Self {
        Self {
            slot: report.slot,
            state: report.state,
            is_wanted: report.is_wanted,
            restarts: report.starts.saturating_sub(1),
            worker: worker.as_ref().map(Worker::id),
            status: worker.as_ref().map(Worker::status),
            generation: worker.as_ref().map(|worker| worker.generation),
            started_at: worker.as_ref().map(|worker| worker.started_at),
            pinned_to,
        }
    }
}
