//! Loads on a cluster, and the proof that none of their connections was lost.
//!
//! Both sides are the programs that users have: `maitred bench --record` is the load, and
//! `maitred check-loss` joins its record with the master's events ([`Launch::recorded`]).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{
    Finished, Home, Launch, TestCluster, number, processes, program, wait_for, wait_within,
};

/// How much sooner than the master a client may see that a worker has died: on two busy
/// processors 163 ms were seen. A worker that is killed lives more than twice as long here.
const SLACK: &str = "250ms";
/// A million connections of a build without optimisation, on a machine that does other things.
const CHECKED_WITHIN: Duration = Duration::from_secs(180);
/// The longest load is one of 300,000 connections, of which a build without optimisation
/// serves a thousand a second.
const ENDS_WITHIN: Duration = Duration::from_secs(600);

/// A load that runs.
#[derive(Debug)]
pub struct Bench {
    client: Child,
    home: Home,
}

/// What a load has left.
#[derive(Debug)]
pub struct Record {
    home: Home,
    /// Its figures, as `bench --json` writes them.
    pub figures: Value,
}

impl TestCluster {
    /// Puts the first server under load, with these arguments of `maitred bench`.
    ///
    /// # Panics
    ///
    /// If the load cannot be started.
    #[expect(
        clippy::disallowed_methods,
        reason = "the load is no worker; it is waited for by `Bench`"
    )]
    #[must_use]
    pub fn bench(&self, path: &str, arguments: &[&str]) -> Bench {
        let home = Home::new();
        let client = Command::new(program("maitred"))
            .arg("bench")
            .args(arguments)
            .arg("--record")
            .arg(home.join("record"))
            .arg("--json")
            .arg(home.join("figures"))
            .arg(format!("http://{}{path}", self.address()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the load client starts");
        let bench = Bench { client, home };
        bench.wait_until_it_flows();
        bench
    }
}

impl Bench {
    /// Waits until something of the record is on the disk, so that what a test does next is
    /// done to a cluster under load.
    fn wait_until_it_flows(&self) {
        let record = self.home.join("record");
        wait_for("the load", || {
            std::fs::metadata(&record)
                .ok()
                .filter(|file| file.len() > 0)
        });
    }

    /// Returns whether requests are still made.
    ///
    /// # Panics
    ///
    /// If the system does not know the process.
    pub fn is_running(&mut self) -> bool {
        let status = self.client.try_wait().expect("the load is a child");
        status.is_none()
    }

    /// Lets the requests in flight be answered, and ends it.
    #[must_use]
    pub fn stop(self) -> Record {
        processes::signal(self.client.id(), Signal::INT);
        self.finish()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If there are no figures then.
    #[must_use]
    pub fn finish(mut self) -> Record {
        wait_within(ENDS_WITHIN, "the end of the load", || {
            self.client.try_wait().expect("the load is a child")
        });
        let figures = File::open(self.home.join("figures")).expect("the load wrote figures");
        let figures = serde_json::from_reader(figures).expect("the figures are JSON");
        let home = std::mem::replace(&mut self.home, Home::new());
        Record { home, figures }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // After a failed test; in a good one it has ended.
        self.client.kill().unwrap_or_default();
        self.client.wait().map(drop).unwrap_or_default();
    }
}

impl Record {
    fn path(&self) -> PathBuf {
        self.home.join("record")
    }

    /// Returns the longest that a client had to do with one connection, from asking for it to
    /// its end: with one request each, the longest that anybody waited.
    ///
    /// # Panics
    ///
    /// If the record cannot be read.
    #[must_use]
    pub fn longest_connection(&self) -> Duration {
        let record = File::open(self.path()).expect("the load wrote a record");
        let lines = BufReader::new(record).lines();
        let lasted = lines.filter_map(|line| {
            let line: Value = serde_json::from_str(&line.ok()?).ok()?;
            let is_connection = line["kind"] == "connection";
            is_connection.then(|| number(&line, "end_ns") - number(&line, "connect_ns"))
        });
        Duration::from_nanos(lasted.max().expect("there were connections"))
    }

    /// Returns within how many milliseconds 99 of 100 requests were answered.
    ///
    /// # Panics
    ///
    /// If the figures do not say.
    #[must_use]
    pub fn p99(&self) -> f64 {
        let p99 = self.figures["latency_ms"]["p99"].as_f64();
        p99.expect("the load tells its latencies")
    }

    /// Asserts that no connection was lost but those whose worker died, and that there were
    /// at least so many; returns what the checker found.
    ///
    /// # Panics
    ///
    /// If one was lost, or the records prove nothing.
    pub fn assert_nothing_lost(&self, master: &Finished, connections_min: u64) -> Value {
        self.check(master, connections_min, &[])
    }

    /// As [`assert_nothing_lost`](Self::assert_nothing_lost), where workers accept for
    /// themselves: then what one of them has accepted shares its fate.
    ///
    /// # Panics
    ///
    /// As there.
    pub fn assert_no_queue_lost(&self, master: &Finished, connections_min: u64) -> Value {
        self.check(master, connections_min, &["--workers-accept"])
    }

    fn check(&self, master: &Finished, connections_min: u64, more: &[&str]) -> Value {
        let min = connections_min.to_string();
        let words: [&Path; 8] = [
            "check-loss".as_ref(),
            "--json".as_ref(),
            "--slack".as_ref(),
            SLACK.as_ref(),
            "--min-connections".as_ref(),
            min.as_ref(),
            &self.path(),
            &master.home.join(super::outputs::RECORD),
        ];
        let checked = Launch::new(words).with(more).finish_within(CHECKED_WITHIN);
        let story = checked.log.story();
        assert_eq!(checked.code, Some(0), "{story}");
        let lines = checked.log.lines();
        serde_json::from_str(&lines[0]).expect("the checker answers with JSON")
    }

    /// Asserts that every request was answered, and no connection lost.
    ///
    /// # Panics
    ///
    /// If one failed, whoever's fault it was.
    pub fn assert_all_answered(&self, master: &Finished, connections_min: u64) {
        let found = self.assert_nothing_lost(master, connections_min);
        assert_eq!(number(&found, "failed"), 0, "{found:#}");
        let totals = &self.figures["totals"];
        assert_eq!(totals["ok"], totals["requests"], "{totals:#}");
    }
}
