//! The library's master in the test's own process, with worker processes of the test's choice.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use maitred::{Cluster, ConnectionRecord, Outcome, Settings, Snapshot, Worker};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::ledger::Ledger;
use super::log::write_down;
use super::{Home, Log, node_program, processes, program, text, wait_until};

/// One at a time: descriptors are counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// The two languages that test workers are written in; each has one that obeys the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With our own library.
    Rust,
    /// With nothing but Node, and the preload that every Node worker of `maitred run` has.
    Node,
}

impl Kind {
    /// Both, for tests that are about either.
    pub const BOTH: [Self; 2] = [Self::Rust, Self::Node];

    fn test_worker(self) -> &'static str {
        match self {
            Self::Rust => "test_worker",
            Self::Node => "test_worker.js",
        }
    }

    /// Returns the path of the test worker of this kind.
    ///
    /// # Panics
    ///
    /// If it was not built, or the packages of Node programs are missing.
    #[must_use]
    pub fn program(self) -> PathBuf {
        match self {
            Self::Rust => program(self.test_worker()),
            Self::Node => node_program(self.test_worker()),
        }
    }
}

/// A cluster in this process.
///
/// Only one exists at a time, and others wait for it. So a test that counts descriptors must
/// have one before it opens any, and all tests of a file that does must have one.
#[derive(Debug)]
pub struct LibraryCluster {
    kind: Kind,
    cluster: Option<Cluster>,
    runtime: Option<Runtime>,
    log: Log,
    writer: Option<JoinHandle<()>>,
    record: ConnectionRecord,
    home: Home,
    descriptors: usize,
    _alone: MutexGuard<'static, ()>,
}

