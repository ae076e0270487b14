//! One listener: its key, its socket, who holds it, and whether the master accepts on it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::task::Context;
use std::time::{Duration, Instant};

use maitred_core::dispatch::PolicyName;
use maitred_core::id::{SlotId, WorkerId};
use maitred_protocol::binding;
use maitred_protocol::fd;
use maitred_protocol::message::{BoundAddress, ListenAddress, ServerQuery};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::acceptor;
use super::group::Group;
use super::lingering::Linger;

/// How often it is told at most that accepting fails on a server: for a human to read, while a
/// shortage that lasts would fill a log with as many lines as there are rests.
const PAUSE_TOLD_EVERY: Duration = Duration::from_secs(1);

/// What tells one server from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerKey {
    pub(super) address: ListenAddress,
    /// Tells several listens on port 0 apart; without meaning for fixed ports.
    pub(super) index: u32,
}

/// One listener.
#[derive(Debug)]
pub(crate) struct Server {
    pub(super) key: ServerKey,
    pub(crate) bound: BoundAddress,
    pub(crate) policy: PolicyName,
    pub(super) listener: Listener,
    /// Who has been granted it and has not closed it since.
    pub(super) holders: BTreeSet<WorkerId>,
    /// A holder died without having left: its successor, whoever starts it, is expected to
    /// want this server, and clients wait for that one in the backlog.
    pub(super) expects_successor: bool,
    /// Its last holder has closed it, and may be about to end.
    pub(super) linger: Option<Linger>,
    /// What the first worker wanted all others to know.
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) gate: Gate,
    /// When it was last told that accepting failed here.
    pause_told: Option<Instant>,
}

/// A listening socket, in the runtime or out of it.
#[derive(Debug)]
pub(crate) enum Listener {
    /// The master accepts from it.
    Watched(AsyncFd<OwnedFd>),
    /// The workers have it: UDP, or policy `shared`. The master keeps it alive.
    Kept(OwnedFd),
    /// Policy `kernel`: each slot has one, and the master accepts what is left over.
    Group(Box<Group>),
}

/// Whether the master accepts on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// No worker has room: clients wait in the backlog.
    Paused,
    /// Connections are accepted as they come.
    Open,
    /// Accepting failed; until then it is not tried.
    Resting(Instant),
    /// The backlog was served for the last time: nothing is accepted any more.
    Shut,
}

impl Server {
    /// Binds what a worker asks for. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of binding and of epoll_ctl(2), and why the kernel does not spread connections;
    /// nothing is left of the socket then.
    pub(super) fn open(
        query: &ServerQuery,
        policy: PolicyName,
        inherited: &[RawFd],
    ) -> io::Result<Self> {
        let key = ServerKey::of(query);
        let policy = effective_policy(&key.address, policy);
        let (listener, bound) = if policy == PolicyName::Kernel {
            let (group, bound) = Group::open(&query.address, query.options)?;
            (Listener::Group(Box::new(group)), bound)
        } else {
            let bound = binding::open(&query.address, query.options, inherited)?;
            let listener = if policy.accepts_in_master() {
                let watched = fd::watch(bound.socket, Interest::READABLE);
                Listener::Watched(watched.inspect_err(|_| key.clean_up())?)
            } else {
                Listener::Kept(bound.socket)
            };
            (listener, bound.address)
        };
        Ok(Self {
            key,
            bound,
            policy,
            listener,
            holders: BTreeSet::new(),
            expects_successor: false,
            linger: None,
            data: None,
            gate: Gate::Paused,
            pause_told: None,
        })
    }

    /// Lets it rest after an accept that failed; returns whether that is to be told.
    pub(super) fn rest(&mut self, now: Instant) -> bool {
        self.gate = Gate::Resting(now + acceptor::REST);
        let is_news = |told: Instant| now.duration_since(told) >= PAUSE_TOLD_EVERY;
        let tells = self.pause_told.is_none_or(is_news);
        if tells {
            self.pause_told = Some(now);
        }
        tells
    }

    /// Returns whether this is the server that a key asks for. A port that some worker got
    /// by asking for port 0 can be asked for by its number.
    pub(super) fn answers_to(&self, key: &ServerKey) -> bool {
        self.key == *key || key.names(&self.key, &self.bound)
    }

    /// Has its connections send small pieces at once, as Rust workers count on. Node's own
    /// programs say for themselves what they want.
    pub(crate) fn send_at_once(&mut self) {
        match &mut self.listener {
            Listener::Watched(socket) => binding::send_at_once(socket.get_ref()),
            Listener::Kept(socket) => binding::send_at_once(socket),
            Listener::Group(group) => group.send_at_once(),
        }
    }

    /// Returns the port on which it listens, if there is one.
    pub(super) fn bound_port(&self) -> Option<u16> {
        match &self.bound {
            BoundAddress::Ip(address) => Some(address.port()),
            BoundAddress::Unix(_) => None,
        }
    }

