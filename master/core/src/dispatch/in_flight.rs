//! Handoffs that were sent and are not yet answered.

use std::collections::VecDeque;
use std::time::Instant;

use super::pending::HeldConnection;
use crate::id::{ConnectionId, HandoffId, ServerId};

/// One attempt to give one connection to one worker.
#[derive(Debug)]
pub(super) struct Handoff {
    pub(super) id: HandoffId,
    pub(super) server: ServerId,
    pub(super) since: Instant,
    pub(super) connection: HeldConnection,
}

/// What one worker has been sent and has not answered, oldest first.
///
/// Entries enter with [`Effect::HandOff`](super::Effect::HandOff) and leave on ack, reject,
/// or the worker's death. The worker's window bounds them, so a stuck worker cannot make
/// the master hold more and more.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    handoffs: VecDeque<Handoff>,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.handoffs.len()
    }

    pub(super) fn push(&mut self, handoff: Handoff) {
        self.handoffs.push_back(handoff);
    }

    /// Takes out the handoff that a worker answered; `None` if it was never sent that one.
    ///
    /// Handoffs are numbered upwards, so the queue is sorted and can be searched by halving.
    pub(super) fn settle(&mut self, id: HandoffId) -> Option<Handoff> {
        let place = self
            .handoffs
            .binary_search_by_key(&id, |handoff| handoff.id)
            .ok()?;
        self.handoffs.remove(place)
    }

    /// Returns all handoffs with their connections, oldest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = (HandoffId, ConnectionId)> {
        let handoffs = self.handoffs.iter();
        handoffs.map(|handoff| (handoff.id, handoff.connection.id))
    }

    /// Returns when the handoff was sent that has waited longest for its answer.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.handoffs.front().map(|handoff| handoff.since)
    }

    /// Counts the handoffs that belong to one server.
    pub(super) fn count_of(&self, server: ServerId) -> usize {
        self.handoffs
            .iter()
            .filter(|handoff| handoff.server == server)
            .count()
    }
}

impl IntoIterator for InFlight {
    type Item = Handoff;
    type IntoIter = std::collections::vec_deque::IntoIter<Handoff>;

    fn into_iter(self) -> Self::IntoIter {
        self.handoffs.into_iter()
    }
}
