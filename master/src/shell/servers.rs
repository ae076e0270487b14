//! The listeners: which exist, which worker has asked for which, and who is where.
//!
//! A listener belongs to the master and outlives any worker: while all workers are being
//! restarted, clients wait in the backlog and none is refused. It goes only when the last
//! worker has closed it of its own accord and lives on (`lingering.rs`), or the master ends.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::os::fd::RawFd;
use std::task::Context;
use std::time::Instant;

use maitred_core::dispatch::PolicyName;
use maitred_core::id::{ServerId, WorkerId};
use maitred_protocol::message::{ListenAddress, ServerQuery};
use rustix::io::Errno;

use super::group::Group;
use super::server::{Gate, Server, ServerKey};

/// Servers that one worker may have at a time. A program listens on a handful; one that asks
/// for more and more must not use up the master's descriptors.
pub(crate) const SERVERS_PER_WORKER: usize = 64;

/// Servers that may be open at a time, each with a descriptor of the master's: all that a
/// usual limit of 1,024 would allow, if there were nothing else.
const SERVERS_MAX: usize = 1024;

/// Longest opaque data of a server, in bytes: it must fit into a reply's frame, and is
/// kept as long as the server is. TLS ticket keys, for which it is meant, take 48.
const DATA_MAX: usize = 32 * 1024;

/// All servers of a master.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    open: BTreeMap<ServerId, Server>,
    made: u32,
}

/// What a query led to.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) server: ServerId,
    /// The server was made for this query.
    pub(crate) new: bool,
}

impl Servers {
    /// Finds or makes the server that a worker asks for, and notes that the worker has it.
    ///
    /// # Errors
    ///
    /// Those of binding, for the worker; `EADDRINUSE` also when it has that server already,
    /// `EMFILE` and `ENFILE` when it, or all together, have too many.
    pub(crate) fn grant(
        &mut self,
        worker: WorkerId,
        query: &ServerQuery,
        policy: PolicyName,
        inherited: &[RawFd],
    ) -> io::Result<Grant> {
        self.check(worker, query)?;
        let (server, new) = match self.find(&ServerKey::of(query)) {
            Some(server) => (server, false),
            None if self.open.len() >= SERVERS_MAX => return Err(Errno::NFILE.into()),
            None => (self.enter(Server::open(query, policy, inherited)?), true),
        };
        let entry = self
            .open
            .get_mut(&server)
            .expect("a server that was found or entered is open");
        if !entry.holders.insert(worker) {
            return Err(Errno::ADDRINUSE.into());
        }
        entry.expects_successor = false;
        entry.linger = None;
        if entry.data.is_none() {
            entry.data.clone_from(&query.data);
        }
        Ok(Grant { server, new })
    }

    /// Returns whether the server that a worker asks for is there already.
    pub(crate) fn has(&self, query: &ServerQuery) -> bool {
        self.find(&ServerKey::of(query)).is_some()
    }

    /// Refuses what no worker may ask for.
    fn check(&self, worker: WorkerId, query: &ServerQuery) -> io::Result<()> {
        let held = self.open.values();
        let held = held.filter(|server| server.holders.contains(&worker));
        if held.count() >= SERVERS_PER_WORKER {
            return Err(Errno::MFILE.into());
        }
        if query
            .data
            .as_ref()
            .is_some_and(|data| data.len() > DATA_MAX)
        {
            return Err(Errno::MSGSIZE.into());
        }
        // The library makes paths absolute. A relative one would mean the master's directory.
        let is_relative =
            matches!(&query.address, ListenAddress::Unix(path) if !path.is_absolute());
        if is_relative {
            return Err(Errno::INVAL.into());
        }
        Ok(())
    }

    fn find(&self, key: &ServerKey) -> Option<ServerId> {
        let mut open = self.open.iter();
        open.find(|(_, server)| server.answers_to(key))
            .map(|(id, _)| *id)
    }

    fn enter(&mut self, server: Server) -> ServerId {
        self.made += 1;
        let id = ServerId(self.made);
        self.open.insert(id, server);
        id
    }

    pub(crate) fn get(&self, server: ServerId) -> Option<&Server> {
        self.open.get(&server)
    }

    pub(crate) fn get_mut(&mut self, server: ServerId) -> Option<&mut Server> {
        self.open.get_mut(&server)
    }

    pub(crate) fn ids(&self) -> Vec<ServerId> {
        self.open.keys().copied().collect()
    }

