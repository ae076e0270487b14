//! `least-connections`: who has the fewest open connections gets the next one.
//!
//! For connections that live long (WebSockets, event streams), where equal turns do not give
//! equal work. The master does not see a connection close; only the worker does, and tells how
//! many it has open about once a second. What it was given since is added, so that a
//! burst between two reports is spread, too. Among equals it is a rotation: who was picked
//! the longest time ago comes first.

use super::super::pending::HeldConnection;
use super::members::Members;
use super::{Policy, Seat, Staff};
use crate::id::WorkerId;

#[derive(Debug)]
struct Member {
    has_room: bool,
    /// When it was picked last, or joined, counted in such events.
    turn: u64,
}

/// The rotation, and who had the last turn in it.
#[derive(Debug, Default)]
pub(super) struct LeastConnections {
    members: Members<Member>,
    turns: u64,
}

impl LeastConnections {
    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    fn set_room(&mut self, worker: WorkerId, has_room: bool) {
        if let Some(member) = self.members.get_mut(worker) {
            member.has_room = has_room;
        }
    }
}

impl Policy for LeastConnections {
    fn joined(&mut self, seat: Seat) {
        let (has_room, turn) = (false, self.next_turn());
        self.members.insert(seat.worker, Member { has_room, turn });
    }

    fn entered(&mut self, worker: WorkerId) {
        self.set_room(worker, true);
    }

    fn filled(&mut self, worker: WorkerId) {
        self.set_room(worker, false);
    }

    fn left(&mut self, worker: WorkerId) {
        self.members.remove(worker);
    }

    fn pick(&mut self, _connection: &HeldConnection, staff: &dyn Staff) -> Option<WorkerId> {
        let with_room = self.members.iter().filter(|(_, member)| member.has_room);
        let (least, _) =
            with_room.min_by_key(|(worker, member)| (staff.load(*worker), member.turn))?;
        let turn = self.next_turn();
        if let Some(member) = self.members.get_mut(least) {
            member.turn = turn;
        }
        Some(least)
    }

    fn order(&self) -> Vec<WorkerId> {
        let mut line: Vec<_> = self.members.iter().collect();
        line.sort_unstable_by_key(|(_, member)| member.turn);
        line.into_iter().map(|(worker, _)| worker).collect()
    }
}
