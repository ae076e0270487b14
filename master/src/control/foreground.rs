//! The steward of a foreground run: one app, one cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use maitred::{
    Cluster, ClusterError, Cut, Event, Events, Limits, Outcome, PolicyName, ReloadWish,
    RestartError, SlotId, SlotStatus, Snapshot, Statistics, WorkerId,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::api::{ChangedRow, Killed, PolicyRow, ScaledRow, Weighed};
use super::canary::Trial;
use super::name::{AppName, Target};
use super::refusal::{Kind, Refusal};
use super::refusing::{policy_refused, refused, reload_refused, with_last_lines};
use super::steward::{App, Bulletin, Change, News, Place, Steward, Whom};

/// Runs one app by way of a cluster.
#[derive(Debug)]
pub(crate) struct Foreground {
    pub(super) cluster: Arc<Cluster>,
    name: AppName,
    /// Held while another number of workers is asked for: between the look at how many there
    /// are to be and the wish for one more, nobody else has a wish.
    pub(super) scaling: Mutex<()>,
    /// Whether another program is being tried.
    pub(super) trial: Trial,
    limits: Limits,
    was_killed: AtomicBool,
}

impl Foreground {
    /// Takes charge of a cluster that has no workers yet.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        name: AppName,
        program: PathBuf,
        limits: Limits,
    ) -> Self {
        Self {
            trial: Trial::new(program),
            cluster,
            name,
            scaling: Mutex::new(()),
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
        let _alone = self.scaling.lock().await;
        self.cluster.scale(workers).await
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
        let workers = self.staff(whom).await?.meant;
        self.cluster.reset(slot(whom)).await.map_err(refused)?;
        Ok(self.row(whom, workers, &[]))
    }

    async fn reload(&self, wish: ReloadWish, whom: &Whom) -> Result<ChangedRow, Refusal> {
        let kept = self.let_go(whom.slot).await?;
        let reloaded = self.cluster.reload(wish).await;
        if whom.slot.is_none() || reloaded.is_err() {
            self.note_start(reloaded.is_ok(), kept).await?;
        }
        let report = reloaded.map_err(|error| reload_refused(&error))?;
        let workers = u32::try_from(report.replaced.len()).unwrap_or(u32::MAX);
        Ok(self.row(whom, workers, &report.cut))
    }

    /// Restarts, and waits until all that were meant listen, or one of them has failed.
    async fn restart(&self, whom: &Whom) -> Result<ChangedRow, Refusal> {
        self.let_go(whom.slot).await?;
        let restart = timeout(self.patience(), self.cluster.restart(slot(whom)));
        let late = |_| Refusal::new(Kind::Failed, "restart: the new workers do not listen yet");
        let report = restart.await.map_err(late)?.map_err(|error| {
            let kind = match &error {
                RestartError::NothingMeant => Kind::NoSuchWorker,
                RestartError::Ending | RestartError::Ended => Kind::Ending,
                RestartError::Failed { .. } | _ => Kind::Failed,
            };
            let mut words = error.to_string();
            if let RestartError::Failed { last_lines, .. } = &error {
                words = with_last_lines(words, last_lines);
            }
            Refusal::new(kind, words)
        })?;
        if whom.slot.is_none() {
            self.note_start(true, Vec::new()).await?;
        }
        let workers = u32::try_from(report.slots.len()).unwrap_or(u32::MAX);
        Ok(self.row(whom, workers, &report.cut))
    }

    async fn stop(&self, whom: &Whom) -> Result<ChangedRow, Refusal> {
        if whom.slot.is_some() {
            let wrong = "one worker cannot be stopped alone; use scale, or stop its app";
            return Err(Refusal::new(Kind::BadRequest, wrong));
        }
        let Staff {
            meant: workers,
            bystanders,
            ..
        } = self.staff(whom).await?;
        let mut events = self.cluster.events();
        // It ends with its last worker, unless it is to stay: either is what was asked for. What
        // a kill has noted before stays true.
        if !self.limits.stay_when_errored {
            self.was_killed.store(true, Ordering::Relaxed);
        }
        self.cluster.stop().await.unwrap_or_default();
        let mut cuts = Vec::new();
        while let Ok(Some(event)) = timeout(Duration::ZERO, events.next()).await {
            if let Event::CutAtDeadline { worker, cut, .. } = event {
                cuts.extend((!bystanders.contains(&worker)).then_some(cut));
            }
        }
        Ok(self.row(whom, workers, &cuts))
    }

    /// Returns how long it takes at most until one worker has left and another listens.
    pub(super) fn patience(&self) -> Duration {
        let limits = &self.limits;
        let leaving = limits.drain_timeout.saturating_add(limits.kill_timeout);
        leaving.saturating_add(limits.listen_timeout)
    }

    async fn staff(&self, whom: &Whom) -> Result<Staff, Refusal> {
        let slots = self.cluster.describe().await.map_err(refused)?;
        Ok(Staff::of(&slots, whom.slot))
    }

    pub(super) fn row(&self, whom: &Whom, workers: u32, cuts: &[Cut]) -> ChangedRow {
        let losses = cuts.iter().filter(|cut| cut.is_loss()).count();
        ChangedRow {
            name: self.name.clone(),
            slot: whom.slot,
            workers,
            cut: u32::try_from(losses).unwrap_or(u32::MAX),
            what_was_cut: cuts.iter().map(cut_in_words).collect(),
        }
    }
}

