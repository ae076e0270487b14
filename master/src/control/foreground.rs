//! The steward of a foreground run: one app, one cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use maitred::{
    Cluster, ClusterError, Cut, Event, Events, Limits, Outcome, ReloadError, ReloadWish, SlotId,
    SlotStatus, Snapshot,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

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
    wanted: Mutex<u32>,
    limits: Limits,
    was_killed: AtomicBool,
}

impl Foreground {
    /// Takes charge of a cluster that has no workers yet.
    pub(crate) fn new(cluster: Arc<Cluster>, name: AppName, limits: Limits) -> Self {
        Self {
            cluster,
            name,
            wanted: Mutex::new(0),
            limits,
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

    async fn reset(&self, whom: &Whom) -> Result<ChangedRow, Refusal> {
        let workers = self.count(whom).await?;
        self.cluster.reset(slot(whom)).await.map_err(ended)?;
        Ok(self.row(whom, workers, &[]))
    }

    async fn reload(&self, wish: ReloadWish, whom: &Whom) -> Result<ChangedRow, Refusal> {
        if whom.slot.is_some() {
            let wrong = "a reload replaces every worker; for one of them use restart";
            return Err(Refusal::new(Kind::BadRequest, wrong));
        }
        let report = self.cluster.reload(wish).await.map_err(|error| {
            let kind = match &error {
                ReloadError::Busy => Kind::Busy,
                ReloadError::Ended | ReloadError::NothingRuns => Kind::Ending,
                ReloadError::Failed { .. } | _ => Kind::Failed,
            };
            Refusal::new(kind, in_words(&error))
        })?;
        let workers = u32::try_from(report.replaced.len()).unwrap_or(u32::MAX);
        Ok(self.row(whom, workers, &report.cut))
    }

    /// Restarts, and waits until all listen or one has failed.
    async fn restart(&self, whom: &Whom) -> Result<ChangedRow, Refusal> {
        let workers = self.count_wanted(whom).await?;
        if let (0, Some(slot)) = (workers, whom.slot) {
            let message = format!("the worker of slot {slot} leaves, and none is to follow it");
            return Err(Refusal::new(Kind::NoSuchWorker, message));
        }
        let mut events = self.cluster.events();
        self.cluster.restart(slot(whom)).await.map_err(ended)?;
        let mut cuts = Vec::new();
        let came_up = async {
            while let Some(event) = events.next().await {
                let is_failure = matches!(
                    event,
                    Event::BackingOff { .. } | Event::Errored { .. } | Event::Stopped { .. }
                );
                if is_failure {
                    return Err(Refusal::new(Kind::Failed, format!("restart: {event}")));
                }
                if let Event::CutAtDeadline { cut, .. } = event {
                    cuts.push(cut);
                } else if matches!(event, Event::Ready { .. }) {
                    return Ok(());
                }
            }
            Err(Refusal::new(Kind::Ending, "the master has ended"))
        };
        let late = |_| Refusal::new(Kind::Failed, "restart: the new workers do not listen yet");
        timeout(self.patience(), came_up).await.map_err(late)??;
        Ok(self.row(whom, workers, &cuts))
    }

    async fn stop(&self, whom: &Whom) -> Result<ChangedRow, Refusal> {
        if whom.slot.is_some() {
            let wrong = "one worker cannot be stopped alone; use scale, or stop its app";
            return Err(Refusal::new(Kind::BadRequest, wrong));
        }
        let workers = self.count(whom).await?;
        let mut events = self.cluster.events();
        // It ends with its last worker, unless it is to stay: either is what was asked for.
        self.was_killed
            .store(!self.limits.stay_when_errored, Ordering::Relaxed);
        self.cluster.stop().await.unwrap_or_default();
        let mut cuts = Vec::new();
        while let Ok(Some(event)) = timeout(Duration::ZERO, events.next()).await {
            if let Event::CutAtDeadline { cut, .. } = event {
                cuts.push(cut);
            }
        }
        Ok(self.row(whom, workers, &cuts))
    }

    /// Returns how long it takes at most until one worker has left and another listens.
    fn patience(&self) -> Duration {
        let limits = &self.limits;
        let leaving = limits.drain_timeout.saturating_add(limits.kill_timeout);
        leaving.saturating_add(limits.listen_timeout)
    }

    /// Counts the slots that are meant.
    async fn count(&self, whom: &Whom) -> Result<u32, Refusal> {
        self.count_if(whom, |_| true).await
    }

    /// Counts those of them in which a worker is wanted.
    async fn count_wanted(&self, whom: &Whom) -> Result<u32, Refusal> {
        self.count_if(whom, |slot| slot.is_wanted).await
    }

    async fn count_if(
        &self,
        whom: &Whom,
        counts: impl Fn(&SlotStatus) -> bool,
    ) -> Result<u32, Refusal> {
        let slots = self.cluster.describe().await.map_err(ended)?;
        let slots = slots.iter().filter(|slot| counts(slot));
        let slots: BTreeSet<u32> = slots.map(|slot| slot.slot.0).collect();
        let meant = |slot: &&u32| whom.slot.is_none_or(|only| only == **slot);
        Ok(u32::try_from(slots.iter().filter(meant).count()).unwrap_or(u32::MAX))
    }

    fn row(&self, whom: &Whom, workers: u32, cuts: &[Cut]) -> ChangedRow {
        let in_words = |cut: &Cut| format!("worker {} was cut: {cut}", cut.worker.0);
        ChangedRow {
            name: self.name.clone(),
            slot: whom.slot,
            workers,
            cut: u32::try_from(cuts.len()).unwrap_or(u32::MAX),
            what_was_cut: cuts.iter().map(in_words).collect(),
        }
    }
}

fn slot(whom: &Whom) -> Option<SlotId> {
    whom.slot.map(SlotId)
}

/// Says why a reload failed, with what the worker that failed printed last.
fn in_words(error: &ReloadError) -> String {
    let mut words = error.to_string();
    if let ReloadError::Failed { last_lines, .. } = error
        && !last_lines.is_empty()
    {
        words += "; its last lines:";
        for line in last_lines {
            words += &format!("\n  {line}");
        }
    }
    words
}

fn place(described: &SlotStatus, acked: &BTreeMap<u32, u64>) -> Place {
    let status = described.status;
    let worker = described.worker.map(|worker| worker.0);
    let acked = worker.and_then(|worker| acked.get(&worker)).copied();
    let taken = status.map_or(0, |status| status.statistics.taken);
    Place {
        slot: described.slot.0,
        worker,
        pid: status.and_then(|status| status.pid),
        generation: described.generation.map(|generation| generation.0),
        state: status.map_or_else(|| described.state.into(), |status| status.state.into()),
        restarts: described.restarts,
        open: status.map_or(0, |status| status.statistics.open),
        // What the worker tells is some moments old, but counts shared listeners, too.
        taken: taken.max(acked.unwrap_or(0)),
    }
}

impl Steward for Foreground {
    type News = Events;

    async fn apps(&self) -> Result<Vec<App>, Refusal> {
        let slots = self.cluster.describe().await.map_err(ended)?;
        let acked = acked(&self.cluster.snapshot().await.map_err(ended)?);
        Ok(vec![App {
            name: self.name.clone(),
            wanted: *self.wanted.lock().await,
            places: slots.iter().map(|slot| place(slot, &acked)).collect(),
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
            Change::Reload {
                parallel,
                allow_listen_change,
            } => {
                let wish = ReloadWish {
                    parallel,
                    allow_listen_change,
                };
                self.reload(wish, whom).await
            }
            Change::Restart => self.restart(whom).await,
            Change::Stop => self.stop(whom).await,
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