    /// Returns a copy of the listening socket for the worker in a slot, if workers get it.
    pub(crate) fn share(&mut self, slot: SlotId) -> Option<io::Result<OwnedFd>> {
        match &mut self.listener {
            Listener::Watched(_) => None,
            Listener::Kept(socket) => Some(socket.try_clone()),
            Listener::Group(group) => Some(group.share(slot)),
        }
    }

    /// Returns whether the master accepts here, if only what is left over.
    pub(super) fn is_accepted_from(&self) -> bool {
        match &self.listener {
            Listener::Watched(_) | Listener::Group(_) => true,
            Listener::Kept(_) => false,
        }
    }

    /// Returns the listeners of policy `kernel`.
    pub(super) fn group_mut(&mut self) -> Option<&mut Group> {
        match &mut self.listener {
            Listener::Group(group) => Some(group),
            Listener::Watched(_) | Listener::Kept(_) => None,
        }
    }

    /// Accepts one connection if one is there.
    ///
    /// Usually it believes the runtime, which may not have noticed the newest connection yet.
    /// On the last call, after which the listener is closed, it asks the kernel.
    pub(crate) fn accept(&mut self, is_last_call: bool) -> io::Result<acceptor::Guest> {
        match &mut self.listener {
            Listener::Watched(socket) => accept_from(socket, is_last_call),
            Listener::Group(group) => group.accept(is_last_call),
            Listener::Kept(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Returns whether a connection may be there and is wanted; else the task is woken
    /// when the first of that changes.
    pub(super) fn poll_acceptable(&self, context: &mut Context<'_>) -> bool {
        if self.gate != Gate::Open {
            return false;
        }
        match &self.listener {
            Listener::Watched(socket) => socket.poll_read_ready(context).is_ready(),
            Listener::Group(group) => group.poll_acceptable(context),
            Listener::Kept(_) => false,
        }
    }
}

/// Accepts one connection from a listener that the runtime watches; without believing that
/// nothing is there if this is the last call.
pub(super) fn accept_from(
    socket: &AsyncFd<OwnedFd>,
    is_last_call: bool,
) -> io::Result<acceptor::Guest> {
    if is_last_call {
        return acceptor::accept(socket.get_ref());
    }
    // The readiness stays until accept itself says `WouldBlock`: the kernel tells of new
    // connections once, and a pause may lie between its word and our question.
    socket.try_io(Interest::READABLE, acceptor::accept)
}

impl ServerKey {
    /// Returns the key of what a worker asks for.
    pub(super) fn of(query: &ServerQuery) -> Self {
        let chosen_by_kernel = match &query.address {
            ListenAddress::Tcp(address) | ListenAddress::Udp(address) => address.port() == 0,
            ListenAddress::TcpAny { port } => *port == 0,
            ListenAddress::Unix(_) | ListenAddress::Inherited { .. } => false,
        };
        Self {
            address: query.address.clone(),
            index: if chosen_by_kernel { query.index } else { 0 },
        }
    }

    /// Returns whether this names the address that another listen on port 0 got.
    fn names(&self, other: &Self, bound: &BoundAddress) -> bool {
        let BoundAddress::Ip(bound) = bound else {
            return false;
        };
        match (&self.address, &other.address) {
            (ListenAddress::Tcp(wanted), ListenAddress::Tcp(_))
            | (ListenAddress::Udp(wanted), ListenAddress::Udp(_)) => wanted == bound,
            (ListenAddress::TcpAny { port }, ListenAddress::TcpAny { .. }) => *port == bound.port(),
            _ => false,
        }
    }

    /// Returns the port that it names, if it names one.
    pub(super) fn port(&self) -> Option<u16> {
        match &self.address {
            ListenAddress::Tcp(address) | ListenAddress::Udp(address) => Some(address.port()),
            ListenAddress::TcpAny { port } => Some(*port),
            ListenAddress::Unix(_) | ListenAddress::Inherited { .. } => None,
        }
    }

    /// Removes what our bind left in the file system. An inherited socket's path is not ours.
    pub(super) fn clean_up(&self) {
        if let ListenAddress::Unix(path) = &self.address {
            binding::clean_up(&BoundAddress::Unix(path.clone()));
        }
    }
}

impl Gate {
    pub(super) fn rest_ends(self) -> Option<Instant> {
        match self {
            Self::Resting(until) => Some(until),
            Self::Paused | Self::Open | Self::Shut => None,
        }
    }
}

/// UDP has no connections to hand over, so its socket is always shared. The kernel can spread
/// only what comes to several listeners of one TCP address, which we have to bind ourselves.
fn effective_policy(address: &ListenAddress, policy: PolicyName) -> PolicyName {
    match address {
        ListenAddress::Udp(_) => PolicyName::Shared,
        ListenAddress::Unix(_) | ListenAddress::Inherited { .. }
            if policy == PolicyName::Kernel =>
        {
            PolicyName::Rr
        }
        ListenAddress::Tcp(_)
        | ListenAddress::TcpAny { .. }
        | ListenAddress::Unix(_)
        | ListenAddress::Inherited { .. } => policy,
    }
}