/// Who is there when something is asked of an app, or of the worker in one slot.
#[derive(Debug, PartialEq, Eq)]
struct Staff {
    /// Slots that are meant.
    meant: u32,
    /// Those of them whose worker, once gone, is followed by another.
    wanted: u32,
    /// Workers that it is not about: in other slots, or on their way out already. What is cut
    /// of them is for whoever sent them away to tell.
    bystanders: BTreeSet<WorkerId>,
}

impl Staff {
    fn of(rows: &[SlotStatus], slot: Option<u32>) -> Self {
        let is_meant = |row: &&SlotStatus| slot.is_none_or(|only| only == row.slot.0);
        let count = |rows: &mut dyn Iterator<Item = &SlotStatus>| {
            let slots: BTreeSet<SlotId> = rows.map(|row| row.slot).collect();
            u32::try_from(slots.len()).unwrap_or(u32::MAX)
        };
        let leaves = |row: &SlotStatus| row.status.is_some_and(|is| is.state.is_leaving());
        let is_bystander = |row: &&SlotStatus| !is_meant(row) || leaves(row);
        Self {
            meant: count(&mut rows.iter().filter(is_meant)),
            wanted: count(&mut rows.iter().filter(is_meant).filter(|row| row.is_wanted)),
            bystanders: rows
                .iter()
                .filter(is_bystander)
                .filter_map(|row| row.worker)
                .collect(),
        }
    }
}

fn slot(whom: &Whom) -> Option<SlotId> {
    whom.slot.map(SlotId)
}

fn cut_in_words(cut: &Cut) -> String {
    let worker = cut.worker.0;
    if cut.is_loss() {
        format!("worker {worker} was cut: {cut}")
    } else {
        format!("worker {worker} did not leave in time, and held nothing as far as it told")
    }
}

fn place(described: &SlotStatus, acked: &BTreeMap<u32, u64>) -> Place {
    let status = described.status;
    let worker = described.worker.map(|worker| worker.0);
    let acked = worker.and_then(|worker| acked.get(&worker)).copied();
    let statistics = status.map_or_else(Statistics::default, |status| status.statistics);
    Place {
        slot: described.slot.0,
        worker,
        pid: status.and_then(|status| status.pid),
        generation: described.generation.map(|generation| generation.0),
        program: described
            .pinned_to
            .as_ref()
            .map(|path| path.display().to_string()),
        state: status.map_or_else(|| described.state.into(), |status| status.state.into()),
        restarts: described.restarts,
        open: statistics.open,
        // What the worker tells is some moments old, but counts shared listeners, too.
        taken: statistics.taken.max(acked.unwrap_or(0)),
        requests: statistics.requests,
        loop_delay: statistics.loop_delay,
        heap_bytes: statistics.heap_bytes,
    }
}

impl Steward for Foreground {
    type News = Events;

