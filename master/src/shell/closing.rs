//! The end of the listeners: what their backlogs hold is still served.
//!
//! Closing a listener resets every client in its backlog, so on shutdown each server first
//! accepts what waits there. New clients may keep coming meanwhile; nobody can tell them
//! apart, so at most as many are accepted as the backlog could have held.

use std::collections::BTreeMap;
use std::time::Instant;

use maitred_core::id::ServerId;
use maitred_core::supervise::Fact;

use super::master::Master;
use super::server::Gate;
use crate::event::Event;

/// Connections accepted on each server after the shutdown began, at the most: the system's
/// usual longest backlog (`net.core.somaxconn`).
const LAST_GUESTS_MAX: usize = 4096;

/// A shutdown whose servers are still being served: how many each may yet accept.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    left: BTreeMap<ServerId, usize>,
    reported: bool,
}

impl Master {
    /// Drains everything and ends. A second time changes nothing.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        if self.outcome.is_some() {
            return;
        }
        // A stop may be under way, which this makes the end.
        if self.closing.is_none() {
            self.announce(Event::ShuttingDown);
        }
        self.supervise(now, Fact::ShutdownAsked);
    }

    pub(super) fn begin_closing(&mut self, now: Instant) {
        // What was cut before is for whoever sent those workers away.
        self.has_cut = false;
        self.close_lingering(now);
        self.shut_groups();
        let left = self
            .servers
            .watched()
            .into_iter()
            .map(|server| (server, LAST_GUESTS_MAX))
            .collect();
        self.closing = Some(Closing {
            left,
            reported: false,
        });
        self.check_closing(now);
    }

    /// Counts a connection against what a closing server may still accept.
    pub(super) fn count_closing(&mut self, now: Instant, server: ServerId) {
        let left = self
            .closing
            .as_mut()
            .and_then(|closing| closing.left.get_mut(&server));
        let Some(left) = left else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.backlog_served(now, server);
        }
    }

    /// The backlog is empty: in a shutdown, the door closes.
    pub(super) fn backlog_served(&mut self, now: Instant, server: ServerId) {
        let Some(closing) = &mut self.closing else {
            return;
        };
        closing.left.remove(&server);
        // Lest new clients keep the door open for ever.
        self.set_gate(server, Gate::Shut);
        self.check_closing(now);
    }

    /// Closes the servers and says so, once all backlogs are served and every connection has
    /// found its worker, or when no worker is left, nor coming, that could serve them.
    pub(super) fn check_closing(&mut self, now: Instant) {
        let Some(closing) = &self.closing else { return };
        let served = closing.left.is_empty() && self.dispatcher.held() == 0;
        let hopeless = self.is_deserted();
        if closing.reported || !(served || hopeless) {
            return;
        }
        self.close_all(now);
    }

    fn close_all(&mut self, now: Instant) {
        if let Some(closing) = &mut self.closing {
            closing.reported = true;
        }
        for server in self.servers.ids() {
            self.close_server(now, server);
        }
        self.supervise(now, Fact::ServersClosed);
    }
}