impl LibraryCluster {
    /// Starts a master with the defaults.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::with(|_| Settings::new())
    }

    /// Starts a master with settings that may name the cluster's directory.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn with(settings: impl FnOnce(&Home) -> Settings) -> Self {
        Self::of(Kind::Rust, settings)
    }

    /// As [`with`](Self::with), for test workers of that kind.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn of(kind: Kind, settings: impl FnOnce(&Home) -> Settings) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // The runtime's first start in a process opens descriptors for good.
        drop(runtime());
        let descriptors = processes::own_descriptors();
        let home = Home::new();
        let (runtime, log) = (runtime(), Log::new(1));
        let (name, value) = home.mark();
        let mut settings = settings(&home).env(name, value).record_connections();
        if kind == Kind::Node {
            settings = settings.preload(home.path());
        }
        let cluster = Cluster::setup_primary(settings).expect("these settings are good");
        let record = cluster.connection_record();
        let writer = runtime.spawn(write_down(cluster.events(), log.clone()));
        Self {
            kind,
            cluster: Some(cluster),
            runtime: Some(runtime),
            log,
            writer: Some(writer),
            record: record.expect("it was asked for"),
            home,
            descriptors,
            _alone: alone,
        }
    }

    /// Plays a scene with test workers of each kind, in a cluster of its own.
    ///
    /// # Panics
    ///
    /// If the cluster cannot be started, or leaves something behind.
    pub fn with_each_kind(settings: impl Fn() -> Settings, scene: impl Fn(&Self)) {
        for kind in Kind::BOTH {
            let cluster = Self::of(kind, |_| settings());
            scene(&cluster);
            cluster.stop();
        }
    }

    /// Returns the kind of its test workers.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Starts one test worker of the cluster's kind.
    ///
    /// # Panics
    ///
    /// If the master has ended.
    pub fn fork_test_worker(&self, wishes: &[&str]) -> Worker {
        self.fork(self.kind.test_worker(), wishes)
    }

    /// Returns the cluster itself.
    ///
    /// # Panics
    ///
    /// Never: it is there until the end.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("it is there until the end")
    }

    /// Runs a future of the cluster's to its end.
    ///
    /// # Panics
    ///
    /// Never: the runtime is there until the end.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.runtime.as_ref().expect("it is there until the end");
        runtime.block_on(future)
    }

    /// Returns what has happened so far.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Returns the cluster's directory.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Starts one worker: this program of ours, or of the tests' Node programs if it ends in
    /// `.js`, with these arguments.
    ///
    /// # Panics
    ///
    /// If the master has ended.
    pub fn fork(&self, name: &str, arguments: &[&str]) -> Worker {
        let is_node = Path::new(name).extension().is_some_and(|end| end == "js");
        let program = if is_node { node_program } else { program };
        self.fork_as(Settings::new().exec(program(name)).args(arguments))
    }

    /// Starts one worker: this Node program of the tests, on a port of its own.
    ///
    /// # Panics
    ///
    /// If the master has ended, or the packages of the Node programs are missing.
    pub fn fork_node(&self, name: &str) -> Worker {
        let settings = Settings::new().exec(node_program(name)).env("PORT", "0");
        self.fork_as(settings)
    }

    /// Starts one worker with these settings laid over those in force.
    ///
    /// # Panics
    ///
    /// If the master has ended.
    pub fn fork_as(&self, settings: Settings) -> Worker {
        self.wait(async {
            // Commands are carried out in order, so the fork gets these settings.
            self.cluster().setup(settings).await?;
            self.cluster().fork().await
        })
        .expect("the master lives")
    }

    /// As [`fork`](Self::fork), and waits until the worker listens; returns where, too.
    ///
    /// # Panics
    ///
    /// If it does not, or not on TCP.
    pub fn fork_listening(&self, name: &str, arguments: &[&str]) -> (Worker, SocketAddr) {
        let worker = self.fork(name, arguments);
        let listening = self
            .log
            .wait("listening", |event| event["worker"] == worker.id().0);
        let address = text(&listening, "address")
            .parse()
            .expect("it listens on TCP");
        (worker, address)
    }

    /// Starts test workers with the same wishes, and returns what came of them for each.
    ///
    /// # Panics
    ///
    /// If a worker does not say.
    pub fn fork_wishing(&self, count: usize, wishes: &[&str]) -> Vec<(Worker, Vec<Value>)> {
        let workers: Vec<Worker> = (0..count).map(|_| self.fork_test_worker(wishes)).collect();
        let outcomes = |worker: Worker| {
            let message = self.message(&worker, |message| message.get("outcomes").is_some());
            let outcomes = message["outcomes"].as_array().cloned();
            (worker, outcomes.expect("the outcomes are a list"))
        };
        workers.into_iter().map(outcomes).collect()
    }

    /// Gives a test worker an order that it does not answer.
    ///
    /// # Panics
    ///
    /// If it is not connected.
    pub fn order(&self, worker: &Worker, order: &str) -> u64 {
        static GIVEN: AtomicU64 = AtomicU64::new(0);
        let number = GIVEN.fetch_add(1, Ordering::Relaxed);
        let message = json!({ "order": order, "number": number });
        let sent = self.wait(worker.send(&message));
        sent.unwrap_or_else(|error| panic!("order `{order}`: {error}"));
        number
    }

    /// Gives a test worker an order, and returns its answer.
    ///
    /// # Panics
    ///
    /// If none comes.
    pub fn ask(&self, worker: &Worker, order: &str) -> Value {
        let number = self.order(worker, order);
        let answer = self.message(worker, |message| {
            message["number"] == number && message.get("answer").is_some()
        });
        answer["answer"].clone()
    }

    /// Waits for the next message of a worker that `accept` takes.
    ///
    /// # Panics
    ///
    /// If none comes.
    pub fn message(&self, worker: &Worker, accept: impl Fn(&Value) -> bool) -> Value {
        let event = self.log.wait("message", |event| {
            event["worker"] == worker.id().0 && accept(&event["message"])
        });
        event["message"].clone()
    }

    /// Waits until a worker's process has ended.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn exit(&self, worker: &Worker) -> Value {
        self.log
            .wait("exit", |event| event["worker"] == worker.id().0)
    }

    /// Waits until a worker's process has ended in this way: its exit code or signal, and
    /// whether it was meant to leave.
    ///
    /// # Panics
    ///
    /// If it does not, or in another way.
    pub fn exit_as(&self, worker: &Worker, code: Option<i32>, signal: Option<i32>, meant: bool) {
        let exit = self.exit(worker);
        let ended = (
            &exit["code"],
            &exit["signal"],
            &exit["exited_after_disconnect"],
        );
        let expected = (&json!(code), &json!(signal), &json!(meant));
        assert_eq!(ended, expected, "{}", self.log.story());
    }

    /// Ends the master, and asserts that it and its workers leave nothing behind.
    ///
    /// # Panics
    ///
    /// If they do.
    pub fn stop(self) {
        self.stop_as(&Outcome::Done);
    }

    /// As [`stop`](Self::stop), for a cluster that does not end so well.
    ///
    /// # Panics
    ///
    /// If it ends in another way, or something is left.
    pub fn stop_as(mut self, expected: &Outcome) {
        self.assert_counts_join();
        let outcome = self.wait(self.cluster().shutdown());
        let writer = self.writer.take().expect("the cluster ends once");
        self.wait(writer)
            .expect("the events are written down to the last");
        assert_eq!(&outcome, expected, "{}", self.log.story());
        self.assert_steps_add_up(expected == &Outcome::Done);
        self.close();
        processes::assert_none_left(&self.home);
        let descriptors = self.descriptors;
        wait_until("as few descriptors as before the cluster", || {
            processes::own_descriptors() <= descriptors
        });
    }

    /// Asserts that what came in is what went out and what is held, at this very moment.
    fn assert_counts_join(&self) {
        let snapshot = self.wait(self.cluster().snapshot());
        let Snapshot {
            servers, totals, ..
        } = snapshot.expect("the master lives");
        let held = servers
            .iter()
            .map(|server| server.pending + server.in_flight);
        let held = held.sum::<usize>() as u64;
        let joined = totals.acked + totals.refused + held;
        assert_eq!(totals.accepted, joined, "{totals:?}, and {held} held");
    }

    /// Asserts that what the master recorded of each connection can be true.
    fn assert_steps_add_up(&mut self, has_ended_well: bool) {
        assert_eq!(self.record.dropped(), 0, "there was room for all steps");
        while let Some(step) = self.record.try_next() {
            let step = serde_json::to_value(step).expect("a step can be written as JSON");
            self.log.push_step(step);
        }
        let told = Ledger::of(&self.home.join("no record"), &self.log);
        told.assert_sound(has_ended_well);
    }

    fn close(&mut self) {
        self.cluster = None;
        self.runtime = None;
    }
}

impl Drop for LibraryCluster {
    fn drop(&mut self) {
        // After a failed test; in a good one nothing is left.
        self.close();
        processes::kill_all(&self.home);
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("the system grants a runtime")
}
