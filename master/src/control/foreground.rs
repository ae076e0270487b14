//! The steward of a foreground run: one app, one cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use maitred::{Cluster, ClusterError, Event, Events, Outcome, Snapshot, Worker};
use tokio::sync::Mutex as AsyncMutex;

use super::api::{ChangedRow, Killed, ScaledRow};
use super::name::{AppName, Target};
use super::refusal::{Kind, Refusal};
use super::steward::{App, Bulletin, Change, News, Place, Steward, Whom};

/// Runs one app by way of a cluster.
#[derive(Debug)]
pub(crate) struct Foreground {
    cluster: Arc<Cluster>,
    name: AppName,
    /// How many workers were last asked for. Held while another number is asked for, so that
    /// the order of the numbers is the order of the commands.
    wanted: AsyncMutex<u32>,
    /// How many workers each slot has had since the last reset.
    forks: Mutex<BTreeMap<u32, u32>>,
    was_killed: AtomicBool,
}

impl Foreground {
    /// Takes charge of a cluster that has no workers yet.
    pub(crate) fn new(cluster: Arc<Cluster>, name: AppName) -> Self {
        Self {
            cluster,
            name,
            wanted: AsyncMutex::new(0),
            forks: Mutex::default(),
            was_killed: AtomicBool::new(false),
        }
    }

    /// Asks for the first workers.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Ended`].
    pub(crate) async fn start(&self, workers: u32) -> Result<(), ClusterError> {
        let mut wanted = self.wanted.lock().await;
        self.cluster.scale(workers).await?;
        *wanted = workers;
        Ok(())
    }

    /// Returns the app's name.
    pub(crate) fn name(&self) -> &AppName {
        &self.name
    }

    /// Returns whether a client asked for the end.
    pub(crate) fn was_killed(&self) -> bool {
        self.was_killed.load(Ordering::Relaxed)
    }

    /// Counts what happens, until the master's last event.
    pub(crate) async fn count(&self, mut events: Events) {
        while let Some(event) = events.next().await {
            if let Event::Fork { slot, .. } = event {
                let mut forks = self.forks.lock().unwrap_or_else(PoisonError::into_inner);
                // At most one entry for each slot that there can be.
                *forks.entry(slot.0).or_default() += 1;
            }
        }
    }

    async fn reset(&self, whom: &Whom) -> Result<ChangedRow, Refusal> {
        let living = self.cluster.workers().await.map_err(ended)?;
        let living: BTreeSet<u32> = living.values().map(|worker| worker.slot().0).collect();
        let mut forks = self.forks.lock().unwrap_or_else(PoisonError::into_inner);
        // The worker that lives there now is no restart. Slots that were given up are forgotten.
        let is_reset = |slot: &u32| whom.slot.is_none_or(|only| only == *slot);
        forks.retain(|slot, _| !is_reset(slot) || living.contains(slot));
        let reset: Vec<u32> = living.into_iter().filter(is_reset).collect();
        forks.extend(reset.iter().map(|slot| (*slot, 1)));
        Ok(ChangedRow {
            name: self.name.clone(),
            slot: whom.slot,
            workers: u32::try_from(reset.len()).unwrap_or(u32::MAX),
            cut: 0,
        })
    }

    fn place(&self, worker: &Worker, acked: &BTreeMap<u32, u64>) -> Place {
        let (status, slot) = (worker.status(), worker.slot().0);
        let forks = self.forks.lock().unwrap_or_else(PoisonError::into_inner);
        let acked = acked.get(&worker.id().0).copied().unwrap_or(0);
        Place {
            slot,
            worker: Some(worker.id().0),
            pid: status.pid,
            generation: None,
            state: status.state.into(),
            restarts: forks.get(&slot).map_or(0, |forks| forks.saturating_sub(1)),
            open: status.statistics.open,
            // What the worker tells is some moments old, but counts shared listeners, too.
            taken: status.statistics.taken.max(acked),
        }
    }
}

impl Steward for Foreground {
    type News = Events;

    async fn apps(&self) -> Result<Vec<App>, Refusal> {
        let workers = self.cluster.workers().await.map_err(ended)?;
        let acked = acked(&self.cluster.snapshot().await.map_err(ended)?);
        Ok(vec![App {
            name: self.name.clone(),
            wanted: *self.wanted.lock().await,
            places: workers
                .values()
                .map(|worker| self.place(worker, &acked))
                .collect(),
        }])
    }

    async fn scale(&self, _: &AppName, to: Target) -> Result<ScaledRow, Refusal> {
        let mut wanted = self.wanted.lock().await;
        let (from, name) = (*wanted, self.name.clone());
        let refuse =
            |wrong| Refusal::new(Kind::BadRequest, format!("cannot scale {name}: {wrong}"));
        let to = to.count_from(from).map_err(refuse)?;
        self.cluster.scale(to).await.map_err(ended)?;
        *wanted = to;
        Ok(ScaledRow { name, from, to })
    }

    async fn change(&self, change: Change, whom: &Whom) -> Result<ChangedRow, Refusal> {
        match change {
            Change::Reset => self.reset(whom).await,
            Change::Reload { .. } | Change::Restart | Change::Stop => {
                let message = "a foreground run cannot do that yet; end it and start it again";
                Err(Refusal::new(Kind::Unsupported, message))
            }
        }
    }

    async fn kill(&self) -> Result<Killed, Refusal> {
        self.was_killed.store(true, Ordering::Relaxed);
        let outcome = self.cluster.shutdown().await;
        let (pid, cut) = (std::process::id(), outcome == Outcome::Cut);
        Ok(Killed { pid, cut })
    }

    fn events(&self) -> Events {
        self.cluster.events()
    }
}

fn acked(snapshot: &Snapshot) -> BTreeMap<u32, u64> {
    let workers = snapshot.workers.iter();
    workers
        .map(|worker| (worker.worker.0, worker.acked))
        .collect()
}

fn ended(error: ClusterError) -> Refusal {
    Refusal::new(Kind::Ending, format!("the master is ending: {error}"))
}

impl News for Events {
    async fn next(&mut self) -> Option<Bulletin> {
        let event = Self::next(self).await?;
        Some(Bulletin {
            event: event.name(),
            // An event has only named fields and JSON values, which can always be written.
            fields: serde_json::to_value(&event).unwrap_or_default(),
            text: event.to_string(),
        })
    }

    fn missed(&self) -> u64 {
        Self::missed(self)
    }
}
