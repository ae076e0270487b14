//! Who is being served, and who must go when all places are taken.
//!
//! A client that connects and says nothing costs a descriptor and some memory, and if such
//! clients could fill all places, nobody could command the master any more. So whoever has
//! not asked anything yet gives way to whoever comes, the longest silent first. A client that
//! has asked keeps its place: what it asked for may take a drain's time, but the server
//! bounds how many such there are, so that silent ones are always found.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// How far a client is. It only ever goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Its request is not there, or not whole.
    Asking,
    /// It waits for an answer.
    Waiting,
    /// It is being sent its answer.
    Answered,
    /// It is being sent events until it leaves.
    Following,
    /// Somebody else got its place.
    Evicted,
}

/// All places.
///
/// Clients enter by [`take`](Self::take) and leave when their [`Place`] is dropped, or when
/// they are evicted; there are never more than `max`.
#[derive(Debug)]
pub(crate) struct Places {
    max: usize,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    /// By the order in which they came.
    stages: BTreeMap<u64, watch::Sender<Stage>>,
    came: u64,
}

impl Places {
    /// Makes so many places.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let guests = Mutex::default();
        Arc::new(Self { max, guests })
    }

    /// Gives a client a place, if need be that of the one that has been silent longest.
    /// Returns `None` if none can be had.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut guests = self.lock();
        if guests.stages.len() >= self.max {
            let is_silent = |stage: &watch::Sender<Stage>| *stage.borrow() == Stage::Asking;
            let mut silent = guests.stages.iter().filter(|(_, stage)| is_silent(stage));
            let longest = silent.next().map(|(number, _)| *number)?;
            if let Some(stage) = guests.stages.remove(&longest) {
                stage.send_replace(Stage::Evicted);
            }
        }
        let number = guests.came;
        guests.came += 1;
        let (stage, watching) = watch::channel(Stage::Asking);
        guests.stages.insert(number, stage);
        let places = self.clone();
        Some(Place {
            number,
            places,
            watching,
        })
    }

    /// Sends all away that have not asked anything: there is no time left for it.
    pub(crate) fn dismiss_silent(&self) {
        for stage in self.lock().stages.values() {
            stage.send_if_modified(|stage| {
                let is_silent = *stage == Stage::Asking;
                *stage = if is_silent { Stage::Evicted } else { *stage };
                is_silent
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        // Nothing in here can panic half way through a change.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many places are taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.lock().stages.len()
    }
}

/// One client's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    places: Arc<Places>,
    watching: watch::Receiver<Stage>,
}

impl Place {
    /// Notes how far the client is. Returns `false` if it must go: it was evicted.
    pub(crate) fn reach(&self, stage: Stage) -> bool {
        let guests = self.places.lock();
        let Some(sender) = guests.stages.get(&self.number) else {
            return false;
        };
        sender.send_if_modified(|now| {
            let is_further = stage > *now;
            *now = stage.max(*now);
            is_further
        });
        *sender.borrow() != Stage::Evicted
    }

    /// Returns whether somebody else got the place.
    pub(crate) fn is_anothers(&self) -> bool {
        !self.places.lock().stages.contains_key(&self.number)
    }

    /// Waits until the client is at least so far. Never returns for one that has left.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn reached(&self, stage: Stage) {
        let mut watching = self.watching.clone();
        if watching.wait_for(|now| *now >= stage).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().stages.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(place: &Place) -> Stage {
        *place.watching.borrow()
    }

    #[test]
    fn the_longest_silent_client_gives_way() {
        let places = Places::new(3);
        let [first, second, third] = [(); 3].map(|()| places.take().unwrap());
        assert!(first.reach(Stage::Waiting));
        let _fourth = places.take().unwrap();
        assert_eq!(stage(&second), Stage::Evicted);
        assert!(second.is_anothers() && !third.is_anothers());
        assert!(!second.reach(Stage::Waiting));
        let _fifth = places.take().unwrap();
        assert_eq!(stage(&third), Stage::Evicted);
        assert_eq!(stage(&first), Stage::Waiting);
        assert_eq!(places.taken(), 3);
        // Whoever was evicted must not take another's place with it.
        drop(second);
        assert_eq!(places.taken(), 3);
    }

    #[test]
    fn whoever_has_asked_keeps_its_place() {
        let places = Places::new(2);
        let guests = [(); 2].map(|()| places.take().unwrap());
        assert!(guests.iter().all(|guest| guest.reach(Stage::Following)));
        assert!(places.take().is_none());
        drop(guests);
        assert_eq!(places.taken(), 0);
        assert!(places.take().is_some());
    }

    #[test]
    fn at_the_end_only_the_silent_are_dismissed() {
        let places = Places::new(2);
        let [silent, waiting] = [(); 2].map(|()| places.take().unwrap());
        waiting.reach(Stage::Waiting);
        places.dismiss_silent();
        assert!(!silent.reach(Stage::Waiting) && !silent.is_anothers());
        assert!(waiting.reach(Stage::Answered));
    }

    #[test]
    fn a_client_goes_on_and_never_back() {
        let place = Places::new(1).take().unwrap();
        assert!(place.reach(Stage::Following));
        assert!(place.reach(Stage::Answered));
        assert_eq!(stage(&place), Stage::Following);
    }
}
