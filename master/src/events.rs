//! The way to a cluster's events: a ring that keeps the latest for whoever is slow.

use maitred_core::supervise::Outcome;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};

use crate::clock::Moment;
use crate::event::Event;
use crate::shell::announcer::{Announcer, Notice, Said};

/// The events of a cluster, in order.
#[derive(Debug)]
pub struct Events {
    ring: broadcast::Receiver<Notice>,
    outcome: watch::Receiver<Option<Outcome>>,
    announcer: Announcer,
    missed: u64,
    at: Moment,
}

impl Events {
    pub(crate) fn new(
        ring: broadcast::Receiver<Notice>,
        outcome: watch::Receiver<Option<Outcome>>,
        announcer: Announcer,
    ) -> Self {
        Self {
            ring,
            outcome,
            announcer,
            missed: 0,
            at: Moment::now(),
        }
    }

    /// Waits for the next event; `None` after the master's last.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let Notice { at, said } = self.take().await?;
            self.at = at;
            let letter = match said {
                Said::Event(event) => return Some(event),
                Said::Message(letter) => letter,
            };
            let Some(letter) = self.announcer.take(&letter) else {
                self.missed += 1;
                continue;
            };
            // The library sends nothing but JSON; what is none was meant for nobody.
            if let Ok(message) = serde_json::from_str(&letter.json) {
                let (worker, pid) = (letter.worker, letter.pid);
                return Some(Event::Message {
                    worker,
                    pid,
                    message,
                });
            }
        }
    }

    async fn take(&mut self) -> Option<Notice> {
        loop {
            let received = tokio::select! {
                biased;
                received = self.ring.recv() => received,
                // All events were sent before the outcome; some perhaps a moment ago.
                _ = self.outcome.wait_for(Option::is_some) => match self.ring.try_recv() {
                    Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
                    Err(TryRecvError::Lagged(count)) => Err(RecvError::Lagged(count)),
                    Ok(notice) => Ok(notice),
                },
            };
            match received {
                Ok(notice) => return Some(notice),
                Err(RecvError::Lagged(count)) => self.missed += count,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Returns when the event happened that was returned last.
    #[must_use]
    pub fn at(&self) -> Moment {
        self.at
    }

    /// Returns how many events were lost because they were not taken in time.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }
}
