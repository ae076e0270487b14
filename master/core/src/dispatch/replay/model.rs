//! The rules of dispatching, written down once more without any cleverness.
//!
//! Nothing is kept that can be computed: no counts, no queues, no flags "has room". There
//! is one list of connections in the order of their arrival, and each says where it is.

use super::{Mismatch, Report};
use crate::dispatch::{Effect, Input};
use crate::id::{ConnectionId, HandoffId, ServerId, WorkerId};

/// A naive dispatcher that does not order but knows which order is due.
#[derive(Debug, Default)]
pub struct Model {
    pub(super) workers: Vec<Worker>,
    pub(super) servers: Vec<Server>,
    pub(super) connections: Vec<Connection>,
    pub(super) last_handoff: Option<HandoffId>,
    pub(super) report: Report,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) window: usize,
    pub(super) listens: Vec<ServerId>,
    pub(super) rests: bool,
    pub(super) drains: bool,
    pub(super) expelled: bool,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: ServerId,
    pub(super) shared: bool,
    pub(super) kernel: bool,
    pub(super) pending_max: usize,
    pub(super) accepting: bool,
    pub(super) ring: Vec<WorkerId>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) server: ServerId,
    pub(super) held_by: Option<(WorkerId, HandoffId)>,
    pub(super) deaths: usize,
    pub(super) rejected_by: Vec<WorkerId>,
}

impl Model {
    /// Makes a model that knows no server and no worker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows one step.
    ///
    /// # Errors
    ///
    /// The first order that is not the one that is due, or the one that is missing.
    pub fn observe(&mut self, input: &Input, effects: &[Effect]) -> Result<(), Mismatch> {
        self.report.steps += 1;
        let mut due = self.note(input);
        self.refresh_rings();
        for effect in effects {
            match effect {
                _ if !due.is_empty() => demand(&due.remove(0), effect)?,
                Effect::HandOff {
                    handoff,
                    connection,
                    worker,
                    server,
                } => {
                    let found = (*connection, *worker, *server);
                    self.check_handoff(*handoff, found)?;
                }
                Effect::PauseAccept(server) => self.switch_accept(*server, false)?,
                Effect::ResumeAccept(server) => self.switch_accept(*server, true)?,
                Effect::Release { .. }
                | Effect::Refuse { .. }
                | Effect::JoinRotation { .. }
                | Effect::LeaveRotation { .. }
                | Effect::Expel { .. } => {
                    return mismatch("no such order", effect);
                }
            }
        }
        self.check_nothing_is_missing(due)
    }

