//! One contender at work: its processes, and how much they have used.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use maitred_tests::harness::{Home, processes, wait_until, wait_within};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long a server may take to drain and go, with 8,000 open connections among others.
const STOPS_WITHIN: Duration = Duration::from_secs(40);

/// A running server. Dropping it ends it, and all it has started.
#[derive(Debug)]
pub(crate) struct Server {
    root: Child,
    pub(crate) address: SocketAddr,
    home: Home,
    /// Whether its first process stands between clients and workers.
    has_front: bool,
}

/// How to start a server.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) words: Vec<OsString>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    pub(crate) has_front: bool,
    /// How many processes it has when it is complete, its first one included.
    pub(crate) processes: usize,
}

/// What a server has used so far: in all, and its front alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) all: Duration,
    pub(crate) front: Duration,
}

/// Returns a port that nobody uses at the moment.
pub(crate) fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    probe.expect("there is a free port").port()
}

/// Makes a command; the one place that does.
#[expect(
    clippy::disallowed_methods,
    reason = "these are other people's servers, and loads; none of them is a worker"
)]
pub(crate) fn command(words: &[OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}

impl Server {
    /// Starts a server and waits until it is complete and answers.
    ///
    /// # Errors
    ///
    /// Its program cannot be started, or ends at once; in words.
    pub(crate) fn start(start: Start, port: u16, home: Home) -> Result<Self, String> {
        let (name, value) = home.mark();
        let root = command(&start.words)
            .envs(start.environment)
            .env(name, value)
            .env("MAITRED_HOME", home.join("state"))
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{:?}: {error}", start.words[0]))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let has_front = start.has_front;
        let mut server = Self {
            root,
            address,
            home,
            has_front,
        };
        server.await_answer()?;
        wait_until("all processes of the server", || {
            server.processes().len() >= start.processes
        });
        Ok(server)
    }

    fn await_answer(&mut self) -> Result<(), String> {
        let mut ended = false;
        wait_until("an answer, or the end of the server", || {
            ended = self.root.try_wait().is_ok_and(|status| status.is_some());
            ended || answers(self.address)
        });
        if !ended {
            return Ok(());
        }
        let mut said = String::new();
        let stderr = self.root.stderr.as_mut();
        let read = stderr.map(|stderr| stderr.read_to_string(&mut said));
        read.transpose().map_err(|error| error.to_string())?;
        Err(said.lines().last().unwrap_or("it ended").to_owned())
    }

    /// Returns all its processes, the first one first.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut found = vec![self.root.id()];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(processes::children(parent));
            next += 1;
        }
        found
    }

    pub(crate) fn root(&self) -> u32 {
        self.root.id()
    }

    /// Reads what these of its processes have used.
    pub(crate) fn usage(&self, of: &[u32]) -> Usage {
        let all = of.iter().map(|pid| processes::processor_time(*pid)).sum();
        let front = match self.has_front {
            true => processes::processor_time(self.root.id()),
            false => Duration::ZERO,
        };
        Usage { all, front }
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.root);
        // Nobody is left of it if that fails.
        kill_process_group(group, Signal::TERM).unwrap_or_default();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_within(STOPS_WITHIN, "the end of the server", || {
                self.root.try_wait().ok().flatten()
            });
        }));
        if ended.is_err() {
            kill_process_group(group, Signal::KILL).unwrap_or_default();
            self.root.wait().map(drop).unwrap_or_default();
        }
        processes::assert_none_left(&self.home);
    }
}

/// Asks once.
fn answers(address: SocketAddr) -> bool {
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    });
    asked.unwrap_or(false)
}

/// Returns how much memory a process occupies, in KiB.
///
/// # Panics
///
/// If it is gone.
pub(crate) fn memory(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(Path::new(&path)).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let amount = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    amount.expect("the kernel tells it")
}