    /// Notes how connections are spread from now on where the master accepts, and returns those
    /// servers.
    pub(crate) fn respread(&mut self, policy: PolicyName) -> Vec<ServerId> {
        let watched = self.watched();
        for server in &watched {
            if let Some(entry) = self.open.get_mut(server) {
                entry.policy = policy;
            }
        }
        watched
    }

    /// Returns the servers on which the master accepts.
    pub(crate) fn watched(&self) -> Vec<ServerId> {
        let watched = self.open.iter();
        let watched = watched.filter(|(_, server)| server.is_accepted_from());
        watched.map(|(id, _)| *id).collect()
    }

    /// Returns the listeners of every server whose policy is `kernel`.
    pub(super) fn groups(&mut self) -> impl Iterator<Item = &mut Group> {
        self.open.values_mut().filter_map(Server::group_mut)
    }

    /// Returns those of one server, if that is its policy.
    pub(super) fn group(&mut self, server: ServerId) -> Option<&mut Group> {
        self.open.get_mut(&server)?.group_mut()
    }

    /// Returns the servers that nobody holds and that stay for a while.
    pub(super) fn lingering(&self) -> impl Iterator<Item = (ServerId, &Server)> {
        let open = self.open.iter().map(|(id, server)| (*id, server));
        open.filter(|(_, server)| server.linger.is_some())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ServerId, &mut Server)> {
        self.open.iter_mut().map(|(id, server)| (*id, server))
    }

    pub(crate) fn count(&self) -> usize {
        self.open.len()
    }

    /// Returns whether this worker was granted this server and has not given it back.
    pub(crate) fn holds(&self, worker: WorkerId, server: ServerId) -> bool {
        self.open
            .get(&server)
            .is_some_and(|entry| entry.holders.contains(&worker))
    }

    /// Notes that a worker has closed a server. Returns whether nobody has it any more.
    pub(crate) fn give_back(&mut self, worker: WorkerId, server: ServerId) -> bool {
        self.open
            .get_mut(&server)
            .is_some_and(|entry| entry.holders.remove(&worker) && entry.holders.is_empty())
    }

    /// Notes that a worker is gone; its servers stay.
    pub(crate) fn forget(&mut self, worker: WorkerId, left_by_intent: bool) {
        for server in self.open.values_mut() {
            server.expects_successor |= server.holders.remove(&worker) && !left_by_intent;
        }
    }

    /// Returns the servers whose holders have all left by intent.
    pub(crate) fn left_behind(&self) -> Vec<ServerId> {
        let is_left = |server: &Server| server.holders.is_empty() && !server.expects_successor;
        let left = self.open.iter().filter(|(_, server)| is_left(server));
        left.map(|(id, _)| *id).collect()
    }

    /// Returns whether there ever was a server of that name.
    pub(crate) fn is_known(&self, server: ServerId) -> bool {
        (1..=self.made).contains(&server.0)
    }

    /// Lets servers accept again whose rest is over.
    pub(crate) fn end_rests(&mut self, now: Instant) {
        for server in self.open.values_mut() {
            if matches!(server.gate, Gate::Resting(until) if until <= now) {
                server.gate = Gate::Open;
            }
        }
    }

    /// Closes a listener. What its backlog holds is reset by the kernel.
    pub(crate) fn close(&mut self, server: ServerId) -> bool {
        let mut closed = self.open.remove(&server);
        if let Some(server) = &mut closed {
            if let Some(group) = server.group_mut() {
                // Workers may have copies of its listeners for a while.
                group.shut();
            }
            server.key.clean_up();
        }
        closed.is_some()
    }

    /// Returns whether on some server a connection may be waiting and is wanted; if not, the
    /// task is woken when that changes.
    pub(crate) fn any_acceptable(&self, context: &mut Context<'_>) -> bool {
        // Each must be asked, or a later one would not wake the task.
        self.open
            .values()
            .fold(false, |any, server| server.poll_acceptable(context) | any)
    }

    /// Returns the first open server behind `last`, in a circle.
    pub(crate) fn after(&self, last: ServerId) -> Option<ServerId> {
        let is_open = |(_, server): &(&ServerId, &Server)| server.gate == Gate::Open;
        let behind = self
            .open
            .range((Bound::Excluded(last), Bound::Unbounded))
            .find(is_open);
        behind
            .or_else(|| self.open.iter().find(is_open))
            .map(|(id, _)| *id)
    }

    /// Returns when the next server that rests is to be tried again.
    pub(crate) fn rest_ends(&self) -> Option<Instant> {
        self.open
            .values()
            .filter_map(|server| server.gate.rest_ends())
            .min()
    }
}
