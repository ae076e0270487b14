//! `weighted`: a rotation in which each worker has a share by its weight.
//!
//! Each connection earns every worker with room its weight in credit, and costs the one that
//! gets it what all together have earned. Who is owed the most would be the obvious choice, and
//! is nginx's; but with many different weights that drifts more than one connection away from
//! the shares (1.09 with nine workers, found by search). So the choice is R. Tijdeman's ("The
//! chairman assignment problem", 1980): among those that are owed enough, the one that must be
//! served soonest. As long as all have room, no worker is ever as much as one connection away
//! from its share, and a small share comes in the middle of the others' and not at their end.
//!
//! A weight of 0 gets only what nobody else has room for.

use super::super::pending::HeldConnection;
use super::members::Members;
use super::{Policy, Seat, Staff};
use crate::id::WorkerId;

#[derive(Debug)]
struct Member {
    has_room: bool,
    weight: u32,
    /// What it has earned less what it was given. They add up to nothing over all members, as
    /// long as none comes or goes.
    credit: i64,
}

impl Member {
    /// What one connection earns it. Those that weigh nothing are equal among themselves.
    fn wage(&self) -> i64 {
        i64::from(self.weight.max(1))
    }
}

/// The rotation and its credits.
#[derive(Debug, Default)]
pub(super) struct Weighted {
    members: Members<Member>,
}

impl Weighted {
    fn set_room(&mut self, worker: WorkerId, has_room: bool) {
        if let Some(member) = self.members.get_mut(worker) {
            member.has_room = has_room;
        }
    }
}

impl Policy for Weighted {
    fn joined(&mut self, seat: Seat) {
        let member = Member {
            has_room: false,
            weight: seat.weight,
            credit: 0,
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
        self.members.remove(worker);
    }

    /// Begins anew for all: what was owed under other weights would distort the new shares.
    fn weighed(&mut self, worker: WorkerId, weight: u32) {
        if let Some(member) = self.members.get_mut(worker) {
            member.weight = weight;
        }
        for (_, member) in self.members.iter_mut() {
            member.credit = 0;
        }
    }

    fn pick(&mut self, _connection: &HeldConnection, _staff: &dyn Staff) -> Option<WorkerId> {
        let weighs = |(_, member): (_, &Member)| member.has_room && member.weight > 0;
        let anybody_weighs = self.members.iter().any(weighs);
        let takes_part = |member: &Member| member.has_room && (member.weight > 0) == anybody_weighs;
        let (mut total, mut count) = (0, 0);
        for (_, member) in self.members.iter_mut() {
            if takes_part(member) {
                member.credit += member.wage();
                total += member.wage();
                count += 1;
            }
        }
        let candidates = || self.members.iter().filter(|(_, member)| takes_part(member));
        let soonest = soonest(candidates(), total, count);
        // Nobody may be owed enough if some were passed over before, for want of room.
        let picked = soonest.or_else(|| owed_most(candidates()))?;
        if let Some(member) = self.members.get_mut(picked) {
            member.credit -= total;
        }
        Some(picked)
    }

    fn order(&self) -> Vec<WorkerId> {
        self.members.iter().map(|(worker, _)| worker).collect()
    }
}

/// Finds who must be served soonest among those that are owed enough.
///
/// With `total` for the sum of wages and `d` for `1 / (2 count − 2)`: owed enough is a credit of
/// `d total`, and the time that is left is `((1 − d) total − credit) / wage`. Both are multiplied
/// by `2 count − 2`, and the times compared crosswise, so that all stays whole.
fn soonest<'a>(
    candidates: impl Iterator<Item = (WorkerId, &'a Member)>,
    total: i64,
    count: i64,
) -> Option<WorkerId> {
    let scale = i128::from(2 * count - 2);
    let time_left =
        |member: &Member| i128::from(total) * (scale - 1) - i128::from(member.credit) * scale;
    let is_sooner = |one: &Member, other: &Member| {
        time_left(one) * i128::from(other.wage()) < time_left(other) * i128::from(one.wage())
    };
    let owed =
        candidates.filter(|(_, member)| i128::from(member.credit) * scale >= i128::from(total));
    owed.reduce(|first, next| {
        if is_sooner(next.1, first.1) {
            next
        } else {
            first
        }
    })
    .map(|(worker, _)| worker)
}

fn owed_most<'a>(candidates: impl Iterator<Item = (WorkerId, &'a Member)>) -> Option<WorkerId> {
    candidates
        .reduce(|first, next| {
            if next.1.credit > first.1.credit {
                next
            } else {
                first
            }
        })
        .map(|(worker, _)| worker)
}
