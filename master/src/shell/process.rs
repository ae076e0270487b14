//! Starts worker processes: the only place that does.
//!
//! fork and exec take a millisecond typically and some tens of them on a loaded machine, so
//! a thread of its own does it and its result comes back as a report. The thread never ends
//! while the master lives, as threads that fork must not (a kernel death signal, should one
//! ever be set, fires when the *thread* that forked exits).
//!
//! What a worker is born with, and nothing else: descriptor 0 is `/dev/null`, 1 and 2 are
//! its output, 3 is its channel. Every other descriptor of the master is close-on-exec.
//! It leads a process group of its own, so that it can be killed with all its offspring.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use command_fds::{CommandFdExt, FdMapping};
use maitred_core::id::{SlotId, WorkerId};
use maitred_protocol::environment;
use rustix::fs::{Access, access};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::mpsc;

use super::dialect;
use super::report::Report;
use crate::launch::{Dialect, Launch, is_script};
use crate::preload;
use crate::settings::{INSTANCES_MAX, Output};

/// Orders that may wait for the thread: every worker once, and its replacement.
const QUEUE: usize = 2 * INSTANCES_MAX as usize;

/// What a service manager tells its own child, and nobody else: a worker that believed it
/// were meant would say `READY=1` for the master, or serve the master's sockets.
const NOT_FOR_WORKERS: [&str; 7] = [
    "NOTIFY_SOCKET",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// How to start one worker.
#[derive(Clone, Debug)]
pub(crate) struct SpawnOrder {
    pub(crate) worker: WorkerId,
    pub(crate) slot: SlotId,
    pub(crate) launch: Launch,
    /// Where the file belongs that a Node worker loads before its program.
    pub(crate) preload: Option<PathBuf>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) env: BTreeMap<OsString, OsString>,
    /// The variable that tells it its slot, if it is not the usual one.
    pub(crate) instance_var: Option<OsString>,
    pub(crate) output: Output,
    /// The user and the group it runs as, if not the master's.
    pub(crate) user: (Option<u32>, Option<u32>),
}

/// A worker that was started.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    /// Names the process for good: unlike a pid it is never reused.
    pub(crate) pidfd: OwnedFd,
    /// What is spoken on the channel.
    pub(crate) dialect: Dialect,
    /// The master's end of the channel, if there is one.
    pub(crate) channel: Option<OwnedFd>,
    /// What it prints, if the master is to read it: standard output, then error.
    pub(crate) output: Vec<OwnedFd>,
}

/// The way to the spawner thread.
#[derive(Debug)]
pub(crate) struct Spawner {
    orders: SyncSender<SpawnOrder>,
}

impl Spawner {
    /// Starts the thread. Each order is answered with one [`Report::Spawned`].
    pub(crate) fn start(reports: mpsc::Sender<Report>) -> io::Result<Self> {
        let (orders, inbox) = sync_channel(QUEUE);
        thread::Builder::new()
            .name("maitred-spawner".into())
            .spawn(move || obey(&inbox, &reports))?;
        Ok(Self { orders })
    }

    /// Asks for a worker. Returns false if the queue is full, which its bound rules out for
    /// any sane number of workers.
    pub(crate) fn order(&self, order: SpawnOrder) -> bool {
        self.orders.try_send(order).is_ok()
    }
}

