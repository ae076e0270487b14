//! How a worker leaves: it drains, parts from its master, or loses it.
//!
//! `session.rs` decides what comes next; here it is done, to the queues, the channel and the
//! program that waits.

use std::time::Duration;

use maitred_protocol::message::RejectReason;
use maitred_protocol::{ChannelError, WorkerToMaster};

use crate::link::Link;
use crate::session::{Phase, Step, Wish};
use crate::state::{Queued, State};

/// How long idle connections may stay when it is not the master who says so: it has gone, or
/// the program leaves by itself. Shorter than the master's patience with an orphan's like.
pub(crate) const OWN_GRACE: Duration = Duration::from_secs(1);

impl State {
    /// No more connections: what is queued goes back, and the program is told.
    pub(crate) fn drain(&mut self, link: &Link, grace: Duration) {
        if self.session.drain() {
            self.clear_out(link, grace);
        }
    }

    /// Begins to leave, at whoever's wish.
    pub(crate) fn leave(&mut self, link: &'static Link, wish: Wish) {
        if wish == Wish::Kill && !self.session.is_connected() {
            // There is nobody to part from, or not any more.
            std::process::exit(0);
        }
        if self.session.leave(wish) {
            self.clear_out(link, OWN_GRACE);
            self.progress(link);
        }
    }

    fn clear_out(&mut self, link: &Link, grace: Duration) {
        let queued: Vec<Queued> = self
            .queues
            .values_mut()
            .flat_map(|queue| queue.waiting.drain(..))
            .collect();
        for queued in queued {
            self.reject(queued.handoff, RejectReason::Draining);
        }
        // What the master shows of us from here on should be no older than the drain.
        self.report(link);
        // An accept may have heard of it; the task is to tell more often from now on.
        link.bell.notify_one();
        announce_drain(link, grace);
        self.wake_all();
    }

    /// The channel is at its end, or cannot be trusted: there is no master any more.
    pub(crate) fn master_gone(&mut self, link: &'static Link, error: &ChannelError) {
        if !self.session.orphan() {
            return;
        }
        // Said to the other side too, which may live on after a breach.
        link.end.shut_down();
        link.identity
            .send_if_modified(|identity| match identity.is_none() {
                true => {
                    *identity = Some(Err(error.to_string()));
                    true
                }
                false => false,
            });
        self.forget_master();
        self.progress(link);
    }

    fn forget_master(&mut self) {
        self.received.close();
        self.queries.clear();
        self.outbox.clear();
        self.wake_all();
    }

    /// Goes on with leaving, as far as it can go now.
    pub(crate) fn progress(&mut self, link: &'static Link) {
        if self.session.phase() == Phase::Orphaned {
            return self.progress_orphan(link);
        }
        while self.outbox.is_empty() {
            let Some(step) = self.session.next_step(|| link.open.lock().any()) else {
                return;
            };
            self.take_step(link, step);
        }
    }

    pub(crate) fn take_step(&mut self, link: &'static Link, step: Step) {
        match step {
            Step::SayExited => self.outbox.say(WorkerToMaster::ExitedAfterDisconnect),
            Step::Close(wish) => {
                if wish == Wish::Kill {
                    std::process::exit(0);
                }
                if wish == Wish::Own {
                    link.set_outlives();
                }
                link.end.shut_down();
                self.forget_master();
                link.finished.send_replace(true);
            }
        }
    }

    /// Without a master its copies are gone as well: what is queued can be served by nobody
    /// else. So the program gets that first, and hears of the drain only afterwards.
    fn progress_orphan(&mut self, link: &Link) {
        if self.queues.values().any(|queue| !queue.waiting.is_empty()) {
            return;
        }
        announce_drain(link, OWN_GRACE);
        if self.session.end_orphan(|| link.open.lock().any()) {
            link.finished.send_replace(true);
            self.wake_all();
        }
    }
}

/// Tells the program, once, that it drains.
fn announce_drain(link: &Link, grace: Duration) {
    link.draining.send_if_modified(|draining| {
        let first = draining.is_none();
        draining.get_or_insert(grace);
        first
    });
}
