//! The listeners of one address under policy `kernel`: one a slot, and a lobby.
//!
//! The kernel puts each new connection into the queue of the listener whose turn it is; the
//! worker in that slot has a copy of it and accepts. Listeners belong to the master, so what
//! waits in a queue outlives the worker.
//!
//! **Invariant:** from every listener somebody accepts. While a slot takes turns, that is its
//! worker; otherwise the master, which hands over what it finds as under `rr`. What begins
//! its handshake before a listener leaves the rotation may still end up there after it.
//!
//! The lobby is the master's own. It has the turn while nobody else is in the rotation, so
//! that clients wait, as under `rr`, instead of being refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::Context;
use std::time::Instant;

use maitred_core::id::{SlotId, WorkerId};
use maitred_protocol::binding;
use maitred_protocol::fd;
use maitred_protocol::message::{BoundAddress, ListenAddress, ListenOptions};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::acceptor::{AcceptFailure, Guest, classify};
use super::server::accept_from;
use crate::kernel::{LOBBY, NUMBER_MAX, Rotation};

/// All listeners of one address.
#[derive(Debug)]
pub(crate) struct Group {
    rotation: Rotation,
    address: SocketAddr,
    options: ListenOptions,
    lobby: AsyncFd<OwnedFd>,
    places: BTreeMap<SlotId, Place>,
    /// Nobody is let in any more.
    is_shut: bool,
    sends_at_once: bool,
}

/// One slot's listener, from its first worker's wish until nobody will come to this slot.
#[derive(Debug)]
struct Place {
    number: u32,
    listener: Listener,
    /// The workers that accept from it: one, or in a reload for a moment two.
    takers: BTreeSet<WorkerId>,
    /// Nobody will come to this slot: the listener goes once its queue is empty.
    is_deserted: bool,
    /// Since when every look has found something in its queue.
    waits_since: Option<Instant>,
}

/// Who accepts from a listener.
#[derive(Debug)]
enum Listener {
    /// Workers. The runtime does not watch it, or it would wake the master for each client.
    Taken(OwnedFd),
    /// The master, whatever comes there.
    Left(AsyncFd<OwnedFd>),
}

impl Group {
    /// Binds an address. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of binding, and why the kernel does not spread connections.
    pub(super) fn open(
        address: &ListenAddress,
        options: ListenOptions,
    ) -> io::Result<(Self, BoundAddress)> {
        let mut rotation = Rotation::new().map_err(io::Error::other)?;
        rotation.list(&[LOBBY])?;
        let bound = binding::open_first(address, options, &|socket| rotation.govern(socket))?;
        let BoundAddress::Ip(ip) = bound.address else {
            return Err(Errno::OPNOTSUPP.into());
        };
        rotation.number(LOBBY, &bound.socket)?;
        let group = Self {
            rotation,
            address: ip,
            options,
            lobby: fd::watch(bound.socket, Interest::READABLE)?,
            places: BTreeMap::new(),
            is_shut: false,
            sends_at_once: false,
        };
        Ok((group, bound.address))
    }

    /// Returns a copy of a slot's listener, for its worker. It is the same for each that comes.
    ///
    /// # Errors
    ///
    /// Those of binding and of dup(2); `EMFILE` when there are as many as can be.
    pub(super) fn share(&mut self, slot: SlotId) -> io::Result<OwnedFd> {
        let place = match self.places.remove(&slot) {
            Some(place) => place,
            None => self.new_place()?,
        };
        let place = self.places.entry(slot).or_insert(place);
        place.is_deserted = false;
        match &place.listener {
            Listener::Taken(socket) => socket.try_clone(),
            Listener::Left(socket) => socket.get_ref().try_clone(),
        }
    }

    /// Has all connections send small pieces at once.
    pub(super) fn send_at_once(&mut self) {
        self.sends_at_once = true;
        binding::send_at_once(self.lobby.get_ref());
        for place in self.places.values() {
            match &place.listener {
                Listener::Taken(socket) => binding::send_at_once(socket),
                Listener::Left(socket) => binding::send_at_once(socket.get_ref()),
            }
        }
    }

    fn new_place(&self) -> io::Result<Place> {
        let is_free = |number: &u32| self.places.values().all(|place| place.number != *number);
        let number = (LOBBY + 1..=NUMBER_MAX).find(is_free).ok_or(Errno::MFILE)?;
        let socket = binding::open_beside(self.address, self.options)?;
        self.rotation.number(number, &socket)?;
        if self.sends_at_once {
            binding::send_at_once(&socket);
        }
        Ok(Place {
            number,
            listener: Listener::Left(fd::watch(socket, Interest::READABLE)?),
            takers: BTreeSet::new(),
            is_deserted: false,
            waits_since: None,
        })
    }

    /// A worker accepts from its slot's listener: so the slot takes turns.
    pub(super) fn join(&mut self, slot: SlotId, worker: WorkerId) {
        let Some(place) = self.places.get_mut(&slot) else {
            return;
        };
        place.takers.insert(worker);
        if self.publish().is_ok()
            && !self.is_shut
            && let Some(place) = self.places.remove(&slot)
        {
            self.places.insert(slot, place.taken());
        }
    }

