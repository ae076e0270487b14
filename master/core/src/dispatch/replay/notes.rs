//! The model's ears: what each fact means, and which orders must follow from it at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::model::{Connection, Model, Server, Worker};
use crate::dispatch::{Breach, Effect, Input, PolicyName, RefusalReason};
use crate::id::{ConnectionId, HandoffId, ServerId, SlotId, WorkerId};

impl Model {
    /// Notes a fact, and returns which orders must follow before any handoff.
    pub(super) fn note(&mut self, input: &Input) -> Vec<Effect> {
        match *input {
            Input::Joined {
                worker,
                slot,
                window,
            } => self.note_joined(worker, slot, window),
            Input::Listening { worker, server } => return self.note_listening(worker, server),
            Input::Closed { worker, server } => {
                let mut due = self.departures(worker);
                due.retain(|left| *left == Effect::LeaveRotation { worker, server });
                self.change(worker, |worker| {
                    worker.listens.retain(|&other| other != server)
                });
                return due;
            }
            Input::Draining(id) => {
                let due = self.departures(id);
                self.change(id, |worker| worker.drains = true);
                return due;
            }
            Input::Ready(id) => self.change(id, |worker| worker.rests = false),
            Input::Acked { worker, handoff } => return self.note_acked(worker, handoff),
            Input::Rejected { worker, handoff } => return self.note_rejected(worker, handoff),
            Input::AnswerLost { worker, handoff } => return self.note_lost(worker, handoff),
            Input::Accepted {
                connection,
                server,
                client,
            } => {
                return self.note_accepted(connection, server, client);
            }
            Input::WorkerGone(worker) => return self.note_gone(worker),
            Input::ServerOpened {
                server,
                policy,
                pending_max,
            } => {
                self.note_opened(server, policy, pending_max);
            }
            Input::PolicyChanged { server, policy } => self.note_policy(server, policy),
            Input::Reported { worker, open } => self.change(worker, |worker| {
                (worker.open, worker.taken_since) = (open.into(), 0);
            }),
            Input::Weighed { worker, weight } => self.note_weight(worker, weight),
            Input::ServerClosed(server) => return self.note_closed(server),
            Input::Tick => {}
        }
        Vec::new()
    }

    fn note_joined(&mut self, id: WorkerId, slot: SlotId, window: u32) {
        if !self.workers.iter().any(|worker| worker.id == id) {
            let (window, listens) = (window.max(1) as usize, Vec::new());
            let worker = Worker {
                id,
                slot,
                weight: 1,
                window,
                open: 0,
                taken_since: 0,
                listens,
                rests: false,
                drains: false,
                expelled: false,
            };
            self.workers.push(worker);
        }
    }

    /// Returns what must be ordered if this worker now leaves all its rotations.
    fn departures(&self, id: WorkerId) -> Vec<Effect> {
        let worker = self.workers.iter().find(|worker| worker.id == id);
        let worker = worker.filter(|worker| !worker.drains && !worker.expelled);
        let listens = worker.map_or(&[][..], |worker| &worker.listens);
        let of_kernel = listens.iter().filter(|id| self.is_kernel(**id));
        let leave = |&server: &ServerId| Effect::LeaveRotation { worker: id, server };
        of_kernel.map(leave).collect()
    }

    fn is_kernel(&self, id: ServerId) -> bool {
        self.servers
            .iter()
            .any(|server| server.id == id && server.policy.rotates_in_kernel())
    }

    fn note_listening(&mut self, id: WorkerId, server: ServerId) -> Vec<Effect> {
        let is_open = self.servers.iter().any(|other| other.id == server);
        let is_kernel = self.is_kernel(server);
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else {
            return Vec::new();
        };
        if is_open && !worker.drains && !worker.expelled && !worker.listens.contains(&server) {
            worker.listens.push(server);
            self.report.per_worker.entry(id).or_default();
            if is_kernel {
                return vec![Effect::JoinRotation { worker: id, server }];
            }
        }
        Vec::new()
    }

    fn note_acked(&mut self, worker: WorkerId, handoff: HandoffId) -> Vec<Effect> {
        let Some(place) = self.place_of(worker, handoff) else {
            return self.note_breach(worker, Breach::AckedUnknown(handoff));
        };
        let connection = self.connections.remove(place);
        self.change(worker, |worker| worker.taken_since += 1);
        self.report.released += 1;
        self.report.per_worker.entry(worker).or_default().released += 1;
        self.report
            .per_server
            .entry(connection.server)
            .or_default()
            .released += 1;
        vec![Effect::Release {
            connection: connection.id,
            worker,
        }]
    }

    fn note_rejected(&mut self, worker: WorkerId, handoff: HandoffId) -> Vec<Effect> {
        let Some(place) = self.place_of(worker, handoff) else {
            return self.note_breach(worker, Breach::RejectedUnknown(handoff));
        };
        self.change(worker, |worker| worker.rests = true);
        let rotation = self.rotation(self.connections[place].server);
        // A worker that drains or has left cannot speak against a connection.
        let rejected_by = &mut self.connections[place].rejected_by;
        rejected_by.push(worker);
        rejected_by.retain(|worker| rotation.contains(worker));
        self.take_back(place).into_iter().collect()
    }

