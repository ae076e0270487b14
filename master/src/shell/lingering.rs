//! Listeners that their last worker has closed without a word about itself.
//!
//! A worker that ends by its own signal handler closes its listeners first, and says that it
//! leaves last, or never: `server.close(() => process.exit())` is all there is to hear. Were
//! the listener closed at once, clients would be refused until a successor listens. A worker
//! that only wanted to close it looks the same, until it has lived on for a while. So the
//! listener stays meanwhile; nobody accepts on it, and clients wait in its backlog.

use std::time::{Duration, Instant};

use maitred_core::id::{ServerId, WorkerId};
use maitred_protocol::message::ServerQuery;

use super::master::Master;
use super::server::ServerKey;
use super::servers::{SERVERS_PER_WORKER, Servers};

/// How long a listener outlives its last `close`, if the worker that closed it lives on.
///
/// An end by one's own will takes as long as the slowest request and Node's idle connections
/// (five seconds by default) do; twice that covers most. More would only leave clients of a
/// listener that was truly closed waiting for longer before they are refused.
const LINGER: Duration = Duration::from_secs(10);

/// Listeners that may linger at a time: as many as one worker may have. A program that opens
/// and closes them over and over must not use up the master's descriptors.
const LINGERING_MAX: usize = SERVERS_PER_WORKER;

/// How a listener stays that nobody holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linger {
    /// Who closed it last.
    worker: WorkerId,
    until: Instant,
}

impl Master {
    /// Leaves a listener open that its last worker closed, in case that one is ending. Returns
    /// whether it did: not for a worker that gets no successor, or was never ready.
    pub(super) fn linger(&mut self, now: Instant, worker: WorkerId, server: ServerId) -> bool {
        let mut workers = self.supervisor.workers();
        let has_served =
            workers.any(|(id, record)| id == worker && record.managed && record.was_ready);
        let is_one_too_many = self.servers.lingering().count() >= LINGERING_MAX;
        if self.closing.is_some() || !has_served || is_one_too_many {
            return false;
        }
        let until = now.checked_add(LINGER);
        if let Some(entry) = self.servers.get_mut(server) {
            entry.linger = until.map(|until| Linger { worker, until });
        }
        until.is_some()
    }

    /// Closes the listeners whose time is over. Those of a worker that leaves by now stay for
    /// its successor.
    pub(super) fn end_lingering(&mut self, now: Instant) {
        for (server, worker) in self.servers.take_lingering(now) {
            if !self.is_leaving(worker) {
                self.close_server(now, server);
            }
        }
    }

    /// Closes the listeners that linger: the master ends, and nobody will come for them.
    pub(super) fn close_lingering(&mut self, now: Instant) {
        let lingering: Vec<ServerId> = self.servers.lingering().map(|(id, _)| id).collect();
        for server in lingering {
            self.close_server(now, server);
        }
    }

    /// Closes what lingers on the port that a worker now wants in another way. Returns whether
    /// there was anything.
    pub(super) fn make_way(&mut self, now: Instant, query: &ServerQuery) -> bool {
        let port = ServerKey::of(query).port();
        let lingering = self.servers.lingering();
        let in_the_way: Vec<ServerId> = lingering
            .filter(|(_, entry)| port.is_some() && entry.bound_port() == port)
            .map(|(server, _)| server)
            .collect();
        for server in &in_the_way {
            self.close_server(now, *server);
        }
        !in_the_way.is_empty()
    }
}

impl Servers {
    /// Returns when the first listener has lingered for long enough.
    pub(super) fn linger_ends(&self) -> Option<Instant> {
        let lingering = self.lingering();
        lingering
            .filter_map(|(_, entry)| Some(entry.linger?.until))
            .min()
    }

    /// Notes that a worker has ended: what it had closed waits for its successor.
    pub(super) fn expect_successor_of(&mut self, worker: WorkerId) {
        for (_, entry) in self.iter_mut() {
            entry.linger.take_if(|linger| linger.worker == worker);
        }
    }

    /// Ends the lingering of all whose time is over, and returns who had closed them.
    fn take_lingering(&mut self, now: Instant) -> Vec<(ServerId, WorkerId)> {
        let mut over = Vec::new();
        for (server, entry) in self.iter_mut() {
            if let Some(linger) = entry.linger.take_if(|linger| linger.until <= now) {
                over.push((server, linger.worker));
            }
        }
        over
    }
}
