//! How patient the supervisor is.

use std::time::Duration;

use super::exit::ExitCodes;

/// The signal no process can refuse. POSIX fixes its number.
pub const SIGKILL: i32 = 9;

/// The signal that asks a process to end. POSIX fixes its number.
pub const SIGTERM: i32 = 15;

/// The highest signal number: Linux has 64 of them, the real-time ones included.
pub(super) const SIGNAL_MAX: i32 = 64;

/// How long the supervisor waits, and how often it tries.
///
/// A timeout too long for the clock to express never passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a draining worker may finish what it holds before it gets `kill_signal`.
    pub drain_timeout: Duration,
    /// How long a worker may take to exit once it got `kill_signal` or closed its channel.
    pub kill_timeout: Duration,
    /// What a worker gets that must go: past its drain deadline, or not even online.
    pub kill_signal: i32,
    /// The wait after a slot's first boot failure; each further one doubles it.
    pub backoff_initial: Duration,
    /// The longest wait between two attempts.
    pub backoff_max: Duration,
    /// Boot failures in a row after which a slot is errored. 0 is taken as 1.
    pub max_boot_failures: u32,
    /// Whether a worker is ready only once it says so, and not when it listens.
    pub wait_ready: bool,
    /// How long a new worker may take to be ready, during a reload. Otherwise it is left alone.
    pub listen_timeout: Duration,
    /// How long a worker may owe an ack while it does nothing. Zero: for ever.
    pub ack_timeout: Duration,
    /// How long a worker may owe an answer to a ping. Zero: for ever.
    pub heartbeat_timeout: Duration,
    /// Exit codes that mean "do not start me again".
    pub stop_codes: ExitCodes,
    /// More managed workers than this are never wanted.
    pub workers_max: u32,
    /// Whether a foreground run stays when all its slots are errored.
    pub stay_when_errored: bool,
}

/// Long enough for nearly every request, and what Kubernetes grants a pod, so that an
/// operator who knows one number knows both.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// An exit handler flushes a log or closes a database in far less. The client at the other
/// end was cut already, so that to wait longer helps nobody.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Short enough that a hiccup (a port not yet free, a file just being replaced) costs
/// nothing, long enough that ten slots do not fork a thousand times a second.
const BACKOFF_INITIAL: Duration = Duration::from_millis(100);

/// The cap that pm2's exponential backoff has; an operator who mends the program waits no
/// longer than this for the slot to notice. It makes at most 11 attempts in a first minute.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// pm2's `max_restarts`. With the backoff above, a program has two minutes to come up.
const MAX_BOOT_FAILURES: u32 = 16;

/// pm2's `listen_timeout`. A native program listens within milliseconds of its start.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(3);

/// An ack costs a worker one wake-up, so one that is asleep needs no more than milliseconds;
/// the rest is room for a program that blocks its thread now and then, on a disk or a lock.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// gunicorn's patience with a worker, and long enough for a handler that computes for ten
/// seconds or twenty.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(30);

/// What `-i` accepts: far above any machine's processors, and a typing error still cannot
/// fork a machine to death.
const WORKERS_MAX: u32 = 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            drain_timeout: DRAIN_TIMEOUT,
            kill_timeout: KILL_TIMEOUT,
            kill_signal: SIGTERM,
            backoff_initial: BACKOFF_INITIAL,
            backoff_max: BACKOFF_MAX,
            max_boot_failures: MAX_BOOT_FAILURES,
            wait_ready: false,
            listen_timeout: LISTEN_TIMEOUT,
            ack_timeout: ACK_TIMEOUT,
            heartbeat_timeout: HEARTBEAT_TIMEOUT,
            stop_codes: ExitCodes::NONE,
            workers_max: WORKERS_MAX,
            stay_when_errored: false,
        }
    }
}
