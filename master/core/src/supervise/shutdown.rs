//! How it all ends.
//!
//! A shutdown first lets the workers serve what waits in the listeners' backlogs, since
//! closing a listener resets it; then it drains everybody. Both share one deadline, so that
//! an operator's "30 seconds" means 30 seconds. A run that gives up (nothing comes up, or
//! everything is errored) skips the first part: nobody is there to serve a backlog.
//!
//! If the last who could serve it dies in that first part, one more is started, lest what
//! waits is lost by a death of which it knows nothing. Once there is nothing left that waits,
//! nobody follows anybody.

use std::time::Instant;

use super::order::{Announcement, Order, Outcome};
use super::record::Record;
use super::reload_failure::ReloadFailure;
use super::restart::Verdict;
use super::slot::{Content, Slot};
use super::supervisor::Supervisor;
use crate::id::SlotId;

/// Whether processes are still wanted.
#[derive(Debug)]
pub(super) enum Phase {
    /// Yes.
    Running,
    /// No; the workers still serve the backlogs.
    ClosingServers(Ending),
    /// No, and every worker is on its way out.
    Leaving(Ending),
    /// Nothing lives, and the last order was given.
    Finished,
}

/// What an ending will have been, and by when.
#[derive(Debug)]
pub(super) struct Ending {
    /// The end of the common patience, counted from the wish.
    deadline: Option<Instant>,
    outcome: Outcome,
    /// Whether this is no end, but a rest: the slots stay, empty.
    is_rest: bool,
}

impl Phase {
    pub(super) fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    /// Tells whether it ends, and not only to rest.
    fn is_end(&self) -> bool {
        match self {
            Self::Running => false,
            Self::ClosingServers(ending) | Self::Leaving(ending) => !ending.is_rest,
            Self::Finished => true,
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        matches!(self, Self::Finished)
    }

    /// Returns when the servers have to be closed, if that is awaited.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::ClosingServers(ending) => ending.deadline,
            Self::Running | Self::Leaving(_) | Self::Finished => None,
        }
    }

    /// Returns the common deadline, which no drain may outlast.
    pub(super) fn drain_limit(&self) -> Option<Instant> {
        match self {
            Self::ClosingServers(ending) | Self::Leaving(ending) => ending.deadline,
            Self::Running | Self::Finished => None,
        }
    }

    /// Grants more time.
    pub(super) fn postpone(&mut self, postpone: impl Fn(Instant) -> Option<Instant>) {
        if let Self::ClosingServers(ending) | Self::Leaving(ending) = self {
            ending.deadline = ending.deadline.and_then(postpone);
        }
    }

    /// A worker passed its drain deadline. What went wrong before that counts for more.
    pub(super) fn note_cut(&mut self) {
        if let Self::ClosingServers(ending) | Self::Leaving(ending) = self
            && ending.outcome == Outcome::Done
        {
            ending.outcome = Outcome::Cut;
        }
    }
}

