//! What workers say, and what they are answered: one method per word of the protocol.

use std::io;
use std::time::Instant;

use maitred_core::dispatch::Input;
use maitred_core::id::{ServerId, WorkerId};
use maitred_core::supervise::Fact;
use maitred_protocol::message::{ServerOutcome, ServerQuery, UserMessage, Welcome};
use maitred_protocol::node::{Heard, Meaning};
use maitred_protocol::version::PROTOCOL_VERSION;
use maitred_protocol::{MasterToWorker, WorkerToMaster};
use nix::libc;

use super::dialect::{Frame, Incoming};
use super::master::Master;
use super::member::{Early, Member};
use super::outbox::Cargo;
use super::servers::Grant;
use super::worker_link::WorkerLink;
use crate::event::Event;
use crate::launch::Dialect;

/// What a program says that is ready, where that is awaited: the same word as for pm2.
const READY: &str = "\"ready\"";

impl Master {
    /// Takes in what came over a channel: a Node worker's words are translated first.
    pub(super) fn take_in(&mut self, now: Instant, worker: WorkerId, incoming: Incoming) {
        match incoming {
            Incoming::Native(message) => self.hear(now, worker, message),
            Incoming::Node(heard) => self.interpret(now, worker, heard),
        }
    }

    /// Does what a Node worker means by its words. What its own language asks for in answer
    /// goes first, then what it led to, and last what had waited for this very word.
    fn interpret(&mut self, now: Instant, worker: WorkerId, heard: Heard) {
        let Some(link) = self.link_of(worker) else {
            return;
        };
        let Meaning { messages, answers } = match link.interpret(heard) {
            Ok(meaning) => meaning,
            Err(error) => return self.expel(now, worker, &error),
        };
        for line in answers {
            self.post(now, worker, Frame::Node(line), Cargo::Nothing);
        }
        for message in messages {
            self.note_appetite(now, worker, &message);
            self.hear(now, worker, message);
        }
        self.flush(now, worker);
    }

    /// Hears one message. Messages of a worker that is unknown by now are dropped; of one
    /// that is being killed for a breach only answers count, for they say what it holds.
    pub(super) fn hear(&mut self, now: Instant, worker: WorkerId, message: WorkerToMaster) {
        let Some(member) = self.members.get(&worker) else {
            return;
        };
        let is_answer = matches!(
            message,
            WorkerToMaster::Ack { .. } | WorkerToMaster::Reject { .. }
        );
        if member.expelled && !is_answer {
            return;
        }
        match message {
            WorkerToMaster::Hello { .. } => self.greet(now, worker),
            WorkerToMaster::Online => self.came_online(now, worker),
            WorkerToMaster::QueryServer(query) => self.answer_query(now, worker, &query),
            WorkerToMaster::Listening { server } => self.listens(now, worker, server),
            WorkerToMaster::Close { server } => self.closed_by(now, worker, server),
            WorkerToMaster::Ack { handoff } => self.dispatch(now, Input::Acked { worker, handoff }),
            WorkerToMaster::Reject { handoff, .. } => {
                self.dispatch(now, Input::Rejected { worker, handoff });
            }
            WorkerToMaster::Ready => self.dispatch(now, Input::Ready(worker)),
            WorkerToMaster::ExitedAfterDisconnect => self.leaves(now, worker),
            WorkerToMaster::User(message) => self.user_message(now, worker, message),
            WorkerToMaster::Pong { .. } => self.supervise(now, Fact::Answered(worker)),
            WorkerToMaster::Statistics(statistics) => {
                member
                    .status
                    .send_modify(|status| status.statistics = statistics);
                let open = statistics.open;
                self.dispatch(now, Input::Reported { worker, open });
            }
        }
    }

