//! Restarts that somebody waits for.

use std::collections::BTreeSet;
use std::time::Instant;

use maitred_core::id::{SlotId, WorkerId};
use maitred_core::supervise::{Fact, RestartFailure};
use tokio::sync::oneshot;

use super::master::Master;
use crate::operation::{Cut, RestartError, RestartReport};

/// A restart that somebody waits for. Goes with its answer, and if nobody waits any more, with
/// the next restart that is asked for.
#[derive(Debug)]
pub(super) struct Restarting {
    reply: oneshot::Sender<Result<RestartReport, RestartError>>,
    /// Slots that have no new worker yet.
    awaited: BTreeSet<SlotId>,
    /// Who leaves because of it.
    sent_away: BTreeSet<WorkerId>,
    report: RestartReport,
}

impl Master {
    pub(super) fn restart(
        &mut self,
        now: Instant,
        which: Option<SlotId>,
        reply: oneshot::Sender<Result<RestartReport, RestartError>>,
    ) {
        let slots = self.supervisor.slots_to_restart(which);
        let refusal = if self.supervisor.is_ending() {
            Some(RestartError::Ending)
        } else {
            slots.is_empty().then_some(RestartError::NothingMeant)
        };
        if let Some(refusal) = refusal {
            // Here and below: whoever asked may have given up waiting.
            return drop(reply.send(Err(refusal)));
        }
        self.restarts.retain(|restart| !restart.reply.is_closed());
        let awaited = BTreeSet::from_iter(slots.iter().copied());
        self.restarts.push(Restarting {
            reply,
            sent_away: self.to_be_sent_away(&awaited),
            awaited,
            report: RestartReport {
                slots,
                cut: Vec::new(),
            },
        });
        self.supervise(now, Fact::RestartAsked(which));
    }

    /// Returns whom a restart of these slots sends away. Who leaves already does it for
    /// somebody else, and so does everybody while all is being stopped.
    fn to_be_sent_away(&self, slots: &BTreeSet<SlotId>) -> BTreeSet<WorkerId> {
        if !self.supervisor.may_scale() {
            return BTreeSet::new();
        }
        let workers = self.supervisor.workers();
        let go = workers
            .filter(|(_, record)| slots.contains(&record.slot) && !record.state.is_leaving());
        go.map(|(worker, _)| worker).collect()
    }

    /// A worker was cut: tells the restarts that sent it away.
    pub(super) fn cut_by_restart(&mut self, cut: Cut) {
        for restart in &mut self.restarts {
            if restart.sent_away.contains(&cut.worker) {
                restart.report.cut.push(cut);
            }
        }
    }

    /// A slot has a new worker that listens: answers those who waited for nothing else.
    pub(super) fn restarted(&mut self, slot: SlotId) {
        for restart in &mut self.restarts {
            restart.awaited.remove(&slot);
        }
        let is_done = |restart: &mut Restarting| restart.awaited.is_empty();
        for restart in self.restarts.extract_if(.., is_done) {
            drop(restart.reply.send(Ok(restart.report)));
        }
    }

    pub(super) fn restart_failed(&mut self, slot: SlotId, failure: RestartFailure) {
        let last_lines = match failure {
            RestartFailure::BootFailed { worker, .. } => self.outlets.outputs.last_lines(worker),
            RestartFailure::Stopped | RestartFailure::ScaledAway | RestartFailure::Superseded => {
                Vec::new()
            }
        };
        let has_failed = |restart: &mut Restarting| restart.awaited.contains(&slot);
        for restart in self.restarts.extract_if(.., has_failed) {
            let error = RestartError::Failed {
                reason: failure.describe(slot),
                last_lines: last_lines.clone(),
            };
            drop(restart.reply.send(Err(error)));
        }
    }
}
