//! The `maitred` program in a process of its own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use maitred::WorkerId;
use rustix::process::Signal;

use super::ledger::Ledger;
use super::outputs::{RECORD, read, record};
use super::{
    DEADLINE, Home, Log, node_program, number, processes, program, text, wait_until, wait_within,
    worker,
};

/// How to start `maitred`.
#[derive(Debug)]
pub struct Launch {
    words: Vec<OsString>,
    home: Home,
    is_recorded: bool,
}

impl Launch {
    /// Starts with `maitred` and these arguments.
    pub fn new<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::other([program("maitred")]).with(arguments)
    }

    /// Starts with any program, which then starts `maitred`.
    pub fn other<A: AsRef<OsStr>>(words: impl IntoIterator<Item = A>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        Self {
            words: words.collect(),
            home: Home::new(),
            is_recorded: false,
        }
    }

    /// Starts with `maitred run`, events as JSON, and these further arguments.
    pub fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        Self::new(["run", "--events", "json"]).with(arguments)
    }

    /// Starts with so many demo workers, on a port of their own.
    #[must_use]
    pub fn demo(workers: usize) -> Self {
        let workers = workers.to_string();
        Self::run(["--listen", "127.0.0.1:0", "-i", &workers])
    }

    /// Starts with so many workers of a Node program of the tests, on a port of their own.
    #[must_use]
    pub fn node(name: &str, workers: usize) -> Self {
        let workers = workers.to_string();
        Self::run([node_program(name)]).with(["-i", &workers, "--env", "PORT=0"])
    }

    /// Adds arguments.
    #[must_use]
    pub fn with<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(|word| word.as_ref().to_owned());
        self.words.extend(arguments);
        self
    }

    /// Puts a program before it that starts it in another way: `unshare`, `setpriv`.
    #[must_use]
    pub fn through<A: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = A>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        self.words = words.chain(self.words).collect();
        self
    }

    /// Keeps all events in a file for `maitred check-loss`. The log is then without the steps
    /// of connections: under load they would be too many to hold.
    #[must_use]
    pub fn recorded(mut self) -> Self {
        self.is_recorded = true;
        self
    }

    /// Returns the directory that the cluster will have.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Starts it, and returns at once.
    ///
    /// # Panics
    ///
    /// If the first program cannot be started.
    #[expect(
        clippy::disallowed_methods,
        reason = "the master itself is no worker; its mark and its end are watched here"
    )]
    #[must_use]
    pub fn start(self) -> TestCluster {
        let (name, value) = self.home.mark();
        let mut master = Command::new(&self.words[0])
            .args(&self.words[1..])
            .env(name, value)
            // The master makes it, so that it is private whoever the master runs as.
            .env("MAITRED_HOME", self.home.join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {:?}: {error}", self.words));
        let log = Log::new(2);
        let stderr = master.stderr.take();
        let readers = vec![
            read(master.stdout.take(), log.clone()),
            if self.is_recorded {
                record(stderr, log.clone(), &self.home)
            } else {
                read(stderr, log.clone())
            },
        ];
        TestCluster {
            master,
            home: self.home,
            log,
            readers,
            descriptors: None,
        }
    }

    /// Starts it and waits until all first workers listen.
    ///
    /// # Panics
    ///
    /// If that does not come about.
    #[must_use]
    pub fn ready(self) -> TestCluster {
        let mut cluster = self.start();
        cluster.log.wait("ready", |_| true);
        cluster.descriptors = processes::descriptors(cluster.pid());
        cluster
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If it does not end, or leaves a process behind.
    #[must_use]
    pub fn finish(self) -> Finished {
        self.start().finish()
    }

    /// Runs what takes its time to its end.
    ///
    /// # Panics
    ///
    /// As [`finish`](Self::finish).
    #[must_use]
    pub fn finish_within(self, deadline: Duration) -> Finished {
        self.start().finish_within(deadline)
    }
}

/// A master that runs, and its workers.
#[derive(Debug)]
pub struct TestCluster {
    master: Child,
    home: Home,
    log: Log,
    readers: Vec<JoinHandle<()>>,
    /// How many descriptors the master had when it was ready.
    descriptors: Option<usize>,
}

/// How a master ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All that it said.
    pub log: Log,
    /// Its directory, with what it left there.
    pub home: Home,
}

impl TestCluster {
    /// Starts so many demo workers on a port of their own.
    ///
    /// # Panics
    ///
    /// If they do not come up.
    #[must_use]
    pub fn demo(workers: usize) -> Self {
        Launch::demo(workers).ready()
    }