    /// Answers hello. From here on the worker can be told things, the early ones first.
    fn greet(&mut self, now: Instant, worker: WorkerId) {
        let Some(dialect) = self.link_of(worker).map(|link| link.dialect()) else {
            return;
        };
        let window = self.window(dialect);
        let Some(member) = self.members.get_mut(&worker) else {
            return;
        };
        member.greeted = true;
        let (slot, generation) = (member.slot, member.generation);
        let early = std::mem::take(&mut member.early);
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            worker,
            slot,
            generation,
            window,
        };
        self.tell(now, worker, MasterToWorker::Welcome(welcome));
        self.dispatch(
            now,
            Input::Joined {
                worker,
                slot,
                window,
            },
        );
        self.weigh_newcomer(now, worker, slot);
        if self.is_leaving(worker) {
            // It was told to leave before it could be told anything: it may still come to
            // listen, but must not be handed anything.
            self.dispatch(now, Input::Draining(worker));
        }
        for early in early {
            match early {
                Early::Ours(message, cargo) => self.tell_with(now, worker, message, cargo),
                Early::User(text) => self.post_user(now, worker, text),
            }
        }
    }

    pub(super) fn came_online(&mut self, now: Instant, worker: WorkerId) {
        let pid = self.pid_of(worker);
        self.announce(Event::Online { worker, pid });
        self.supervise(now, Fact::Online(worker));
    }

    fn answer_query(&mut self, now: Instant, worker: WorkerId, query: &ServerQuery) {
        let is_leaving = self.is_leaving(worker);
        if is_leaving && self.link_of(worker).is_some_and(|link| link.ignore(query)) {
            return;
        }
        // In a shutdown nothing is opened, but a worker that has just started may serve what
        // waits in a backlog: perhaps nobody else is there to do it.
        let too_late = self.closing.is_some() && !self.servers.has(query);
        let granted = if too_late || is_leaving {
            Err(io::Error::from_raw_os_error(libc::ESHUTDOWN))
        } else {
            self.grant(now, worker, query)
        };
        let is_native = |link: &mut WorkerLink| link.dialect() == Dialect::Native;
        if let Ok(grant) = &granted
            && self.link_of(worker).is_some_and(is_native)
            && let Some(server) = self.servers.get_mut(grant.server)
        {
            server.send_at_once();
        }
        let described = granted.and_then(|grant| {
            if grant.new {
                self.server_opened(now, grant.server);
            }
            self.describe(worker, grant.server)
                // Without its socket the worker does not have it; it may ask again.
                .inspect_err(|_| self.closed_by(now, worker, grant.server))
        });
        let (outcome, cargo) =
            described.unwrap_or_else(|error| (self.listen_failed(worker, &error), Cargo::Nothing));
        let query = query.query;
        self.tell_with(
            now,
            worker,
            MasterToWorker::ServerReply { query, outcome },
            cargo,
        );
    }

    fn grant(&mut self, now: Instant, worker: WorkerId, query: &ServerQuery) -> io::Result<Grant> {
        let policy = self.policy();
        let inherited = &self.settings.inherited;
        match self.servers.grant(worker, query, policy, inherited) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && self.make_way(now, query) => {
                let inherited = &self.settings.inherited;
                self.servers.grant(worker, query, policy, inherited)
            }
            granted => granted,
        }
    }

    fn server_opened(&mut self, now: Instant, server: ServerId) {
        let Some(entry) = self.servers.get(server) else {
            return;
        };
        let (policy, address) = (entry.policy, entry.bound.to_string());
        let pending_max = self.pending_max();
        self.dispatch(
            now,
            Input::ServerOpened {
                server,
                policy,
                pending_max,
            },
        );
        self.announce(Event::ServerOpened { server, address });
    }

    fn listen_failed(&self, worker: WorkerId, error: &io::Error) -> ServerOutcome {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        self.announce(Event::ListenFailed {
            worker,
            pid: self.pid_of(worker),
            errno,
            reason: error.to_string(),
        });
        ServerOutcome::Refused { errno }
    }

    /// Says what a worker gets that asked for this server.
    fn describe(
        &mut self,
        worker: WorkerId,
        server: ServerId,
    ) -> io::Result<(ServerOutcome, Cargo)> {
        let slot = self.members.get(&worker).map(|member| member.slot);
        let found = slot.zip(self.servers.get_mut(server));
        let (slot, entry) = found.ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        let (bound, data) = (entry.bound.clone(), entry.data.clone());
        Ok(match entry.share(slot).transpose()? {
            None => (
                ServerOutcome::HandedOver {
                    server,
                    bound,
                    data,
                },
                Cargo::Nothing,
            ),
            Some(socket) => (
                ServerOutcome::Shared {
                    server,
                    bound,
                    data,
                },
                Cargo::Socket(socket),
            ),
        })
    }

    fn listens(&mut self, now: Instant, worker: WorkerId, server: ServerId) {
        if self.servers.get(server).is_none() && self.servers.is_known(server) {
            // Closed while its word was on the way: by the shutdown, or by a failure.
            return;
        }
        if !self.servers.holds(worker, server) {
            self.expel_for(
                now,
                worker,
                "it listens on a server that it was not granted",
            );
            return;
        }
        let address = self
            .servers
            .get(server)
            .map(|entry| entry.bound.to_string());
        let address = address.unwrap_or_default();
        let pid = self.pid_of(worker);
        // First the ring, then the word: who hears `listening` may connect at once.
        self.dispatch(now, Input::Listening { worker, server });
        self.announce(Event::Listening {
            worker,
            pid,
            address,
        });
        self.supervise(now, Fact::Listening { worker, server });
    }

    /// A worker closed its listener. The server goes with its last holder, unless that one is
    /// leaving, or may be: then a successor will want it, and clients wait in the backlog
    /// meanwhile.
    fn closed_by(&mut self, now: Instant, worker: WorkerId, server: ServerId) {
        self.dispatch(now, Input::Closed { worker, server });
        self.supervise(now, Fact::Closed { worker, server });
        let abandoned = self.servers.give_back(worker, server);
        if abandoned && !self.is_leaving(worker) && !self.linger(now, worker, server) {
            self.close_server(now, server);
        }
    }

    fn leaves(&mut self, now: Instant, worker: WorkerId) {
        self.supervise(now, Fact::LeavingVoluntarily(worker));
        self.dispatch(now, Input::Draining(worker));
        self.tell(now, worker, MasterToWorker::ExitedAfterDisconnectAck);
    }

    fn user_message(&mut self, now: Instant, worker: WorkerId, message: UserMessage) {
        let pid = self.pid_of(worker);
        let is_ready = message.json.trim_ascii() == READY;
        self.outlets.announcer.pass_on(worker, pid, message);
        if is_ready {
            self.supervise(now, Fact::SaidReady(worker));
        }
    }

    pub(super) fn pid_of(&self, worker: WorkerId) -> u32 {
        self.members.get(&worker).map_or(0, Member::pid_number)
    }
}
