//! `rr`: strict rotation among the workers that have room.

use super::super::pending::HeldConnection;
use super::super::ready::ReadyRing;
use super::{Policy, Staff};
use crate::id::WorkerId;

/// See [`ReadyRing`], which does it all.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    ring: ReadyRing,
}

impl Policy for RoundRobin {
    fn entered(&mut self, worker: WorkerId) {
        self.ring.enter(worker);
    }

    fn left(&mut self, worker: WorkerId) {
        self.ring.remove(worker);
    }

    fn pick(&mut self, _connection: &HeldConnection, staff: &dyn Staff) -> Option<WorkerId> {
        self.ring.take_head(&|worker| staff.has_room(worker))
    }

    fn order(&self) -> Vec<WorkerId> {
        self.ring.iter().collect()
    }
}