    /// Returns what it has said so far.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Returns its directory.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Returns the pid of the program that was started: the master's, if nothing stands
    /// before it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.master.id()
    }

    /// Returns where its first server listens.
    ///
    /// # Panics
    ///
    /// If none does, or not on TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let opened = self.log.wait("server_opened", |_| true);
        text(&opened, "address")
            .parse()
            .expect("the first server listens on TCP")
    }

    /// Returns the workers that live, by number, with their pids.
    #[must_use]
    pub fn workers(&self) -> BTreeMap<WorkerId, u32> {
        let started = self.log.named("fork");
        let ended = self.log.named("exit");
        let mut living: BTreeMap<WorkerId, u32> = started.iter().map(worker_and_pid).collect();
        for event in &ended {
            living.remove(&worker(event));
        }
        living
    }

    /// Waits until so many workers live, and all of them listen.
    ///
    /// # Panics
    ///
    /// If that does not come about.
    pub fn wait_for_workers(&self, count: usize) {
        wait_until("as many listening workers as wanted", || {
            let listening = self.log.named("listening");
            let listens = |id: &WorkerId| listening.iter().any(|event| worker(event) == *id);
            let living = self.workers();
            living.len() == count && living.keys().all(listens)
        });
    }

    /// Returns how to run `maitred` with these arguments as a command to this master.
    #[must_use]
    pub fn maitred(&self, arguments: &[&str]) -> Launch {
        let mut home = OsString::from("MAITRED_HOME=");
        home.push(self.home.join("state"));
        let program = program("maitred");
        Launch::other(["env".as_ref(), home.as_os_str(), program.as_os_str()]).with(arguments)
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Finished {
        self.maitred(arguments).finish()
    }

    /// Runs a command that must succeed.
    ///
    /// # Panics
    ///
    /// If it fails, with what it said.
    pub fn obey(&self, arguments: &[&str]) {
        let finished = self.command(arguments);
        let story = finished.log.story();
        assert_eq!(finished.code, Some(0), "{arguments:?}: {story}");
    }

    /// Runs a command that must be refused with this exit code, in words that hold these.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub fn assert_refused(&self, arguments: &[&str], code: i32, words: &str) {
        let refused = self.command(arguments);
        let said = refused.log.story();
        assert_eq!(refused.code, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }

    /// Sends the master a signal.
    pub fn signal(&self, signal: Signal) {
        processes::signal(self.pid(), signal);
    }

    /// As [`end`](Self::end), for tests that want nothing of what it leaves.
    ///
    /// # Panics
    ///
    /// If it does not end well.
    pub fn stop(self) {
        drop(self.end());
    }

    /// Asks the master to end, and asserts that it does so in good order: every descriptor
    /// that came with the load is gone before, every dead child is reaped, exit code 0, and
    /// nothing left after.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use]
    pub fn end(self) -> Finished {
        if let Some(descriptors) = self.descriptors {
            wait_until("as few descriptors in the master as at the start", || {
                processes::descriptors(self.pid()) == Some(descriptors)
            });
        }
        wait_until("no dead child of the master that it has not reaped", || {
            let mut children = processes::children(self.pid()).into_iter();
            !children.any(|child| processes::state(child) == Some('Z'))
        });
        self.signal(Signal::TERM);
        let finished = self.finish();
        assert_eq!(finished.code, Some(0), "{}", finished.log.story());
        finished
    }

    /// Waits until the master has ended by itself, and asserts that nothing is left, and that
    /// what it said of its connections adds up.
    ///
    /// # Panics
    ///
    /// If it does not end, leaves a process behind, or tells of what cannot be.
    #[must_use]
    pub fn finish(self) -> Finished {
        self.finish_within(DEADLINE)
    }

    /// As [`finish`](Self::finish), for what takes its time.
    ///
    /// # Panics
    ///
    /// As there.
    #[must_use]
    pub fn finish_within(mut self, deadline: Duration) -> Finished {
        let log = self.log.clone();
        let status = wait_within(deadline, "the end of the master", || {
            self.master
                .try_wait()
                .expect("the master is this process's child")
        });
        processes::assert_none_left(&self.home);
        for reader in self.readers.drain(..) {
            reader.join().expect("reading lines does not panic");
        }
        let told = Ledger::of(&self.home.join(RECORD), &log);
        told.assert_sound(status.success());
        let home = std::mem::replace(&mut self.home, Home::new());
        Finished {
            code: status.code(),
            log,
            home,
        }
    }
}

fn worker_and_pid(event: &serde_json::Value) -> (WorkerId, u32) {
    let pid = u32::try_from(number(event, "pid")).expect("pids are small");
    (worker(event), pid)
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        // After a failed test; in a good one all this finds nothing.
        processes::kill_all(&self.home);
        if self.master.try_wait().is_ok_and(|status| status.is_none()) {
            self.master.kill().unwrap_or_default();
            self.master.wait().map(drop).unwrap_or_default();
        }
    }
}
