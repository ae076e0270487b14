//! Canaries: some workers of the program that is on disk now, beside those that run already.
//!
//! Nothing here is more than a sequence of what the cluster can do anyway: pin each side's slots
//! to its own program, so that whoever dies is followed by its like; weigh them; scale. A program
//! is told from another by where its name leads to. So this is for deploys that change a link, or
//! a directory's; one that is written over is the same program to both sides.

use std::path::{Path, PathBuf};
use std::time::Duration;

use maitred::{PolicyError, PolicyName, ReloadWish, SlotId, WorkerState};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

use super::api::ChangedRow;
use super::foreground::Foreground;
use super::refusal::{Kind, Refusal};
use super::refusing::{policy_refused, refused, reload_refused};
use super::steward::Whom;

/// How often it is looked whether the canaries listen: they take some tens of milliseconds at least.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The program of an app, and whether another is being tried.
#[derive(Debug)]
pub(super) struct Trial {
    /// As it was named: perhaps a link, which leads elsewhere after a deploy.
    named: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where the name led to when all workers were last started.
    running: PathBuf,
    /// Slots that go on with that, wherever the name leads by now, until they are started anew by
    /// somebody's wish: after canaries were withdrawn, who dies must not come back as one.
    kept: Vec<SlotId>,
    canary: Option<Canary>,
}

#[derive(Clone, Debug)]
struct Canary {
    program: PathBuf,
    olds: Vec<SlotId>,
    news: Vec<SlotId>,
    policy_before: PolicyName,
}

impl Trial {
    pub(super) fn new(named: PathBuf) -> Self {
        let state = State {
            running: real(&named),
            kept: Vec::new(),
            canary: None,
        };
        let state = Mutex::new(state);
        Self { named, state }
    }

    /// Refuses what would disturb canaries.
    pub(super) fn refuse_while_running(&self) -> Result<(), Refusal> {
        let state = self.state.try_lock();
        if state.is_ok_and(|state| state.canary.is_none()) {
            return Ok(());
        }
        let wrong = "there are canaries; promote or withdraw them first";
        Err(Refusal::new(Kind::Busy, wrong))
    }
}

/// Returns where a name leads to; itself, if that cannot be told.
fn real(named: &Path) -> PathBuf {
    std::fs::canonicalize(named).unwrap_or_else(|_| named.to_owned())
}

impl Foreground {
    /// Lets those slots that are about to be started anew run what is on disk now. Returns who had
    /// kept to what ran before.
    pub(super) async fn let_go(&self, only: Option<u32>) -> Result<Vec<SlotId>, Refusal> {
        self.trial.refuse_while_running()?;
        let mut state = self.trial.state.lock().await;
        let is_meant = |slot: &SlotId| only.is_none_or(|only| slot.0 == only);
        let (meant, others) = state.kept.iter().copied().partition(is_meant);
        state.kept = others;
        self.pin(&meant, None).await?;
        Ok(meant)
    }

    /// Notes how a start of all workers went: well, or these keep to what ran before.
    pub(super) async fn note_start(
        &self,
        went_well: bool,
        kept: Vec<SlotId>,
    ) -> Result<(), Refusal> {
        let mut state = self.trial.state.lock().await;
        if went_well {
            state.running = real(&self.trial.named);
            return Ok(());
        }
        self.pin(&kept, Some(state.running.clone())).await?;
        state.kept.extend(kept);
        Ok(())
    }

    pub(super) async fn begin_canary(
        &self,
        whom: &Whom,
        (workers, percent): (u32, u32),
    ) -> Result<ChangedRow, Refusal> {
        let _alone = self.scaling.lock().await;
        self.trial.refuse_while_running()?;
        let mut state = self.trial.state.lock().await;
        let policy_before = self.cluster.policy().await.map_err(policy_refused)?;
        if !matches!(policy_before, PolicyName::Rr | PolicyName::Weighted) {
            let wrong = format!("`{policy_before}` knows no shares; change to `weighted` first");
            return Err(Refusal::new(Kind::BadRequest, wrong));
        }
        let olds = self.wanted().await?;
        if olds.is_empty() {
            return Err(Refusal::new(Kind::NoSuchWorker, "no worker is wanted"));
        }
        let mut canary = Canary {
            program: real(&self.trial.named),
            olds,
            news: Vec::new(),
            policy_before,
        };
        let began = self
            .hatch(&mut canary, &state.running, (workers, percent))
            .await;
        let news = canary.news.clone();
        state.canary = Some(canary);
        let came = match began {
            Ok(()) => timeout(self.patience(), self.await_listening(&news)).await,
            Err(refusal) => Ok(Err(refusal)),
        };
        if let Err(refusal) = came.unwrap_or_else(|_| Err(not_up("they do not listen in time"))) {
            self.end_canary(&mut state).await?;
            return Err(refusal);
        }
        Ok(self.row(whom, workers, &[]))
    }

