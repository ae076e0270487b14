//! Canaries: their share, what each side is started from when it dies, and both ways out.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use maitred_tests::harness::client::get;
use maitred_tests::harness::{Home, Launch, TestCluster, processes, wait_until};
use rustix::process::Signal;
use serde_json::Value;

/// A program of which there are two versions, and a link to the one that is deployed.
struct Deployed {
    place: Home,
}

impl Deployed {
    fn new() -> Self {
        let deployed = Self { place: Home::new() };
        for version in ["v1", "v2"] {
            deployed.write(
                version,
                &format!(
                    "require('node:http').createServer((_, answer) => answer.end('{version}'))\
                 .listen(Number(process.env.PORT), '127.0.0.1')"
                ),
            );
        }
        deployed.deploy("v1");
        deployed
    }

    fn write(&self, version: &str, body: &str) {
        std::fs::write(self.place.join(format!("{version}.js")), body).unwrap();
    }

    fn link(&self) -> PathBuf {
        self.place.join("current.js")
    }

    /// As a deploy does it: the link leads to one or the other at any moment.
    fn deploy(&self, version: &str) {
        let fresh = self.place.join("fresh.js");
        symlink(self.place.join(format!("{version}.js")), &fresh).unwrap();
        std::fs::rename(fresh, self.link()).unwrap();
    }

    /// Starts two workers, each with so much room that nobody is ever passed over.
    fn start(&self) -> TestCluster {
        let arguments = ["-i", "2", "--window", "64", "--env", "PORT=0"];
        Launch::run([self.link()]).with(arguments).ready()
    }
}

/// Asks a hundred times; counts the versions that answer.
fn versions(cluster: &TestCluster) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..100 {
        let answer = get(cluster.address(), "/").unwrap();
        *counts.entry(answer.text().to_owned()).or_default() += 1;
    }
    counts
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected
        .map(|(version, count)| (version.to_owned(), count))
        .into()
}

fn list(cluster: &TestCluster) -> Value {
    let listed = cluster.command(&["ls", "--json"]);
    serde_json::from_str(&listed.log.lines()[0]).unwrap()
}

/// Kills the worker in a slot, and waits for the next one there.
fn kill(cluster: &TestCluster, slot: usize, workers: usize) {
    let pid = list(cluster)["workers"][slot]["pid"].as_u64().unwrap();
    let pid = u32::try_from(pid).unwrap();
    processes::signal(pid, Signal::KILL);
    wait_until("its end", || {
        !cluster.workers().values().any(|alive| *alive == pid)
    });
    cluster.wait_for_workers(workers);
}

#[test]
fn a_canary_has_its_share_each_side_keeps_its_program_and_a_promotion_replaces_the_rest() {
    let deployed = Deployed::new();
    let cluster = deployed.start();
    cluster.assert_refused(&["promote"], 2, "no canaries");
    deployed.deploy("v2");
    cluster.obey(&["canary", "--percent", "20"]);
    assert_eq!(versions(&cluster), counts([("v1", 80), ("v2", 20)]));
    for slot in 0..3 {
        kill(&cluster, slot, 3);
    }
    assert_eq!(versions(&cluster), counts([("v1", 80), ("v2", 20)]));
    let rows = list(&cluster);
    let runs = |slot: usize| rows["workers"][slot]["program"].as_str().unwrap();
    assert!(
        runs(0).ends_with("v1.js") && runs(2).ends_with("v2.js"),
        "{rows}"
    );

    for command in [
        &["scale", "+1"][..],
        &["reload"],
        &["policy", "rr"],
        &["weigh", "0", "5"],
    ] {
        cluster.assert_refused(command, 1, "promote or withdraw");
    }
    cluster.assert_refused(&["canary", "--percent", "5"], 1, "promote or withdraw");

    cluster.obey(&["promote"]);
    cluster.wait_for_workers(2);
    assert_eq!(versions(&cluster), counts([("v2", 100)]));
    assert_eq!(list(&cluster)["apps"][0]["policy"], "rr");
    cluster.stop();
}

#[test]
fn a_canary_that_is_withdrawn_leaves_all_as_it_was_even_for_who_dies_later() {
    let deployed = Deployed::new();
    let cluster = deployed.start();
    deployed.deploy("v2");
    cluster.obey(&["canary", "--percent", "50", "--workers", "2"]);
    assert_eq!(versions(&cluster), counts([("v1", 50), ("v2", 50)]));
    cluster.obey(&["withdraw"]);
    cluster.wait_for_workers(2);
    assert_eq!(versions(&cluster), counts([("v1", 100)]));
    kill(&cluster, 0, 2);
    assert_eq!(
        versions(&cluster),
        counts([("v1", 100)]),
        "it was not to be tried any more"
    );
    cluster.obey(&["reload"]);
    assert_eq!(
        versions(&cluster),
        counts([("v2", 100)]),
        "that was somebody's wish"
    );
    cluster.stop();
}

#[test]
fn a_canary_that_does_not_come_up_fails_and_changes_nothing() {
    let deployed = Deployed::new();
    let cluster = deployed.start();
    deployed.write("v2", "process.exit(7)");
    deployed.deploy("v2");
    cluster.assert_refused(&["canary", "--percent", "5"], 1, "do not come up");
    cluster.wait_for_workers(2);
    assert_eq!(versions(&cluster), counts([("v1", 100)]));
    assert_eq!(list(&cluster)["apps"][0]["policy"], "rr");
    cluster.obey(&["policy", "sticky"]);
    cluster.assert_refused(&["canary", "--percent", "5"], 2, "no shares");
    cluster.stop();
}