impl Supervisor {
    /// Tells whether everything drains in order to end. A stop after which the run stays is
    /// no end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.phase.is_end()
    }

    /// Tells whether everything drains, be it in order to end or to rest.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        !self.phase.is_running()
    }

    /// Somebody wants an end: no more spawns but to [relieve](Self::relieve) the last worker,
    /// then the backlogs, then the workers.
    pub(super) fn shut_down(&mut self, now: Instant, orders: &mut Vec<Order>) {
        self.end(now, false, orders);
    }

    /// Somebody wants everything stopped. A run that does not stay ends with that.
    pub(super) fn stop(&mut self, now: Instant, orders: &mut Vec<Order>) {
        self.end(now, self.limits.stay_when_errored, orders);
    }

    fn end(&mut self, now: Instant, is_rest: bool, orders: &mut Vec<Order>) {
        if let Phase::ClosingServers(ending) | Phase::Leaving(ending) = &mut self.phase {
            // A shutdown that comes while all is being stopped makes it the end.
            ending.is_rest &= is_rest;
        }
        self.supersede_restarts(orders); // The last word counts.
        if !self.phase.is_running() {
            return;
        }
        self.fail_reload(now, None, ReloadFailure::Superseded, orders);
        self.cancel_backoffs();
        let deadline = now.checked_add(self.limits.drain_timeout);
        self.phase = Phase::ClosingServers(Ending {
            deadline,
            outcome: Outcome::Done,
            is_rest,
        });
        // Without a worker nobody can serve a backlog; the finish follows in this very turn.
        if !self.workers.is_empty() {
            orders.push(Order::CloseServers);
        }
    }

    /// The backlogs are served, or there is no time left for them.
    pub(super) fn servers_closed(&mut self, now: Instant, orders: &mut Vec<Order>) {
        match std::mem::replace(&mut self.phase, Phase::Finished) {
            Phase::ClosingServers(ending) => self.leave(now, ending, orders),
            other @ (Phase::Running | Phase::Leaving(_) | Phase::Finished) => self.phase = other,
        }
    }

    /// Ends a foreground run that has no hope left.
    pub(super) fn give_up_if_hopeless(&mut self, now: Instant, orders: &mut Vec<Order>) {
        if let Some(outcome) = self.reason_to_give_up() {
            let deadline = now.checked_add(self.limits.drain_timeout);
            let ending = Ending {
                deadline,
                outcome,
                is_rest: false,
            };
            self.fail_reload(now, None, ReloadFailure::Superseded, orders);
            self.leave(now, ending, orders);
        }
    }

    /// Returns the reason to give up, if there is one.
    ///
    /// Until some worker got ready, one failure in each slot is reason enough: somebody
    /// looks at the terminal, and wants the error rather than sixteen of them. Later, the
    /// program has proved that it can work, and each slot has its sixteen.
    pub(super) fn reason_to_give_up(&self) -> Option<Outcome> {
        if !self.phase.is_running() || !self.foreground {
            return None;
        }
        let mut wanted = self.wanted_slots().peekable();
        wanted.peek()?;
        if !self.was_ever_ready {
            let failed = self
                .wanted_slots()
                .filter(|(_, slot)| slot.restart.boot_failures() > 0);
            let slots: Vec<SlotId> = failed.map(|(id, _)| id).collect();
            if slots.len() == self.wanted_slots().count() {
                return Some(Outcome::BootFailed { slots });
            }
        }
        if self.limits.stay_when_errored || !wanted.all(|(_, slot)| slot.is_given_up()) {
            return None;
        }
        let any_errored = self.wanted_slots().any(|(_, slot)| slot.is_errored());
        Some(if any_errored {
            Outcome::Errored
        } else {
            Outcome::Done
        })
    }

    fn leave(&mut self, now: Instant, ending: Ending, orders: &mut Vec<Order>) {
        self.cancel_backoffs();
        let deadline = ending.deadline;
        self.phase = Phase::Leaving(ending);
        for record in self.workers.values_mut() {
            record.send_away(now, deadline, &self.limits, orders);
        }
    }

    fn cancel_backoffs(&mut self) {
        for slot in self.slots.values_mut() {
            if matches!(slot.content, Content::Backoff { .. }) {
                slot.content = Content::Stopped;
            }
        }
    }

    /// Has a worker that died followed by one more if backlogs are still being served, and
    /// nobody is left or coming who could go on with that.
    ///
    /// Not one that never got ready: nothing says that its successor would. Nor one that
    /// somebody wanted to end, unless it had to be killed: then it hung, perhaps.
    pub(super) fn relieve(&mut self, now: Instant, dead: &Record, verdict: Verdict) {
        let is_wish = dead.ended_by_master && !dead.is_killed;
        let (Phase::ClosingServers(_), true, false, Verdict::RetryAfter(delay)) =
            (&self.phase, dead.was_ready, is_wish, verdict)
        else {
            return;
        };
        let can_serve = |record: &Record| !record.state.is_leaving();
        if self.workers.values().any(can_serve) || self.expects_worker() {
            return;
        }
        if let Some(slot) = self.slots.get_mut(&dead.slot) {
            let until = now.checked_add(delay);
            slot.content = Content::Backoff { until };
        }
    }

    /// Tells whether some slot is empty only until its wait is over.
    #[must_use]
    pub fn expects_worker(&self) -> bool {
        let waits = |slot: &Slot| matches!(slot.content, Content::Backoff { .. });
        self.slots.values().any(waits)
    }

    /// Gives the last order once nothing lives, nor is going to.
    pub(super) fn finish_if_alone(&mut self, now: Instant, orders: &mut Vec<Order>) {
        if !self.workers.is_empty() || self.expects_worker() {
            return;
        }
        match std::mem::replace(&mut self.phase, Phase::Finished) {
            Phase::ClosingServers(ending) | Phase::Leaving(ending) if ending.is_rest => {
                self.rest(now, orders);
            }
            Phase::ClosingServers(ending) | Phase::Leaving(ending) => {
                orders.push(Order::Finish(ending.outcome));
            }
            other @ (Phase::Running | Phase::Finished) => self.phase = other,
        }
    }

    /// Everything has stopped, and may be started again; what failed before is forgiven.
    fn rest(&mut self, now: Instant, orders: &mut Vec<Order>) {
        self.phase = Phase::Running;
        orders.push(Order::Announce(Announcement::Resting));
        for slot in self.slots.values_mut() {
            slot.content = Content::Stopped;
            slot.restart.start_afresh();
        }
        // Somebody may have asked for a restart meanwhile.
        let is_restarting = |(_, slot): &(&SlotId, &Slot)| slot.is_restarting;
        let restarting = self.slots.iter().filter(is_restarting);
        let restarting: Vec<SlotId> = restarting.map(|(&id, _)| id).collect();
        self.was_ready_announced &= restarting.is_empty();
        for slot in restarting {
            self.spawn(now, slot, orders);
        }
    }
}
