//! What an operator asks for while all goes on: reload, restart, stop, a description.

use std::time::Instant;

use maitred_core::id::{Generation, ServerId, SlotId, WorkerId};
use maitred_core::supervise::{Announcement, Fact, ReloadFailure, ReloadWish};
use tokio::sync::oneshot;

use super::master::Master;
use crate::cluster::ClusterError;
use crate::event::Event;
use crate::operation::{Cut, ReloadError, ReloadReport, Replacement, SlotStatus};

/// A reload that somebody waits for.
#[derive(Debug)]
pub(super) struct Reloading {
    reply: oneshot::Sender<Result<ReloadReport, ReloadError>>,
    replaced: Vec<Replacement>,
    cut: Vec<Cut>,
}

impl Master {
    pub(super) fn scale(
        &mut self,
        now: Instant,
        workers: u32,
        reply: oneshot::Sender<Result<(), ClusterError>>,
    ) {
        let answer = if self.supervisor.may_scale() {
            self.supervise(now, Fact::ScaleAsked(workers));
            Ok(())
        } else if self.supervisor.is_ending() {
            Err(ClusterError::Ending)
        } else {
            Err(ClusterError::Stopping)
        };
        // Here and below: whoever asked may have given up waiting.
        drop(reply.send(answer));
    }

    pub(super) fn reload(
        &mut self,
        now: Instant,
        wish: ReloadWish,
        reply: oneshot::Sender<Result<ReloadReport, ReloadError>>,
    ) {
        let refusal = if self.supervisor.is_reloading() {
            Some(ReloadError::Busy)
        } else if self.supervisor.is_ending() {
            Some(ReloadError::Ending)
        } else if self.supervisor.is_stopping() {
            Some(ReloadError::Stopping)
        } else if !self.supervisor.may_reload(wish.only) {
            Some(ReloadError::NothingRuns)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return drop(reply.send(Err(refusal)));
        }
        self.reloading = Some(Reloading {
            reply,
            replaced: Vec::new(),
            cut: Vec::new(),
        });
        self.supervise(now, Fact::ReloadAsked(wish));
    }

    pub(super) fn replaced(&mut self, slot: SlotId, old: Option<WorkerId>, new: WorkerId) {
        if let Some(reloading) = &mut self.reloading {
            reloading.replaced.push(Replacement { slot, old, new });
        }
        self.announce(Event::Replaced { slot, old, new });
    }

    /// A worker has passed its drain deadline: says what it still held, as it last told.
    pub(super) fn cut(&mut self, worker: WorkerId) {
        let pid = self.pid_of(worker);
        let member = self.members.get(&worker);
        let statistics = member.map(|member| member.status.borrow().statistics);
        let counts = self.dispatcher.snapshot().workers;
        let counts = counts.iter().find(|counts| counts.worker == worker);
        let acked = counts.map_or(0, |counts| counts.acked);
        let cut = Cut::new(worker, &statistics.unwrap_or_default(), acked);
        // What the master itself still holds goes as well if this is the end.
        self.has_cut |= cut.is_loss() || self.dispatcher.held() > 0;
        // Only what the reload itself sent away is its doing: others may leave meanwhile for
        // other reasons, be it that an earlier reload replaced them and then failed.
        if let Some(reloading) = &mut self.reloading
            && reloading.replaced.iter().any(|one| one.old == Some(worker))
        {
            reloading.cut.push(cut);
        }
        self.cut_by_restart(cut);
        self.announce(Event::CutAtDeadline { worker, pid, cut });
    }

    pub(super) fn reloaded(&mut self, generation: Generation) {
        self.announce(Event::Reloaded { generation });
        if let Some(reloading) = self.reloading.take() {
            let report = ReloadReport {
                generation,
                replaced: reloading.replaced,
                cut: reloading.cut,
            };
            drop(reloading.reply.send(Ok(report)));
        }
    }

    pub(super) fn reload_failed(
        &mut self,
        generation: Generation,
        culprit: Option<(WorkerId, SlotId)>,
        failure: &ReloadFailure,
    ) {
        let reason = self.describe_failure(culprit, failure);
        let worker = culprit.map(|(worker, _)| worker);
        self.announce(Event::ReloadFailed {
            generation,
            worker,
            reason: reason.clone(),
        });
        if let Some(reloading) = self.reloading.take() {
            let last_lines = worker.map(|worker| self.outlets.outputs.last_lines(worker));
            let error = ReloadError::Failed {
                reason,
                replaced: reloading.replaced,
                last_lines: last_lines.unwrap_or_default(),
            };
            drop(reloading.reply.send(Err(error)));
        }
    }

    fn describe_failure(
        &self,
        culprit: Option<(WorkerId, SlotId)>,
        failure: &ReloadFailure,
    ) -> String {
        let listen_timeout = self.supervisor.limits().listen_timeout;
        failure.describe(culprit, listen_timeout, |server| self.address_of(server))
    }

    fn address_of(&self, server: ServerId) -> String {
        let entry = self.servers.get(server);
        entry.map_or_else(|| server.to_string(), |entry| entry.bound.to_string())
    }

    /// Stops everything; the answer comes when all is at rest. In a run that does not stay,
    /// that is its end, and the dropped reply says so.
    pub(super) fn stop(&mut self, now: Instant, reply: oneshot::Sender<()>) {
        self.departures.push(reply);
        self.supervise(now, Fact::StopAsked);
        self.check_departures(now);
    }

    /// Everything has stopped, and workers may listen again when they are asked to.
    pub(super) fn rest(&mut self) {
        self.closing = None;
        self.announce(Event::Resting);
        // At once, for a restart that was asked for meanwhile may follow.
        for reply in self.departures.drain(..) {
            // Whoever asked may have given up waiting.
            reply.send(()).unwrap_or_default();
        }
    }

    /// Describes every worker, and every slot without one.
    pub(super) fn describe_slots(&self) -> Vec<SlotStatus> {
        let reports = self.supervisor.slot_reports().into_iter();
        reports
            .map(|report| {
                let worker = report.worker.and_then(|worker| self.handle_of(worker));
                SlotStatus::new(report, worker, self.pins.get(&report.slot).cloned())
            })
            .collect()
    }

    /// Passes on what the supervisor says of reloads; returns what it says of other things.
    pub(super) fn pass_on_operation(&mut self, announcement: Announcement) -> Option<Announcement> {
        match announcement {
            Announcement::ReloadBegun {
                generation,
                workers,
            } => {
                self.announce(Event::ReloadBegun {
                    generation,
                    workers,
                });
            }
            Announcement::Replaced { slot, old, new } => self.replaced(slot, old, new),
            Announcement::Reloaded { generation } => self.reloaded(generation),
            Announcement::ReloadFailed {
                generation,
                culprit,
                failure,
            } => {
                self.reload_failed(generation, culprit, &failure);
            }
            Announcement::Restarted { slot } => self.restarted(slot),
            Announcement::RestartFailed { slot, failure } => self.restart_failed(slot, failure),
            Announcement::CutAtDeadline { worker } => self.cut(worker),
            Announcement::Resting => self.rest(),
            Announcement::Ready
            | Announcement::Exited { .. }
            | Announcement::BackingOff { .. }
            | Announcement::Errored { .. }
            | Announcement::Stopped { .. }
            | Announcement::Hung { .. } => return Some(announcement),
        }
        None
    }
}
