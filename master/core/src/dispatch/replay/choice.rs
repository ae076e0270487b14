//! How the policies choose, written down once more: long-winded, and with everything counted.

use std::net::{IpAddr, SocketAddr};

use super::model::{Model, Server};
use crate::dispatch::PolicyName;
use crate::id::{ServerId, SlotId, WorkerId};

impl Model {
    /// Returns the connection of a server that moves next, by its place in the list of all, and
    /// the worker it goes to. Notes on the way who waits for whom.
    pub(super) fn next_of(&mut self, id: ServerId) -> Option<(usize, WorkerId)> {
        if !self.someone_has_room(id) {
            return None;
        }
        let server = self.servers.iter().find(|server| server.id == id)?;
        if server.policy == PolicyName::Sticky {
            return self.next_sticky(id);
        }
        let with_room: Vec<_> = self.free_workers(id).collect();
        let mut ring = server.ring.iter().copied();
        let worker = match server.policy {
            PolicyName::Rr | PolicyName::Kernel => {
                ring.find(|worker| with_room.contains(worker))?
            }
            PolicyName::LeastConnections => {
                // Of equals, `min_by_key` returns the first.
                let ring = ring.filter(|worker| with_room.contains(worker));
                ring.min_by_key(|&worker| self.load(worker))?
            }
            PolicyName::Weighted => self.most_urgent(server)?,
            PolicyName::Sticky | PolicyName::Shared => return None,
        };
        let is_first = |c: &super::model::Connection| c.server == id && c.held_by.is_none();
        Some((self.connections.iter().position(is_first)?, worker))
    }

    /// Notes that a worker was given a connection of this server, before it is.
    pub(super) fn take_turn(&mut self, id: ServerId, place: usize, worker: WorkerId) {
        let has_address = self.connections[place].client.is_some();
        let players = self.players(id);
        let Some(server) = self.servers.iter_mut().find(|server| server.id == id) else {
            return;
        };
        if matches!(server.policy, PolicyName::Rr | PolicyName::Kernel) {
            // Who comes to the head without room loses the place.
            let skipped = server.ring.iter().take_while(|other| **other != worker);
            let skipped = skipped.count();
            server.ring.drain(..=skipped);
        } else if server.policy == PolicyName::LeastConnections {
            server.ring.retain(|other| *other != worker);
            server.ring.push(worker);
        } else if server.policy == PolicyName::Sticky && !has_address {
            server.last_without = Some(worker);
        } else if server.policy == PolicyName::Weighted {
            let total: i128 = players.iter().map(|(_, wage)| wage).sum();
            for (player, wage) in players {
                *server.credits.entry(player).or_default() += wage;
            }
            *server.credits.entry(worker).or_default() -= total;
        }
    }

    /// Counts what a worker reported, what it took since, and what is on its way.
    fn load(&self, id: WorkerId) -> u64 {
        let known = self.workers.iter().find(|worker| worker.id == id);
        let told = known.map_or(0, |worker| worker.open + worker.taken_since);
        let held = self.connections.iter().filter_map(|c| c.held_by);
        told + held.filter(|(holder, _)| *holder == id).count() as u64
    }

    /// Lists who takes part in a turn of `weighted`, and with what weight: whoever has room and
    /// weighs something; if there is nobody, whoever has room.
    fn players(&self, id: ServerId) -> Vec<(WorkerId, i128)> {
        let free = self
            .free_workers(id)
            .map(|worker| (worker, i128::from(self.weight(worker))));
        let mut free: Vec<_> = free.collect();
        if free.iter().any(|(_, weight)| *weight > 0) {
            free.retain(|(_, weight)| *weight > 0);
        } else {
            free.iter_mut().for_each(|(_, weight)| *weight = 1);
        }
        free
    }

    fn weight(&self, id: WorkerId) -> u32 {
        let known = self.workers.iter().find(|worker| worker.id == id);
        known.map_or(1, |worker| worker.weight)
    }

