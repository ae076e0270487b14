//! `sticky`: the connections of one client address go to one worker.
//!
//! For programs that keep a session in a worker's memory, such as long polling. Each address
//! and each slot are hashed together, and the client's worker is the one whose hash is the
//! highest (*rendezvous hashing*). No table of clients is kept, and a worker that comes takes
//! over only the clients for which its own hash is the highest: its share, from all others
//! alike. One that goes leaves each of its clients to the next in that client's own order.
//!
//! **By the slot and not by the worker's number.** With the number, a worker that dies and is
//! replaced would cost not only its own clients their place: its successor, a new number, would
//! draw its share from everybody. With the slot the successor gets just the clients of the one
//! before. They were elsewhere while the slot was empty; and in a reload, where the new worker
//! comes first, they never are: they move once. While both are there the older has them.
//!
//! **A full worker does not stop the others.** A client waits for its worker, which most likely
//! has room again in a moment; but for each worker at most so many as may wait for a server. Who
//! comes then goes to the next in its order. One that rests after a reject is passed over at
//! once: it has said that it cannot.
//!
//! Clients of a Unix socket have no address. They go round, among those that have room.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use super::super::pending::{HeldConnection, Pending};
use super::members::Members;
use super::{Policy, Seat, Staff};
use crate::id::{SlotId, WorkerId};

#[derive(Debug)]
struct Member {
    slot: SlotId,
    has_room: bool,
    /// How many connections of the queue wait for this one alone.
    waiting: usize,
}

/// The rotation, and who is waited for.
///
/// Between two inputs, while somebody has room, each connection of the queue waits for a certain
/// other worker, which has none. While nobody has, it does not matter who waits for whom.
#[derive(Debug, Default)]
pub(super) struct Sticky {
    members: Members<Member>,
    /// The sum of all `waiting`.
    waiting: usize,
    /// Who gets the connection that was just found.
    found: Option<WorkerId>,
    /// Who last got a connection without an address.
    last_without: Option<WorkerId>,
}

impl Sticky {
    fn set_room(&mut self, worker: WorkerId, has_room: bool) {
        if let Some(member) = self.members.get_mut(worker) {
            member.has_room = has_room;
        }
    }

    /// Tells without a walk along the queue that nothing in it can move.
    fn is_settled(&self, pending: &Pending) -> bool {
        let is_awaited = |(_, member): (_, &Member)| member.has_room && member.waiting > 0;
        self.waiting == pending.len() && !self.members.iter().any(is_awaited)
    }

    /// Returns the worker to which a connection can go now, or notes for whom it waits.
    fn place(&mut self, connection: &mut HeldConnection, waiting_max: usize) -> Option<WorkerId> {
        if let Some(worker) = connection.waits_for {
            let has_room = |member: &Member| member.has_room;
            return self
                .members
                .get(worker)
                .is_some_and(has_room)
                .then_some(worker);
        }
        let Some(client) = connection.client.map(client_key) else {
            return self.next_without();
        };
        let takes = |member: &Member| member.has_room || member.waiting < waiting_max;
        let takers = self.members.iter().filter(|(_, member)| takes(member));
        let (home, member) =
            takers.max_by_key(|(worker, member)| (rank(client, member.slot), Reverse(*worker)))?;
        if member.has_room {
            return Some(home);
        }
        connection.waits_for = Some(home);
        self.members.get_mut(home)?.waiting += 1;
        self.waiting += 1;
        None
    }

    /// Returns the next worker with room in a circle by number.
    fn next_without(&self) -> Option<WorkerId> {
        let with_room = || {
            let members = self.members.iter().filter(|(_, member)| member.has_room);
            members.map(|(worker, _)| worker)
        };
        let mut behind = with_room().filter(|worker| Some(*worker) > self.last_without);
        behind.next().or_else(|| with_room().next())
    }
}

impl Policy for Sticky {
    fn waits_for_one(&self) -> bool {
        true
    }

    fn joined(&mut self, seat: Seat) {
        let member = Member {
            slot: seat.slot,
            has_room: false,
            waiting: 0,
        };
        self.members.insert(seat.worker, member);
    }

    fn entered(&mut self, worker: WorkerId) {
        self.set_room(worker, true);
    }

    fn filled(&mut self, worker: WorkerId) {
        self.set_room(worker, false);
    }

    fn left(&mut self, worker: WorkerId) {
        if let Some(member) = self.members.remove(worker) {
            self.waiting -= member.waiting;
        }
    }

    /// Walks the queue from the oldest on: each goes to, or waits for, the first worker in its
    /// order that has room, or for which fewer wait than may.
    fn seek(&mut self, pending: &mut Pending) -> Option<usize> {
        self.found = None;
        if self.is_settled(pending) {
            return None;
        }
        let waiting_max = pending.max();
        for (place, connection) in pending.iter_mut().enumerate() {
            self.found = self.place(connection, waiting_max);
            if self.found.is_some() {
                return Some(place);
            }
        }
        None
    }

    fn pick(&mut self, connection: &HeldConnection, _staff: &dyn Staff) -> Option<WorkerId> {
        let worker = self.found.take()?;
        if connection.client.is_none() {
            self.last_without = Some(worker);
        }
        if connection.waits_for.is_some() {
            self.members.get_mut(worker)?.waiting -= 1;
            self.waiting -= 1;
        }
        Some(worker)
    }

    fn order(&self) -> Vec<WorkerId> {
        self.members.iter().map(|(worker, _)| worker).collect()
    }
}

/// Returns what stands for a client: its IPv4 address, or the network of its IPv6 address.
///
/// A /64 is what one household or one phone gets, and its devices change the rest of their
/// address every day. An IPv4 client of an IPv6 socket has a mapped address, whose first half
/// is the same for all of them, so it counts as the IPv4 client that it is.
fn client_key(client: SocketAddr) -> u64 {
    /// Keeps the two kinds apart: of 0100::/8 nothing is given to clients (RFC 4291, 6666).
    const IPV4: u64 = 0x0100_0000_0000_0000;
    match client.ip().to_canonical() {
        IpAddr::V4(address) => IPV4 | u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or_default(),
    }
}

/// Returns how high a slot stands in a client's order.
///
/// It must be the same in every master, so that sessions survive an upgrade of it; so it is no
/// hasher of the standard library's. The constants are splitmix64's, whose last steps mix every
/// bit of the input into every bit of the result.
fn rank(client: u64, slot: SlotId) -> u64 {
    mix(mix(client) ^ u64::from(slot.0))
}

fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
