//! What a cluster is told before it starts: Node's `setupPrimary`, with the master's own limits.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

use maitred_core::dispatch::PolicyName;
use maitred_core::supervise::Limits;
use maitred_protocol::node;

use crate::launch::Dialect;

/// How many handoffs a Rust worker may have in flight.
///
/// Measured with accept on demand: 22 to 37 µs of CPU a connection at 1, 21 to 29 at 2, about
/// 20 from 4 up. A deeper window gains nothing and makes more connections wait behind a worker
/// that hangs. 1 is exactly what Node does.
pub const WINDOW: u32 = 4;

/// How many handoffs a Node worker may have in flight.
///
/// Measured: 13,000 connections a second at 1, about 20,000 from 2 up. 1 is what Node does.
pub const NODE_WINDOW: u32 = 2;

/// The longest message of a Node worker's program and to it, in bytes.
///
/// Node itself has no limit, and programs do send megabytes; a worker that goes beyond is
/// killed, for the master would have to keep it all.
pub const LINE_MAX: usize = node::MESSAGE_MAX;

/// Largest window: far below the 278 messages that fill a socket's default buffer, and small
/// enough that a few hung workers cannot use up the user's budget of descriptors in flight.
pub const WINDOW_MAX: u32 = 64;

/// How many connections may wait in the master for each server.
///
/// Accepting on demand keeps this queue empty but for connections that were taken back, so
/// its bound is a safety net; what waits, waits in the kernel's backlog.
pub const PENDING_MAX: usize = 128;

/// How long an idle keep-alive connection may stay once its worker drains: time for one more
/// request, whose answer then says `Connection: close`.
pub const KEEPALIVE_GRACE: Duration = Duration::from_secs(5);

/// Most workers one master runs, as a guard against typing errors.
pub const INSTANCES_MAX: u32 = 1024;

/// Where a worker's standard output and error go. Its standard input is always `/dev/null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// To the master's own: Node's default (`silent: false`).
    #[default]
    Inherit,
    /// Through the master, each line prefixed with slot and number; a reader that is too slow
    /// loses lines (counted) and never makes a worker wait.
    Prefixed,
    /// Nowhere (`silent: true`, with nobody reading).
    Discard,
}

/// What a [`Cluster`](crate::Cluster) runs, and how.
///
/// Each field that is not set keeps what an earlier setup said, and in the end the default.
///
/// ```
/// use maitred::Settings;
///
/// let settings = Settings::new().exec("/usr/local/bin/shop").args(["--quiet"]).window(2);
/// assert_eq!(settings.window, Some(2));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// The program that workers run; default: the program that is running now.
    pub exec: Option<PathBuf>,
    /// Its arguments; default: the arguments of the program that is running now, if `exec` is
    /// not set either, else none.
    pub args: Option<Vec<OsString>>,
    /// How the master talks to workers; default: as the program's ending suggests, Node's way
    /// for `.js` and its kin.
    pub dialect: Option<Dialect>,
    /// What runs the program; default: `node` of PATH for a script, else nothing.
    pub interpreter: Option<PathBuf>,
    /// The interpreter's own options, before the script.
    pub node_args: Option<Vec<OsString>>,
    /// The longest message of a Node worker's program and to it, in bytes; default
    /// [`LINE_MAX`]. A worker that sends more is killed.
    pub line_max: Option<usize>,
    /// The directory in which the file lies that Node workers load before their program, so
    /// that they drain politely, answer pings and count; it is written there. Default: they load
    /// none. Workers that run as another user have to be able to read it.
    pub preload: Option<PathBuf>,
    /// Whether a worker that has to leave gets the message `"shutdown"`, for programs that end
    /// themselves at that; default: not.
    pub shutdown_with_message: Option<bool>,
    /// The variable that tells a worker its slot; default `NODE_APP_INSTANCE`, and none for Rust
    /// workers. `MAITRED_SLOT` always does.
    pub instance_var: Option<OsString>,
    /// The user that workers run as; default: the master's. Only root can change it.
    pub uid: Option<u32>,
    /// The group that workers run as; default: the master's.
    pub gid: Option<u32>,
    /// The directory that workers start in; default: the master's.
    pub cwd: Option<PathBuf>,
    /// Variables set for every worker, besides the master's own.
    pub env: BTreeMap<OsString, OsString>,
    /// Where workers' output goes.
    pub output: Option<Output>,
    /// How connections are spread; default `rr`. Servers that are open keep what they have: for
    /// those there is [`Cluster::change_policy`](crate::Cluster::change_policy).
    pub policy: Option<PolicyName>,
    /// Handoffs in flight per worker; default [`WINDOW`], of Node workers [`NODE_WINDOW`].
    pub window: Option<u32>,
    /// Connections waiting in the master per server; default [`PENDING_MAX`].
    pub pending_max: Option<usize>,
    /// Grace of idle keep-alive connections; default [`KEEPALIVE_GRACE`].
    pub keepalive_grace: Option<Duration>,
    /// Deadlines and backoffs of the workers' processes. Only the first setup's counts.
    pub limits: Option<Limits>,
    /// Whether a worker is ready only once it says so; default: what `limits` says, which is
    /// no. Only the first setup's counts.
    pub wait_ready: Option<bool>,
    /// Listening sockets of this process that workers may ask for by number.
    pub inherited: Vec<RawFd>,
    /// A file that every fact and order of the dispatcher is written to, for
    /// `maitred replay`. Only the first setup's counts.
    pub trace: Option<PathBuf>,
    /// Whether each step of each connection is recorded, for
    /// [`Cluster::connection_record`](crate::Cluster::connection_record). Only the first
    /// setup's counts.
    pub record_connections: bool,
}