    /// Returns who must be served soonest of those that are owed enough; if nobody is, who is
    /// owed the most.
    fn most_urgent(&self, server: &Server) -> Option<WorkerId> {
        let players = self.players(server.id);
        let total: i128 = players.iter().map(|(_, wage)| wage).sum();
        let scale = 2 * (players.len() as i128 - 1);
        let owed = |player: (WorkerId, i128)| {
            let credit = server.credits.get(&player.0).copied().unwrap_or_default();
            (player.0, player.1, credit + player.1)
        };
        let mut best = None;
        for (worker, wage, owed) in players.iter().copied().map(owed) {
            let time_left = total * (scale - 1) - owed * scale;
            let is_better = |(_, other, other_left): (WorkerId, i128, i128)| {
                time_left * other < other_left * wage
            };
            if owed * scale >= total && best.is_none_or(is_better) {
                best = Some((worker, wage, time_left));
            }
        }
        let mut most: Option<(WorkerId, i128)> = None;
        for (worker, _, owed) in players.into_iter().map(owed) {
            if most.is_none_or(|(_, other)| owed > other) {
                most = Some((worker, owed));
            }
        }
        best.map(|(worker, ..)| worker)
            .or(most.map(|(worker, _)| worker))
    }

    fn next_sticky(&mut self, id: ServerId) -> Option<(usize, WorkerId)> {
        for place in 0..self.connections.len() {
            let connection = &self.connections[place];
            if connection.server != id || connection.held_by.is_some() {
                continue;
            }
            if let Some(worker) = connection.waits_for {
                if self.has_room(worker) {
                    return Some((place, worker));
                }
                continue;
            }
            let Some(client) = connection.client else {
                return Some((place, self.next_in_circle(id)?));
            };
            for worker in self.order_of(client, id) {
                if self.has_room(worker) {
                    return Some((place, worker));
                }
                if self.waiting_for(id, worker) < self.pending_max(id) {
                    self.connections[place].waits_for = Some(worker);
                    break;
                }
            }
        }
        None
    }

    fn waiting_for(&self, id: ServerId, worker: WorkerId) -> usize {
        let waits = |c: &&super::model::Connection| c.waits_for == Some(worker);
        self.pending(id).filter(waits).count()
    }

    fn pending_max(&self, id: ServerId) -> usize {
        let server = self.servers.iter().find(|server| server.id == id);
        server.map_or(0, |server| server.pending_max)
    }

    fn next_in_circle(&self, id: ServerId) -> Option<WorkerId> {
        let server = self.servers.iter().find(|server| server.id == id)?;
        let free: Vec<_> = self.free_workers(id).collect();
        let behind = |worker: &&WorkerId| Some(**worker) > server.last_without;
        free.iter().find(behind).or(free.first()).copied()
    }

    /// Lists a rotation as a client would go through it.
    fn order_of(&self, client: SocketAddr, id: ServerId) -> Vec<WorkerId> {
        let slot_of = |id| {
            let known = self.workers.iter().find(|worker| worker.id == id);
            known.map_or(SlotId(0), |worker| worker.slot)
        };
        let mut order = self.serving(id);
        // A stable sort: of one slot, the older stays first.
        order.sort_by_key(|worker| std::cmp::Reverse(rank(client.ip(), slot_of(*worker))));
        order
    }
}

fn rank(client: IpAddr, slot: SlotId) -> u64 {
    let octets = match client {
        IpAddr::V4(address) => v4(address.octets()),
        IpAddr::V6(address) => match address.octets() {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => v4([a, b, c, d]),
            [a, b, c, d, e, f, g, h, ..] => [a, b, c, d, e, f, g, h],
        },
    };
    stir(stir(u64::from_be_bytes(octets)) ^ u64::from(slot.0))
}

fn v4([a, b, c, d]: [u8; 4]) -> [u8; 8] {
    [1, 0, 0, 0, a, b, c, d]
}

/// The next number of splitmix64.
fn stir(state: u64) -> u64 {
    let first = state.wrapping_add(11_400_714_819_323_198_485);
    let second = (first ^ (first >> 30)).wrapping_mul(13_787_848_793_156_543_929);
    let third = (second ^ (second >> 27)).wrapping_mul(10_723_151_780_598_845_931);
    third ^ (third >> 31)
}
