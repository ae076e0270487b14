//! Who may be picked, and what a policy notes about each.

use crate::id::WorkerId;

/// The workers of a rotation, sorted by number.
///
/// A plain vector: it is walked for every connection and changed only when a worker comes or
/// goes, and a walk along a vector costs a few nanoseconds a worker.
#[derive(Debug)]
pub(super) struct Members<T> {
    list: Vec<(WorkerId, T)>,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        let list = Vec::new();
        Self { list }
    }
}

impl<T> Members<T> {
    /// Adds a worker. One that is there already keeps its note.
    pub(super) fn insert(&mut self, worker: WorkerId, note: T) {
        if let Err(place) = self.place(worker) {
            self.list.insert(place, (worker, note));
        }
    }

    /// Takes a worker out, and returns what was noted.
    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<T> {
        let place = self.place(worker).ok()?;
        Some(self.list.remove(place).1)
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&T> {
        let place = self.place(worker).ok()?;
        self.list.get(place).map(|(_, note)| note)
    }

    pub(super) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut T> {
        let place = self.place(worker).ok()?;
        self.list.get_mut(place).map(|(_, note)| note)
    }

    /// Returns all, by ascending number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (WorkerId, &T)> {
        self.list.iter().map(|(worker, note)| (*worker, note))
    }

    /// Returns all to be changed, by ascending number.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (WorkerId, &mut T)> {
        self.list.iter_mut().map(|(worker, note)| (*worker, note))
    }

    fn place(&self, worker: WorkerId) -> Result<usize, usize> {
        self.list.binary_search_by_key(&worker, |(id, _)| *id)
    }
}
