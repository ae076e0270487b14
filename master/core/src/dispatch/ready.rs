//! The ready ring: workers with room for one more, in the order in which their turn comes.

use std::collections::{HashSet, VecDeque};

use crate::id::WorkerId;

/// A queue of workers in which each stands at most once.
///
/// A worker enters at the tail and leaves at the head when it is chosen. Whoever comes back
/// goes to the tail, so with equal work the ring turns in strict rotation, and with unequal
/// work the busy worker is simply not there and is passed over.
///
/// The set answers "does it stand here already?" without a walk. Without it a worker that
/// acks often would be entered often, and would get more than its turn.
#[derive(Debug, Default)]
pub(super) struct ReadyRing {
    line: VecDeque<WorkerId>,
    members: HashSet<WorkerId>,
}

impl ReadyRing {
    /// Puts a worker at the tail, unless it stands in the ring already.
    pub(super) fn enter(&mut self, worker: WorkerId) {
        if self.members.insert(worker) {
            self.line.push_back(worker);
        }
    }

    /// Takes a worker out, wherever it stands.
    ///
    /// Costs a walk along the ring, which is fine for what is rare: a worker that leaves,
    /// drains, dies or rejects.
    pub(super) fn remove(&mut self, worker: WorkerId) {
        if self.members.remove(&worker) {
            self.line.retain(|&member| member != worker);
        }
    }

    /// Takes the first worker that has room out of the ring.
    ///
    /// A worker at the head without room (another server's connection filled it) loses its
    /// place, and enters again when it has room. Each worker skipped here was entered
    /// once, so a handoff costs the same however many workers there are.
    pub(super) fn take_head(&mut self, has_room: &dyn Fn(WorkerId) -> bool) -> Option<WorkerId> {
        while let Some(head) = self.line.pop_front() {
            self.members.remove(&head);
            if has_room(head) {
                return Some(head);
            }
        }
        None
    }

    /// Lists the ring from head to tail.
    pub(super) fn iter(&self) -> impl Iterator<Item = WorkerId> {
        self.line.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(workers: &[u32]) -> ReadyRing {
        let mut ring = ReadyRing::default();
        for &worker in workers {
            ring.enter(WorkerId(worker));
        }
        ring
    }

    #[test]
    fn heads_leave_in_the_order_in_which_they_entered() {
        let mut ring = ring(&[2, 1, 3]);
        for expected in [2, 1, 3] {
            assert_eq!(ring.take_head(&|_| true), Some(WorkerId(expected)));
        }
        assert_eq!(ring.take_head(&|_| true), None);
    }

    #[test]
    fn entering_twice_gives_one_turn() {
        assert_eq!(
            ring(&[1, 2, 1]).iter().collect::<Vec<_>>(),
            [WorkerId(1), WorkerId(2)]
        );
    }

    #[test]
    fn a_head_without_room_loses_its_place() {
        let mut ring = ring(&[1, 2]);
        assert_eq!(
            ring.take_head(&|worker| worker != WorkerId(1)),
            Some(WorkerId(2))
        );
        ring.enter(WorkerId(2));
        ring.enter(WorkerId(1));
        assert_eq!(ring.iter().collect::<Vec<_>>(), [WorkerId(2), WorkerId(1)]);
    }

    #[test]
    fn a_worker_that_was_removed_may_enter_again() {
        let mut ring = ring(&[1, 2]);
        ring.remove(WorkerId(1));
        ring.enter(WorkerId(1));
        assert_eq!(ring.iter().collect::<Vec<_>>(), [WorkerId(2), WorkerId(1)]);
    }
}