    /// Pins and weighs both sides, and starts the new one.
    async fn hatch(
        &self,
        canary: &mut Canary,
        running: &Path,
        (workers, percent): (u32, u32),
    ) -> Result<(), Refusal> {
        let Canary {
            program,
            olds,
            news,
            ..
        } = canary;
        let count = u32::try_from(olds.len()).unwrap_or(u32::MAX);
        self.pin(olds, Some(running.to_owned())).await?;
        let change = self.cluster.change_policy(PolicyName::Weighted);
        change.await.map_err(policy_refused)?;
        // First the others, so that a canary never has more than its share.
        self.weigh_all(olds, workers * (100 - percent)).await?;
        self.cluster.scale(count + workers).await.map_err(refused)?;
        *news = self.wanted().await?;
        news.retain(|slot| !olds.contains(slot));
        self.pin(news, Some(program.clone())).await?;
        self.weigh_all(news, count * percent).await
    }

    /// Replaces all by such as the canaries are; these leave once that is done. If it fails, all
    /// stay as they are.
    pub(super) async fn promote(&self, whom: &Whom) -> Result<ChangedRow, Refusal> {
        let _alone = self.scaling.lock().await;
        let (mut state, canary) = self.present_canary().await?;
        self.pin(&canary.olds, Some(canary.program.clone())).await?;
        let wish = ReloadWish {
            parallel: 1,
            allow_listen_change: false,
            only: None,
        };
        let report = match self.cluster.reload(wish).await {
            Ok(report) => report,
            Err(error) => {
                self.pin(&canary.olds, Some(state.running.clone())).await?;
                return Err(reload_refused(&error));
            }
        };
        state.running = canary.program;
        self.end_canary(&mut state).await?;
        let workers = u32::try_from(canary.olds.len()).unwrap_or(u32::MAX);
        Ok(self.row(whom, workers, &report.cut))
    }

    /// Drains the canaries; does not wait for that.
    pub(super) async fn withdraw(&self, whom: &Whom) -> Result<ChangedRow, Refusal> {
        let _alone = self.scaling.lock().await;
        let (mut state, canary) = self.present_canary().await?;
        self.end_canary(&mut state).await?;
        let workers = u32::try_from(canary.news.len()).unwrap_or(u32::MAX);
        Ok(self.row(whom, workers, &[]))
    }

    async fn present_canary(&self) -> Result<(MutexGuard<'_, State>, Canary), Refusal> {
        let state = self.trial.state.lock().await;
        let Some(canary) = state.canary.clone() else {
            return Err(Refusal::new(Kind::BadRequest, "there are no canaries"));
        };
        Ok((state, canary))
    }

    /// Drains the canaries, and lets all be as it was before them.
    async fn end_canary(&self, state: &mut State) -> Result<(), Refusal> {
        let Some(canary) = state.canary.take() else {
            return Ok(());
        };
        // While they are there: a slot that is gone cannot be weighed.
        self.weigh_all(&canary.news, 1).await?;
        // Slots are given from the lowest on, and taken from the highest.
        let count = u32::try_from(canary.olds.len()).unwrap_or(u32::MAX);
        let scaled = self.cluster.scale(count).await;
        self.weigh_all(&canary.olds, 1).await?;
        let change = self.cluster.change_policy(canary.policy_before);
        change.await.map_err(policy_refused)?;
        self.pin(&canary.olds, Some(state.running.clone())).await?;
        state.kept = canary.olds;
        self.pin(&canary.news, None).await?;
        scaled.map_err(refused)
    }

    /// Waits until there is a worker that listens in each of these slots; fails when one dies.
    async fn await_listening(&self, slots: &[SlotId]) -> Result<(), Refusal> {
        loop {
            let described = self.cluster.describe().await.map_err(refused)?;
            let ours = described.iter().filter(|row| slots.contains(&row.slot));
            let (mut listening, mut dead) = (0, false);
            for row in ours {
                let state = row.status.map(|status| status.state);
                listening += usize::from(state == Some(WorkerState::Listening));
                dead |= row.worker.is_none() || row.restarts > 0;
            }
            if dead {
                return Err(not_up("one of them died"));
            }
            if listening == slots.len() {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn wanted(&self) -> Result<Vec<SlotId>, Refusal> {
        let rows = self.cluster.describe().await.map_err(refused)?;
        let mut slots: Vec<SlotId> = rows
            .iter()
            .filter(|row| row.is_wanted)
            .map(|row| row.slot)
            .collect();
        slots.dedup();
        Ok(slots)
    }

    async fn weigh_all(&self, slots: &[SlotId], weight: u32) -> Result<(), Refusal> {
        for &slot in slots {
            match self.cluster.weigh(slot, weight).await {
                // Gone meanwhile, as all are after a stop: it has no share to be told.
                Ok(_) | Err(PolicyError::NoSuchSlot(_)) => {}
                Err(error) => return Err(policy_refused(error)),
            }
        }
        Ok(())
    }

    async fn pin(&self, slots: &[SlotId], program: Option<PathBuf>) -> Result<(), Refusal> {
        let pinned = self.cluster.pin(slots.to_vec(), program).await;
        pinned.map_err(refused)
    }
}

fn not_up(why: &str) -> Refusal {
    let message = format!("the new workers do not come up ({why}); all is as before");
    Refusal::new(Kind::Failed, message)
}
