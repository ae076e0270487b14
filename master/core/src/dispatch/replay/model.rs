//! The rules of dispatching, written down once more without any cleverness.
//!
//! Nothing is kept that can be computed: no counts, no queues, no flags "has room". There
//! is one list of connections in the order of their arrival, and each says where it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Mismatch, Report};
use crate::dispatch::{Effect, Input, PolicyName};
use crate::id::{ConnectionId, HandoffId, ServerId, SlotId, WorkerId};

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
    pub(super) slot: SlotId,
    pub(super) weight: u32,
    pub(super) window: usize,
    /// Connections it reported.
    pub(super) open: u64,
    /// Connections it acked since.
    pub(super) taken_since: u64,
    pub(super) listens: Vec<ServerId>,
    pub(super) rests: bool,
    pub(super) drains: bool,
    pub(super) expelled: bool,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) id: ServerId,
    pub(super) policy: PolicyName,
    pub(super) pending_max: usize,
    pub(super) accepting: bool,
    /// Of `rr`: who has room, in the order in which their turn comes. Of `least-connections`:
    /// who serves, in the order of their last turn.
    pub(super) ring: Vec<WorkerId>,
    /// Of `weighted`: what each is owed.
    pub(super) credits: BTreeMap<WorkerId, i128>,
    /// Of `sticky`: who had the last client without an address.
    pub(super) last_without: Option<WorkerId>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) server: ServerId,
    pub(super) client: Option<SocketAddr>,
    pub(super) waits_for: Option<WorkerId>,
    pub(super) held_by: Option<(WorkerId, HandoffId)>,
    pub(super) deaths: usize,
    pub(super) rejected_by: Vec<WorkerId>,
}

impl Server {
    /// Tells whether the master accepts here.
    pub(super) fn is_ours(&self) -> bool {
        self.policy != PolicyName::Shared
    }
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
        let due = self.next_handoff();
        let named = due.map(|(place, worker, server)| (self.connections[place].id, worker, server));
        let Some((place, ..)) = due.filter(|_| named == Some(found)) else {
            return mismatch(&format!("handoff {named:?}"), &found);
        };
        if self.last_handoff >= Some(handoff) {
            return mismatch(
                &format!("a handoff above {:?}", self.last_handoff),
                &handoff,
            );
        }
        self.last_handoff = Some(handoff);
        let (_, worker, server) = found;
        self.take_turn(server, place, worker);
        self.connections[place].held_by = Some((worker, handoff));
        self.connections[place].waits_for = None;
        self.refresh_rings();
        self.report.handoffs += 1;
        self.report.per_worker.entry(worker).or_default().handoffs += 1;
        self.report.per_server.entry(server).or_default().handoffs += 1;
        Ok(())
    }

    /// Returns the handoff that is due: the connection that came first of all that can move.
    fn next_handoff(&mut self) -> Option<(usize, WorkerId, ServerId)> {
        let servers: Vec<_> = self.servers.iter().map(|server| server.id).collect();
        let movable = servers.into_iter().filter_map(|server| {
            let (place, worker) = self.next_of(server)?;
            Some((place, worker, server))
        });
        movable.min()
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
            |server: &&Server| server.is_ours() && server.accepting != self.wants_accept(server.id);
        match self.servers.iter().find(wrong) {
            Some(server) => mismatch(&format!("{} to change", server.id), &server.accepting),
            None => Ok(()),
        }
    }

    /// Lines up who stands nowhere and should, and drops who may not be picked.
    fn refresh_rings(&mut self) {
        for place in 0..self.servers.len() {
            let id = self.servers[place].id;
            let serving = self.serving(id);
            let free: Vec<_> = self.free_workers(id).collect();
            let server = &mut self.servers[place];
            let is_ring = matches!(server.policy, PolicyName::Rr | PolicyName::Kernel);
            let mut newcomers = if is_ring { free } else { serving.clone() };
            server.ring.retain(|worker| serving.contains(worker));
            newcomers.retain(|worker| !server.ring.contains(worker));
            server.ring.extend(newcomers);
            server.credits.retain(|worker, _| serving.contains(worker));
            for connection in self.connections.iter_mut().filter(|c| c.server == id) {
                connection
                    .waits_for
                    .take_if(|awaited| !serving.contains(awaited));
            }
        }
    }

    /// Lists who listens on a server and does not leave, by number.
    pub(super) fn rotation(&self, server: ServerId) -> Vec<WorkerId> {
        let listens = |worker: &&Worker| {
            worker.listens.contains(&server) && !worker.drains && !worker.expelled
        };
        let listening = self.workers.iter().filter(listens);
        let mut rotation: Vec<_> = listening.map(|worker| worker.id).collect();
        rotation.sort();
        rotation
    }

    /// Lists who of a rotation does not rest.
    pub(super) fn serving(&self, server: ServerId) -> Vec<WorkerId> {
        let rests = |worker: &WorkerId| self.workers.iter().any(|w| w.id == *worker && w.rests);
        let mut serving = self.rotation(server);
        serving.retain(|worker| !rests(worker));
        serving
    }

    /// Lists who of a rotation has room.
    pub(super) fn free_workers(&self, server: ServerId) -> impl Iterator<Item = WorkerId> {
        let rotation = self.rotation(server).into_iter();
        rotation.filter(|worker| self.has_room(*worker))
    }

    pub(super) fn has_room(&self, id: WorkerId) -> bool {
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
        let ours = self.servers.iter().filter(|server| server.is_ours());
        ours.filter(|server| server.id == id)
            .any(|server| self.goes_straight_on(server))
    }

    /// Tells whether one who comes now finds a worker, and nobody before him.
    pub(super) fn goes_straight_on(&self, server: &Server) -> bool {
        let queues = server.policy != PolicyName::Sticky;
        let is_empty = || self.pending(server.id).next().is_none();
        self.someone_has_room(server.id) && (!queues || is_empty())
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
