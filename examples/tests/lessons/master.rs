//! A master in the test itself, whose workers are a lesson.

use std::collections::BTreeSet;
use std::sync::Arc;

use maitred::{Cluster, Event, Events, Outcome, Output, Settings};
use tokio::time::timeout;

use crate::processes::is_alive;
use crate::{DEADLINE, path};

/// A master with two workers that listen.
pub(crate) struct Master {
    pub(crate) cluster: Arc<Cluster>,
    events: Events,
    pub(crate) address: String,
}

impl Master {
    /// Starts an example twice; returns when both listen.
    pub(crate) async fn run(lesson: &str, address: &str) -> Self {
        let settings = Settings::new().exec(path(lesson)).args([address]);
        let cluster = Cluster::foreground(settings.output(Output::Discard)).unwrap();
        let events = cluster.events();
        cluster.scale(2).await.unwrap();
        let mut master = Self {
            cluster: Arc::new(cluster),
            events,
            address: String::new(),
        };
        for _ in 0..2 {
            if let Event::Listening { address, .. } = master.next("listening").await {
                master.address = address;
            }
        }
        master
    }

    /// Waits for the next event of this name.
    pub(crate) async fn next(&mut self, name: &str) -> Event {
        let found = async {
            loop {
                let event = self.events.next().await.expect("the master runs");
                if event.name() == name {
                    return event;
                }
            }
        };
        let failed = format!("no event {name:?} within {DEADLINE:?}");
        timeout(DEADLINE, found).await.expect(&failed)
    }

    /// Returns the workers' processes.
    pub(crate) async fn pids(&self) -> BTreeSet<i32> {
        let workers = self.cluster.workers().await.unwrap();
        let pids = workers.values().filter_map(maitred::Worker::pid);
        pids.map(|pid| i32::try_from(pid).unwrap()).collect()
    }

    /// Shuts down, and checks that all was served and nobody is left.
    pub(crate) async fn stop(self) {
        let pids = self.pids().await;
        let end = timeout(DEADLINE, self.cluster.shutdown()).await;
        assert_eq!(end.expect("it ends in time"), Outcome::Done);
        assert!(!pids.into_iter().any(is_alive));
    }
}
