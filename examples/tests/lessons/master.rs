//! A master in the test itself, whose workers are a lesson.

use std::collections::BTreeSet;

use maitred::{Cluster, Event, Events, Outcome, Output, Settings};
use tokio::time::timeout;

use crate::program::{DEADLINE, is_alive, path};

/// A master with two workers that listen.
pub(crate) struct Master {
    pub(crate) cluster: Cluster,
    pub(crate) events: Events,
    pub(crate) address: String,
}

impl Master {
    /// Starts an example twice; returns when both listen.
    pub(crate) async fn run(lesson: &str, address: &str) -> Self {
        let settings = Settings::new()
            .exec(path(lesson))
            .args([address])
            .output(Output::Discard);
        let cluster = Cluster::foreground(settings).unwrap();
        cluster.scale(2).await.unwrap();
        let events = cluster.events();
        let address = String::new();
        let mut master = Self {
            cluster,
            events,
            address,
        };
        for _ in 0..2 {
            master.address = master
                .next(|event| match event {
                    Event::Listening { address, .. } => Some(address),
                    _ => None,
                })
                .await;
        }
        master
    }

    /// Waits for an event.
    pub(crate) async fn next<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.next().await.expect("the master runs");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        timeout(DEADLINE, found).await.expect("the event comes")
    }

    /// Returns the workers' processes.
    pub(crate) async fn pids(&self) -> BTreeSet<i32> {
        let workers = self.cluster.workers().await.unwrap();
        workers
            .values()
            .map(|worker| i32::try_from(worker.pid().unwrap()).unwrap())
            .collect()
    }

    /// Shuts down, and checks that all was served and nobody is left.
    pub(crate) async fn stop(self) {
        let pids = self.pids().await;
        let outcome = timeout(DEADLINE, self.cluster.shutdown())
            .await
            .expect("it ends in time");
        assert_eq!(outcome, Outcome::Done);
        assert!(!pids.into_iter().any(is_alive));
    }
}