    async fn apps(&self) -> Result<Vec<App>, Refusal> {
        let slots = self.cluster.describe().await.map_err(refused)?;
        let acked = acked(&self.cluster.snapshot().await.map_err(refused)?);
        let errors = self.cluster.accept_errors().await.map_err(refused)?;
        let errors = errors.iter().map(|(name, count)| (name.to_owned(), count));
        let policy = self.cluster.policy().await.map_err(policy_refused)?;
        Ok(vec![App {
            policy,
            accept_errors: errors.collect(),
            name: self.name.clone(),
            wanted: Staff::of(&slots, None).wanted,
            places: slots.iter().map(|slot| place(slot, &acked)).collect(),
        }])
    }

    async fn scale(&self, _: &AppName, to: Target) -> Result<ScaledRow, Refusal> {
        self.trial.refuse_while_running()?;
        let _alone = self.scaling.lock().await;
        let all = Whom {
            app: self.name.clone(),
            slot: None,
        };
        let (from, name) = (self.staff(&all).await?.wanted, self.name.clone());
        let refuse =
            |wrong| Refusal::new(Kind::BadRequest, format!("cannot scale {name}: {wrong}"));
        let to = to.count_from(from).map_err(refuse)?;
        self.cluster.scale(to).await.map_err(refused)?;
        Ok(ScaledRow { name, from, to })
    }

    async fn change_policy(&self, _: &AppName, to: PolicyName) -> Result<PolicyRow, Refusal> {
        self.trial.refuse_while_running()?;
        let changed = self.cluster.change_policy(to).await;
        let (from, name) = (changed.map_err(policy_refused)?, self.name.clone());
        Ok(PolicyRow { name, from, to })
    }

    async fn weigh(&self, _: &AppName, slot: u32, to: u32) -> Result<Weighed, Refusal> {
        self.trial.refuse_while_running()?;
        let weighed = self.cluster.weigh(SlotId(slot), to).await;
        let (from, name) = (weighed.map_err(policy_refused)?, self.name.clone());
        Ok(Weighed {
            name,
            slot,
            from,
            to,
        })
    }

    async fn change(&self, change: Change, whom: &Whom) -> Result<ChangedRow, Refusal> {
        match change {
            Change::Reset => self.reset(whom).await,
            Change::Reload {
                parallel,
                allow_listen_change,
            } => {
                let wish = ReloadWish {
                    only: slot(whom),
                    parallel,
                    allow_listen_change,
                };
                self.reload(wish, whom).await
            }
            Change::Restart => self.restart(whom).await,
            Change::Stop => self.stop(whom).await,
            Change::Canary { .. } | Change::Promote | Change::Withdraw if whom.slot.is_some() => {
                Err(Refusal::new(
                    Kind::BadRequest,
                    "name the app, and not one worker",
                ))
            }
            Change::Canary { workers, percent } => {
                self.begin_canary(whom, (workers, percent)).await
            }
            Change::Promote => self.promote(whom).await,
            Change::Withdraw => self.withdraw(whom).await,
        }
    }

    async fn kill(&self) -> Result<Killed, Refusal> {
        self.was_killed.store(true, Ordering::Relaxed);
        let mut events = self.cluster.events();
        let outcome = self.cluster.shutdown().await;
        let mut what_was_cut = Vec::new();
        while let Ok(Some(event)) = timeout(Duration::ZERO, events.next()).await {
            if let Event::CutAtDeadline { cut, .. } = event {
                what_was_cut.push(cut_in_words(&cut));
            }
        }
        Ok(Killed {
            pid: std::process::id(),
            cut: outcome == Outcome::Cut,
            what_was_cut,
        })
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

impl News for Events {
    async fn next(&mut self) -> Option<Bulletin> {
        let event = Self::next(self).await?;
        Some(Bulletin {
            event: event.name(),
            // An event has only named fields and JSON values, which can always be written.
            fields: serde_json::to_value(&event).unwrap_or_default(),
            text: with_last_lines(event.to_string(), event.last_lines()),
        })
    }

    fn missed(&self) -> u64 {
        Self::missed(self)
    }
}