    fn note_lost(&mut self, worker: WorkerId, handoff: HandoffId) -> Vec<Effect> {
        let mut due = self.departures(worker);
        self.change(worker, |worker| worker.drains = true);
        let lost = self.place_of(worker, handoff);
        let lost = lost.map(|place| self.connections.remove(place).id);
        self.report.refused += u64::from(lost.is_some());
        let reason = RefusalReason::AnswerLost;
        let refused = lost.into_iter();
        due.extend(refused.map(|connection| Effect::Refuse { connection, reason }));
        due
    }

    fn note_breach(&mut self, id: WorkerId, breach: Breach) -> Vec<Effect> {
        let is_news = self
            .workers
            .iter()
            .any(|worker| worker.id == id && !worker.expelled);
        let mut due = self.departures(id);
        self.change(id, |worker| worker.expelled = true);
        if is_news {
            due.push(Effect::Expel { worker: id, breach });
        }
        due
    }

    fn note_accepted(
        &mut self,
        id: ConnectionId,
        server: ServerId,
        client: Option<SocketAddr>,
    ) -> Vec<Effect> {
        self.report.accepted += 1;
        let pending = self.pending(server).count();
        let refuse = |reason| {
            vec![Effect::Refuse {
                connection: id,
                reason,
            }]
        };
        let refusal = match self.servers.iter().find(|other| other.id == server) {
            None => refuse(RefusalReason::ServerClosed),
            Some(server) if !server.is_ours() => refuse(RefusalReason::SharedServer),
            Some(server) if self.goes_straight_on(server) => Vec::new(),
            Some(server) if pending >= server.pending_max => refuse(RefusalReason::PendingFull),
            Some(_) => Vec::new(),
        };
        self.report.refused += refusal.len() as u64;
        if refusal.is_empty() {
            let (held_by, rejected_by) = (None, Vec::new());
            self.connections.push(Connection {
                id,
                server,
                client,
                waits_for: None,
                held_by,
                deaths: 0,
                rejected_by,
            });
        }
        refusal
    }

    fn note_gone(&mut self, gone: WorkerId) -> Vec<Effect> {
        let mut due = self.departures(gone);
        self.workers.retain(|worker| worker.id != gone);
        // The order in which the worker was sent them, which may differ from their arrival.
        let mut handoffs: Vec<_> = self.connections.iter().filter_map(|c| c.held_by).collect();
        handoffs.retain(|&(worker, _)| worker == gone);
        handoffs.sort_by_key(|&(_, handoff)| handoff);
        for (worker, handoff) in handoffs {
            if let Some(place) = self.place_of(worker, handoff) {
                self.connections[place].deaths += 1;
                due.extend(self.take_back(place));
            }
        }
        due
    }

    fn note_opened(&mut self, id: ServerId, policy: PolicyName, pending_max: usize) {
        if !self.servers.iter().any(|server| server.id == id) {
            self.servers.push(Server {
                id,
                policy,
                pending_max,
                accepting: false,
                ring: Vec::new(),
                credits: BTreeMap::new(),
                last_without: None,
            });
            self.report.per_server.entry(id).or_default();
        }
    }

    fn note_policy(&mut self, id: ServerId, policy: PolicyName) {
        let mut servers = self.servers.iter_mut();
        let Some(server) = servers.find(|server| server.id == id) else {
            return;
        };
        if [server.policy, policy]
            .iter()
            .any(|policy| policy.has_workers_accept())
        {
            return;
        }
        server.policy = policy;
        server.ring.clear();
        server.credits.clear();
        server.last_without = None;
        for connection in self.connections.iter_mut().filter(|c| c.server == id) {
            connection.waits_for = None;
        }
    }

    /// Wherever the worker serves, all that is owed is forgotten.
    fn note_weight(&mut self, id: WorkerId, weight: u32) {
        self.change(id, |worker| worker.weight = weight);
        let servers: Vec<_> = self.servers.iter().map(|server| server.id).collect();
        for (place, server) in servers.into_iter().enumerate() {
            if self.rotation(server).contains(&id) {
                self.servers[place].credits.clear();
            }
        }
    }

    fn note_closed(&mut self, id: ServerId) -> Vec<Effect> {
        self.servers.retain(|server| server.id != id);
        for worker in &mut self.workers {
            worker.listens.retain(|&server| server != id);
        }
        let closed: Vec<_> = self.pending(id).map(|connection| connection.id).collect();
        self.connections
            .retain(|connection| !closed.contains(&connection.id));
        self.report.refused += closed.len() as u64;
        let reason = RefusalReason::ServerClosed;
        closed
            .into_iter()
            .map(|connection| Effect::Refuse { connection, reason })
            .collect()
    }

    /// Returns a connection to the queue, or names the refusal that is due instead.
    fn take_back(&mut self, place: usize) -> Option<Effect> {
        let connection = &self.connections[place];
        let rotation = self.rotation(connection.server);
        let rejects = |worker| {
            connection
                .rejected_by
                .iter()
                .filter(|&&other| other == worker)
                .count()
        };
        let mut open = self.servers.iter().filter(|server| server.is_ours());
        let reason = if !open.any(|server| server.id == connection.server) {
            RefusalReason::ServerClosed
        } else if connection.deaths >= 3 {
            RefusalReason::WorkersDied
        } else if rotation.iter().any(|&worker| rejects(worker) >= 250)
            || !rotation.is_empty() && rotation.iter().all(|&worker| rejects(worker) >= 2)
        {
            RefusalReason::RejectedByAll
        } else {
            self.report.requeued += 1;
            self.connections[place].held_by = None;
            return None;
        };
        self.report.refused += 1;
        let connection = self.connections.remove(place).id;
        Some(Effect::Refuse { connection, reason })
    }
}
