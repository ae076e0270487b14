//! Notices workers that do not come up, so that somebody may look at them.
//!
//! A program that hangs while it boots neither exits nor owes anything, so nothing else would
//! ever tell of it. It is left alone: it may load what takes a while, and a successor would
//! have to load that, too. Only a reload, which has an old worker to keep, gives up on it.

use std::time::Instant;

use maitred_core::supervise::WorkerState;

use super::master::Master;
use crate::event::Event;

impl Master {
    /// Notes that this hour has to be looked at.
    pub(super) fn plan_late_look(&mut self, at: Option<Instant>) {
        self.late_at = [self.late_at, at].into_iter().flatten().min();
    }

    /// Tells, once of each worker, that it should be ready by now and is not.
    pub(super) fn tell_of_the_late(&mut self, now: Instant) {
        if self.late_at.is_none_or(|at| at > now) {
            return;
        }
        let after = self.supervisor.limits().listen_timeout;
        for (&worker, member) in &mut self.members {
            if member.listen_by.take_if(|at| *at <= now).is_none() {
                continue;
            }
            let record = self.supervisor.workers().find(|(id, _)| *id == worker);
            let Some((_, record)) = record else { continue };
            // Who was forked by its owner may never be meant to listen.
            if record.managed && !record.is_ready() && !record.state.is_leaving() {
                self.outlets.announcer.announce(Event::NotListening {
                    worker,
                    pid: member.pid_number(),
                    after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
                    listens: record.state == WorkerState::Listening,
                });
            }
        }
        let members = self.members.values();
        self.late_at = members.filter_map(|member| member.listen_by).min();
    }
}
