//! The model's ears: what each fact means, and which orders must follow from it at once.

use super::model::{Connection, Model, Server, Worker};
use crate::dispatch::{Breach, Effect, Input, PolicyName, RefusalReason};
use crate::id::{ConnectionId, HandoffId, ServerId, WorkerId};

impl Model {
    /// Notes a fact, and returns which orders must follow before any handoff.
    pub(super) fn note(&mut self, input: &Input) -> Vec<Effect> {
        match *input {
            Input::Joined { worker, window } => self.note_joined(worker, window),
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
            Input::Accepted {
                connection, server, ..
            } => {
                return self.note_accepted(connection, server);
            }
            Input::WorkerGone(worker) => return self.note_gone(worker),
            Input::ServerOpened {
                server,
                policy,
                pending_max,
            } => {
                self.note_opened(server, policy, pending_max);
            }
            Input::ServerClosed(server) => return self.note_closed(server),
            Input::Tick => {}
        }
        Vec::new()
    }

    fn note_joined(&mut self, id: WorkerId, window: u32) {
        if !self.workers.iter().any(|worker| worker.id == id) {
            let (window, listens) = (window.max(1) as usize, Vec::new());
            let worker = Worker {
                id,
                window,
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
            .any(|server| server.id == id && server.kernel)
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

    fn note_accepted(&mut self, id: ConnectionId, server: ServerId) -> Vec<Effect> {
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
            Some(server) if server.shared => refuse(RefusalReason::SharedServer),
            Some(server) if pending == 0 && self.someone_has_room(server.id) => Vec::new(),
            Some(server) if pending >= server.pending_max => refuse(RefusalReason::PendingFull),
            Some(_) => Vec::new(),
        };
        self.report.refused += refusal.len() as u64;
        if refusal.is_empty() {
            let (held_by, rejected_by) = (None, Vec::new());
            self.connections.push(Connection {
                id,
                server,
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
            let (shared, ring) = (policy == PolicyName::Shared, Vec::new());
            let kernel = policy == PolicyName::Kernel;
            self.servers.push(Server {
                id,
                shared,
                kernel,
                pending_max,
                accepting: false,
                ring,
            });
            self.report.per_server.entry(id).or_default();
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
        let mut open = self.servers.iter().filter(|server| !server.shared);
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