    /// A worker accepts no more. If it was the last of its slot, that takes no more turns, and
    /// the master accepts what is there.
    pub(super) fn leave(&mut self, worker: WorkerId) {
        let is_its = |(_, place): &(&SlotId, &mut Place)| place.takers.contains(&worker);
        let Some((&slot, place)) = self.places.iter_mut().find(is_its) else {
            return;
        };
        place.takers.remove(&worker);
        // If that fails, which takes a kernel without memory, the next change makes up for it,
        // and meanwhile what the kernel puts there is accepted here.
        self.publish().unwrap_or_default();
        self.take_over(slot);
    }

    /// Watches a listener from which no worker accepts.
    fn take_over(&mut self, slot: SlotId) {
        let is_left = |place: &Place| place.takers.is_empty() || self.is_shut;
        if self.places.get(&slot).is_some_and(is_left)
            && let Some(place) = self.places.remove(&slot)
            && let Ok(place) = place.left()
        {
            self.places.insert(slot, place);
        }
        // Otherwise the kernel had no memory to watch it. It is closed, which moves its queue to
        // the others, and who comes to this slot gets a new one.
    }

    /// Tells the kernel who takes turns.
    fn publish(&mut self) -> io::Result<()> {
        let takes_turns = |place: &&Place| !place.takers.is_empty();
        let members = self.places.values().filter(takes_turns);
        let mut members: Vec<u32> = members.map(|place| place.number).collect();
        if members.is_empty() {
            members.push(LOBBY);
        }
        if self.is_shut {
            members.clear();
        }
        self.rotation.list(&members)
    }

    /// Lets nobody in any more; what is in the queues the master accepts, wherever it lies.
    pub(super) fn shut(&mut self) {
        self.is_shut = true;
        self.publish().unwrap_or_default(); // As in `leave`.
        let slots: Vec<SlotId> = self.places.keys().copied().collect();
        for slot in slots {
            self.take_over(slot);
        }
    }

    /// Closes the listeners to which nobody will come back, once their queues are empty.
    pub(super) fn clear(&mut self, is_there: impl Fn(SlotId) -> bool) {
        self.places.retain(|slot, place| {
            place.is_deserted = !is_there(*slot) && place.takers.is_empty();
            !place.is_deserted || place.waits()
        });
    }

    /// Accepts one connection that is left over.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if none is; else those of accept4(2).
    pub(super) fn accept(&mut self, is_last_call: bool) -> io::Result<Guest> {
        let mut found = accept_from(&self.lobby, is_last_call);
        let is_empty = |found: &io::Result<Guest>| {
            let failure = found.as_ref().err().map(classify);
            failure == Some(AcceptFailure::Empty)
        };
        self.places.retain(|_, place| {
            let Listener::Left(socket) = &place.listener else {
                return true;
            };
            if !is_empty(&found) {
                return true;
            }
            match accept_from(socket, is_last_call) {
                // A worker has shut it down. The next one gets another.
                Err(error) if classify(&error) == AcceptFailure::Fatal => return false,
                accepted => found = accepted,
            }
            !place.is_deserted || place.waits()
        });
        found
    }

    /// Returns whether a connection may be left over; else the task is woken when one is.
    pub(super) fn poll_acceptable(&self, context: &mut Context<'_>) -> bool {
        let left = self
            .places
            .values()
            .filter_map(|place| match &place.listener {
                Listener::Left(socket) => Some(socket),
                Listener::Taken(_) => None,
            });
        // Each must be asked, or a later one would not wake the task.
        left.chain([&self.lobby]).fold(false, |any, socket| {
            socket.poll_read_ready(context).is_ready() | any
        })
    }

    /// Looks into the queues from which workers accept; returns who has left something there,
    /// look after look, and since when.
    pub(super) fn look(&mut self, now: Instant) -> Vec<(WorkerId, Instant)> {
        let mut owing = Vec::new();
        for place in self.places.values_mut() {
            let since = place.waits().then(|| *place.waits_since.get_or_insert(now));
            place.waits_since = since;
            owing.extend(since.into_iter().flat_map(|since| {
                let takers = place.takers.iter();
                takers.map(move |worker| (*worker, since))
            }));
        }
        owing
    }
}

impl Place {
    /// Leaves the listener to workers.
    fn taken(self) -> Self {
        let listener = match self.listener {
            Listener::Left(socket) => Listener::Taken(socket.into_inner()),
            taken @ Listener::Taken(_) => taken,
        };
        Self { listener, ..self }
    }

    /// Has the runtime watch the listener.
    fn left(self) -> io::Result<Self> {
        let listener = match self.listener {
            Listener::Taken(socket) => Listener::Left(fd::watch(socket, Interest::READABLE)?),
            left @ Listener::Left(_) => left,
        };
        Ok(Self { listener, ..self })
    }