/// Returns the path of a program for good: a deploy, or a worker's other directory, must not
/// change what its name means. What is not found stays as it is, and starting it will fail.
pub(crate) fn resolve(program: &Path) -> PathBuf {
    let found = if program.components().count() > 1 || is_script(program) {
        std::path::absolute(program).ok()
    } else {
        std::env::var_os("PATH").and_then(|path| {
            let mut candidates = std::env::split_paths(&path).map(|place| place.join(program));
            candidates.find(|candidate| is_executable(candidate))
        })
    };
    found.unwrap_or_else(|| program.to_owned())
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

fn obey(orders: &Receiver<SpawnOrder>, reports: &mpsc::Sender<Report>) {
    while let Ok(order) = orders.recv() {
        let outcome = spawn(&order);
        if reports
            .blocking_send(Report::Spawned(order.worker, outcome))
            .is_err()
        {
            return;
        }
    }
}

fn spawn(order: &SpawnOrder) -> io::Result<Spawned> {
    let dialect = order.launch.dialect;
    let (channel, worker_end) = dialect::pair(dialect)?.unzip();
    let mut command = command(order, worker_end)?;
    let mut child = command.spawn()?;
    // The worker's end must not stay open here, or its end of file would never be seen. The
    // command holds it.
    drop(command);
    let pid = Pid::from_child(&child);
    match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Ok(pidfd) => Ok(Spawned {
            pid,
            pidfd,
            dialect,
            channel,
            output: take_output(&mut child),
        }),
        Err(error) => {
            // Without it the worker could not be watched. Out of descriptors, most likely.
            child.kill()?;
            child.wait()?;
            Err(error.into())
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that starts processes"
)]
fn command(order: &SpawnOrder, worker_end: Option<OwnedFd>) -> io::Result<Command> {
    let mut command = Command::new(&order.launch.program);
    let (output, error) = stdio(order.output);
    for name in NOT_FOR_WORKERS {
        command.env_remove(name);
    }
    // What the owner sets is set, whatever its name; ours comes last.
    command
        .args(&order.launch.args)
        .envs(&order.env)
        .envs(instance(order))
        .envs(identity(order))
        .envs(preload(order))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(error)
        .process_group(0);
    if let Some(directory) = &order.cwd {
        command.current_dir(directory);
    }
    let (uid, gid) = order.user;
    uid.map(|uid| command.uid(uid));
    gid.map(|gid| command.gid(gid));
    if let Some(parent_fd) = worker_end {
        let child_fd = environment::CHANNEL_NUMBER;
        let mapping = FdMapping {
            parent_fd,
            child_fd,
        };
        command
            .fd_mappings(vec![mapping])
            .map_err(io::Error::other)?;
    }
    Ok(command)
}

/// Returns the variables by which a worker knows who it is, in the words of its language.
///
/// A program without a channel gets the numbers only: were the channel named as well, a Node
/// program would take its standard descriptors for one.
fn identity(order: &SpawnOrder) -> Vec<(&'static str, OsString)> {
    let channel = environment::CHANNEL_NUMBER.to_string().into();
    let (worker, slot) = (order.worker.0.to_string(), order.slot.0.to_string());
    let mut variables = vec![
        (environment::WORKER_ID, worker.clone().into()),
        (environment::SLOT, slot.into()),
    ];
    match order.launch.dialect {
        Dialect::Native => variables.push((environment::CHANNEL_FD, channel)),
        Dialect::Node => variables.extend([
            (environment::NODE_CHANNEL_FD, channel),
            (environment::NODE_UNIQUE_ID, worker.into()),
            (environment::NODE_SERIALIZATION, "json".into()),
        ]),
        Dialect::None => {}
    }
    variables
}

/// Returns the variable by which a program is used to be told its slot. Only ours by the names
/// of [`identity`] come after it.
fn instance(order: &SpawnOrder) -> Option<(OsString, String)> {
    let usual = match order.launch.dialect {
        Dialect::Node | Dialect::None => Some(environment::NODE_INSTANCE.into()),
        Dialect::Native => None,
    };
    let name = order.instance_var.clone().or(usual)?;
    Some((name, order.slot.0.to_string()))
}

/// Returns the variables by which a Node worker loads the preload.
fn preload(order: &SpawnOrder) -> impl IntoIterator<Item = (&'static str, OsString)> {
    let directory = order.preload.as_deref();
    let directory = directory.filter(|_| order.launch.dialect == Dialect::Node);
    // Without it a worker lacks manners, and with one that is not there it would not start.
    let file = directory.and_then(|directory| preload::write(directory).ok());
    let name = OsString::from(preload::NODE_OPTIONS);
    let own = || std::env::var_os(&name);
    let user = order.env.get(&name).cloned().or_else(own);
    let variables = file.and_then(|file| preload::variables(user.as_deref(), &file));
    variables.into_iter().flatten()
}

fn stdio(output: Output) -> (Stdio, Stdio) {
    match output {
        Output::Inherit => (Stdio::inherit(), Stdio::inherit()),
        Output::Prefixed => (Stdio::piped(), Stdio::piped()),
        Output::Discard => (Stdio::null(), Stdio::null()),
    }
}

fn take_output(child: &mut Child) -> Vec<OwnedFd> {
    let output = child.stdout.take().map(OwnedFd::from);
    let error = child.stderr.take().map(OwnedFd::from);
    output.into_iter().chain(error).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_program_is_found_once_and_for_all() {
        assert!(resolve(Path::new("sh")).is_absolute());
        assert!(resolve(Path::new("./target/server")).is_absolute());
        assert_eq!(resolve(Path::new("/bin/sh")), Path::new("/bin/sh"));
        let unknown = Path::new("no-such-program-anywhere");
        assert_eq!(resolve(unknown), unknown);
    }

    #[test]
    fn workers_are_not_told_what_was_meant_for_the_master() {
        let mut order = order("worker");
        order.env = [("WATCHDOG_USEC".into(), "1".into())].into();
        let set = variables(&order);
        assert_eq!(set["NOTIFY_SOCKET"], None, "it is taken away");
        assert_eq!(set["LISTEN_FDS"], None);
        assert_eq!(set["MAITRED_WORKER_ID"].as_deref(), Some("7"));
        assert_eq!(set["MAITRED_SLOT"].as_deref(), Some("2"));
        assert_eq!(set["MAITRED_CHANNEL_FD"].as_deref(), Some("3"));
        assert!(!set.contains_key("NODE_APP_INSTANCE"));
        // Set on purpose, and so for the worker.
        assert_eq!(set["WATCHDOG_USEC"].as_deref(), Some("1"));
    }

    #[test]
    fn a_worker_is_told_its_slot_by_the_name_that_was_wished_for() {
        let usual = variables(&order("app.js"));
        assert_eq!(usual["NODE_APP_INSTANCE"].as_deref(), Some("2"));
        for program in ["app.js", "worker"] {
            let mut order = order(program);
            order.instance_var = Some("SEAT".into());
            let set = variables(&order);
            assert_eq!(set["SEAT"].as_deref(), Some("2"));
            assert!(!set.contains_key("NODE_APP_INSTANCE"), "{program}");
            // A name that is ours keeps our meaning.
            order.instance_var = Some("MAITRED_WORKER_ID".into());
            let set = variables(&order);
            assert_eq!(set["MAITRED_WORKER_ID"].as_deref(), Some("7"));
        }
    }

    fn order(program: &str) -> SpawnOrder {
        SpawnOrder {
            worker: WorkerId(7),
            slot: SlotId(2),
            launch: Launch::of(&Settings::new().exec(program)).unwrap(),
            preload: None,
            cwd: None,
            env: BTreeMap::new(),
            instance_var: None,
            output: Output::Discard,
            user: (None, None),
        }
    }

    /// Returns what a worker's environment gets, and what is taken out of it.
    fn variables(order: &SpawnOrder) -> BTreeMap<String, Option<String>> {
        let (_, worker_end) = dialect::pair(order.launch.dialect).unwrap().unzip();
        let command = command(order, worker_end).unwrap();
        let text = |text: &OsStr| text.to_str().unwrap().to_owned();
        let set = command.get_envs();
        set.map(|(name, value)| (text(name), value.map(text)))
            .collect()
    }
}