    /// Returns what was seen so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        let released: Vec<u64> = report
            .per_worker
            .values()
            .map(|share| share.released)
            .collect();
        if let (Some(most), Some(least)) = (released.iter().max(), released.iter().min())
            && *most > 0
        {
            let mean = released.iter().sum::<u64>() as f64 / released.len() as f64;
            report.spread = (most - least) as f64 / mean;
        }
        report
    }

    fn check_handoff(
        &mut self,
        handoff: HandoffId,
        found: (ConnectionId, WorkerId, ServerId),
    ) -> Result<(), Mismatch> {
        let expected = self.next_handoff();
        if expected != Some(found) {
            return mismatch(&format!("handoff {expected:?}"), &found);
        }
        if self.last_handoff >= Some(handoff) {
            return mismatch(
                &format!("a handoff above {:?}", self.last_handoff),
                &handoff,
            );
        }
        self.last_handoff = Some(handoff);
        let (connection, worker, server) = found;
        for other in self
            .connections
            .iter_mut()
            .filter(|other| other.id == connection)
        {
            other.held_by = Some((worker, handoff));
        }
        for other in self.servers.iter_mut().filter(|other| other.id == server) {
            other.ring.remove(0);
        }
        self.refresh_rings();
        self.report.handoffs += 1;
        self.report.per_worker.entry(worker).or_default().handoffs += 1;
        self.report.per_server.entry(server).or_default().handoffs += 1;
        Ok(())
    }

    /// Returns the handoff that is due: the connection that came first of all that can move.
    fn next_handoff(&mut self) -> Option<(ConnectionId, WorkerId, ServerId)> {
        let mut pending = self.connections.iter().filter(|c| c.held_by.is_none());
        let first = pending.find(|c| self.someone_has_room(c.server))?;
        let (connection, server) = (first.id, first.server);
        let place = self.servers.iter().position(|other| other.id == server)?;
        // Who comes to the head without room loses the place.
        let ring = &self.servers[place].ring;
        let skipped = ring.iter().position(|&worker| self.has_room(worker))?;
        self.servers[place].ring.drain(..skipped);
        Some((connection, self.servers[place].ring[0], server))
    }

    fn switch_accept(&mut self, id: ServerId, accepting: bool) -> Result<(), Mismatch> {
        if let Some(handoff) = self.next_handoff() {
            return mismatch(&format!("handoff {handoff:?} first"), &accepting);
        }
        let wanted = self.wants_accept(id);
        match self.servers.iter_mut().find(|server| server.id == id) {
            Some(server) if wanted == accepting && server.accepting != accepting => {
                server.accepting = accepting;
                Ok(())
            }
            Some(_) | None => mismatch(&format!("{id} accepting: {wanted}"), &accepting),
        }
    }

    fn check_nothing_is_missing(&mut self, due: Vec<Effect>) -> Result<(), Mismatch> {
        if !due.is_empty() {
            return mismatch(&format!("{due:?}"), &"nothing");
        }
        if let Some(handoff) = self.next_handoff() {
            return mismatch(&format!("handoff {handoff:?}"), &"nothing");
        }
        let wrong =
            |server: &&Server| !server.shared && server.accepting != self.wants_accept(server.id);
        match self.servers.iter().find(wrong) {
            Some(server) => mismatch(&format!("{} to change", server.id), &server.accepting),
            None => Ok(()),
        }
    }

    /// Lines up who has room and stands nowhere, and drops who may not be picked.
    fn refresh_rings(&mut self) {
        let ids: Vec<_> = self.servers.iter().map(|server| server.id).collect();
        for (place, id) in ids.into_iter().enumerate() {
            let rotation = self.rotation(id);
            let rests = |worker: &WorkerId| self.workers.iter().any(|w| w.id == *worker && w.rests);
            let mut ring = self.servers[place].ring.clone();
            ring.retain(|worker| rotation.contains(worker) && !rests(worker));
            let free = rotation.into_iter().filter(|&worker| self.has_room(worker));
            let newcomers: Vec<_> = free.filter(|worker| !ring.contains(worker)).collect();
            ring.extend(newcomers);
            self.servers[place].ring = ring;
        }
    }

    pub(super) fn rotation(&self, server: ServerId) -> Vec<WorkerId> {
        let listens = |worker: &&Worker| {
            worker.listens.contains(&server) && !worker.drains && !worker.expelled
        };
        self.workers
            .iter()
            .filter(listens)
            .map(|worker| worker.id)
            .collect()
    }

    fn has_room(&self, id: WorkerId) -> bool {
        let held = self
            .connections
            .iter()
            .filter_map(|connection| connection.held_by);
        let held = held.filter(|&(worker, _)| worker == id).count();
        let mut workers = self.workers.iter().filter(|worker| worker.id == id);
        workers.any(|w| !w.rests && !w.drains && !w.expelled && held < w.window)
    }

    pub(super) fn someone_has_room(&self, server: ServerId) -> bool {
        self.rotation(server)
            .into_iter()
            .any(|worker| self.has_room(worker))
    }

    fn wants_accept(&self, id: ServerId) -> bool {
        let is_ours = self
            .servers
            .iter()
            .any(|server| server.id == id && !server.shared);
        is_ours && self.someone_has_room(id) && self.pending(id).next().is_none()
    }

    pub(super) fn pending(&self, server: ServerId) -> impl Iterator<Item = &Connection> {
        let is_pending = move |c: &&Connection| c.server == server && c.held_by.is_none();
        self.connections.iter().filter(is_pending)
    }

    /// Finds the connection of a handoff, if this worker holds it.
    pub(super) fn place_of(&self, worker: WorkerId, handoff: HandoffId) -> Option<usize> {
        self.connections
            .iter()
            .position(|c| c.held_by == Some((worker, handoff)))
    }

    pub(super) fn change(&mut self, id: WorkerId, change: impl FnMut(&mut Worker)) {
        self.workers
            .iter_mut()
            .filter(|worker| worker.id == id)
            .for_each(change);
    }
}

fn demand(expected: &Effect, found: &Effect) -> Result<(), Mismatch> {
    if expected == found {
        Ok(())
    } else {
        mismatch(&format!("{expected:?}"), found)
    }
}

fn mismatch<T>(expected: &str, found: &dyn std::fmt::Debug) -> Result<T, Mismatch> {
    Err(Mismatch {
        expected: expected.to_owned(),
        found: format!("{found:?}"),
    })
}