    /// Returns whether something is in its queue, as the kernel sees it.
    fn waits(&self) -> bool {
        let socket = match &self.listener {
            Listener::Taken(socket) => socket,
            Listener::Left(socket) => socket.get_ref(),
        };
        let mut asked = [PollFd::new(socket, PollFlags::IN)];
        let at_once = Timespec::default();
        poll(&mut asked, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use rustix::net::{Shutdown, shutdown};

    use super::*;
    use crate::kernel::try_kernel_policy;
    use crate::shell::acceptor;

    /// Returns a group with a worker in each of two slots; `None` where it cannot be had, which
    /// the tests of the program tell.
    fn group() -> Option<(Group, [OwnedFd; 2])> {
        try_kernel_policy().ok()?;
        let here = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let (mut group, _) = Group::open(&here, ListenOptions::default()).unwrap();
        let copies = [0, 1].map(|slot| {
            let copy = group.share(SlotId(slot)).unwrap();
            group.join(SlotId(slot), WorkerId(slot));
            copy
        });
        Some((group, copies))
    }

    fn connect(group: &Group, times: usize) -> Vec<TcpStream> {
        let connect = |_| TcpStream::connect(group.address).unwrap();
        (0..times).map(connect).collect()
    }

    fn left_over(group: &mut Group) -> usize {
        std::iter::from_fn(|| group.accept(true).ok()).count()
    }

    #[tokio::test]
    async fn the_master_accepts_what_is_left_over_and_nothing_else() {
        let Some((mut group, copies)) = group() else {
            return;
        };
        let _clients = connect(&group, 6);
        assert_eq!(left_over(&mut group), 0);
        group.leave(WorkerId(0));
        assert_eq!(left_over(&mut group), 3);
        let _more = connect(&group, 2);
        assert_eq!(left_over(&mut group), 0);
        group.leave(WorkerId(1));
        // Those of its queue, and who comes while nobody is there.
        let _last = connect(&group, 2);
        assert_eq!(left_over(&mut group), 5 + 2);
        drop(copies);
    }

    #[tokio::test]
    async fn who_comes_to_a_slot_gets_its_listener_with_what_waits_there() {
        let Some((mut group, copies)) = group() else {
            return;
        };
        let _clients = connect(&group, 4);
        group.leave(WorkerId(0));
        drop(copies);
        let copy = group.share(SlotId(0)).unwrap();
        group.join(SlotId(0), WorkerId(2));
        assert_eq!(left_over(&mut group), 0);
        let mine = std::iter::from_fn(|| acceptor::accept(&copy).ok()).count();
        assert_eq!(mine, 2);
    }

    #[tokio::test]
    async fn two_workers_in_one_slot_have_one_turn() {
        let Some((mut group, copies)) = group() else {
            return;
        };
        group.join(SlotId(0), WorkerId(2));
        let _clients = connect(&group, 4);
        group.leave(WorkerId(0));
        let _more = connect(&group, 4);
        assert_eq!(left_over(&mut group), 0);
        let queued = |copy: &OwnedFd| std::iter::from_fn(|| acceptor::accept(copy).ok()).count();
        assert_eq!(copies.each_ref().map(queued), [4, 4]);
    }

    #[tokio::test]
    async fn a_worker_that_breaks_its_listener_harms_only_that() {
        let Some((mut group, copies)) = group() else {
            return;
        };
        shutdown(&copies[0], Shutdown::Read).unwrap();
        // Its turns go to the lobby.
        let _clients = connect(&group, 4);
        assert_eq!(left_over(&mut group), 2);
        group.leave(WorkerId(0));
        assert_eq!(left_over(&mut group), 0);
        // The next one gets one that works.
        let copy = group.share(SlotId(0)).unwrap();
        group.join(SlotId(0), WorkerId(2));
        let _more = connect(&group, 4);
        let queued = |copy: &OwnedFd| std::iter::from_fn(|| acceptor::accept(copy).ok()).count();
        assert_eq!([queued(&copy), queued(&copies[1])], [2, 4]);
    }

    #[tokio::test]
    async fn a_slot_that_is_gone_loses_its_listener_once_that_is_empty() {
        let Some((mut group, copies)) = group() else {
            return;
        };
        let _clients = connect(&group, 2);
        group.leave(WorkerId(0));
        drop(copies);
        group.clear(|slot| slot == SlotId(1));
        assert_eq!(group.places.len(), 2, "something waits in its queue");
        assert_eq!(left_over(&mut group), 1);
        assert_eq!(group.places.len(), 1);
        // Where nothing waits, it goes at once.
        group.leave(WorkerId(1));
        assert_eq!(left_over(&mut group), 1);
        group.clear(|_| false);
        assert!(group.places.is_empty());
    }

    #[tokio::test]
    async fn once_shut_nobody_is_let_in_and_every_queue_is_served() {
        let Some((mut group, copies)) = group() else {
            return;
        };
        let _clients = connect(&group, 4);
        group.shut();
        TcpStream::connect(group.address).unwrap_err();
        assert_eq!(left_over(&mut group), 4);
        drop(copies);
    }
}