impl Settings {
    /// Returns settings that change nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the program that workers run.
    #[must_use]
    pub fn exec(mut self, program: impl Into<PathBuf>) -> Self {
        self.exec = Some(program.into());
        self
    }

    /// Sets the workers' arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how the master talks to workers.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    /// Sets what runs the program.
    #[must_use]
    pub fn interpreter(mut self, program: impl Into<PathBuf>) -> Self {
        self.interpreter = Some(program.into());
        self
    }

    /// Sets where the file lies that Node workers load before their program.
    #[must_use]
    pub fn preload(mut self, directory: impl Into<PathBuf>) -> Self {
        self.preload = Some(directory.into());
        self
    }

    /// Sets the interpreter's own options.
    #[must_use]
    pub fn node_args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.node_args = Some(args.into_iter().map(Into::into).collect());
        self
    }

    /// Sets how long messages of Node workers' programs and to them may be, in bytes.
    #[must_use]
    pub fn line_max(mut self, bytes: usize) -> Self {
        self.line_max = Some(bytes);
        self
    }

    /// Sets which variable tells a worker its slot: 0, 1, …
    #[must_use]
    pub fn instance_var(mut self, name: impl Into<OsString>) -> Self {
        self.instance_var = Some(name.into());
        self
    }

    /// Sets the user and the group that workers run as.
    #[must_use]
    pub fn run_as(mut self, uid: Option<u32>, gid: Option<u32>) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Sets the directory that workers start in.
    #[must_use]
    pub fn cwd(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cwd = Some(directory.into());
        self
    }

    /// Sets one variable for every worker.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets where the workers' output goes.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = Some(output);
        self
    }

    /// Sets how connections are spread. Policy `kernel` cannot be had everywhere: the cluster is
    /// refused then, as [`try_kernel_policy`](crate::try_kernel_policy) says beforehand.
    #[must_use]
    pub fn policy(mut self, policy: PolicyName) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Sets how many handoffs each worker may have in flight.
    #[must_use]
    pub fn window(mut self, window: u32) -> Self {
        self.window = Some(window);
        self
    }

    /// Sets how many connections may wait in the master for each server.
    #[must_use]
    pub fn pending_max(mut self, connections: usize) -> Self {
        self.pending_max = Some(connections);
        self
    }

    /// Sets the deadlines and backoffs of the workers' processes.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Sets whether a worker is ready only once its program says so, by the message `"ready"`,
    /// and not when it listens. It counts for the start, and for every worker that follows
    /// another; on a reload the new one must also listen wherever the old one does.
    ///
    /// It is handed connections from its first listen on, ready or not: who must not be asked
    /// yet should not listen yet.
    #[must_use]
    pub fn wait_ready(mut self, waits: bool) -> Self {
        self.wait_ready = Some(waits);
        self
    }

    /// Lets workers ask for these listening sockets of this process, by number.
    #[must_use]
    pub fn inherited(mut self, numbers: impl IntoIterator<Item = RawFd>) -> Self {
        self.inherited.extend(numbers);
        self
    }

    /// Writes every fact and order of the dispatcher to a file.
    #[must_use]
    pub fn trace(mut self, file: impl Into<PathBuf>) -> Self {
        self.trace = Some(file.into());
        self
    }

    /// Has each step of each connection recorded, for
    /// [`Cluster::connection_record`](crate::Cluster::connection_record). It costs memory for
    /// a queue and some hundred nanoseconds a connection.
    #[must_use]
    pub fn record_connections(mut self) -> Self {
        self.record_connections = true;
        self
    }

    /// Lays `newer` over these settings: what it does not say stays.
    pub(crate) fn merge(&mut self, newer: Self) {
        fn lay<T>(over: &mut Option<T>, newer: Option<T>) {
            if newer.is_some() {
                *over = newer;
            }
        }
        lay(&mut self.exec, newer.exec);
        lay(&mut self.args, newer.args);
        lay(&mut self.dialect, newer.dialect);
        lay(&mut self.interpreter, newer.interpreter);
        lay(&mut self.node_args, newer.node_args);
        lay(&mut self.line_max, newer.line_max);
        lay(&mut self.preload, newer.preload);
        lay(&mut self.shutdown_with_message, newer.shutdown_with_message);
        lay(&mut self.instance_var, newer.instance_var);
        lay(&mut self.uid, newer.uid);
        lay(&mut self.gid, newer.gid);
        lay(&mut self.cwd, newer.cwd);
        lay(&mut self.output, newer.output);
        lay(&mut self.policy, newer.policy);
        lay(&mut self.window, newer.window);
        lay(&mut self.pending_max, newer.pending_max);
        lay(&mut self.keepalive_grace, newer.keepalive_grace);
        self.env.extend(newer.env);
        self.inherited.extend(newer.inherited);
    }
}
