//! The lessons' order, and the few lines that they have in common.
//!
//! Each file in this folder is one lesson, and runs with
//! `cargo run -p maitred-examples --example NAME [ADDRESS]`. Read them in this order:
//!
//! | lesson | what it shows |
//! |---|---|
//! | `http_server` | a server in one process, and what is wrong with it |
//! | `http_cluster` | the same server in many, primary and workers in one file |
//! | `cluster_events` | what a primary hears of its workers |
//! | `crash_and_respawn` | how it replaces those that die, and only those |
//! | `messages` | how workers that share no memory tell each other something |
//! | `round_robin_by_hand` | who gets the next connection, step by step |
//! | `axum_app`, `hyper_app` | workers written with other people's servers |
//! | `reuseport` | what the kernel does where there is no master |
//! | `tcp_echo`, `unix_socket`, `udp_shared` | what else can be listened on |

use std::hint::black_box;
use std::io;
use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};
use tokio::signal::unix::{SignalKind, signal};

/// Returns the program's first argument, or `default` if it was given none.
#[must_use]
pub fn address(default: &str) -> String {
    std::env::args()
        .nth(1)
        .unwrap_or_else(|| default.to_owned())
}

/// Returns what resolves when somebody asks this program to stop: ctrl-c or SIGTERM.
///
/// Called early, for from here on neither signal ends the process by itself.
///
/// # Errors
///
/// The signals cannot be watched.
///
/// # Panics
///
/// Outside a tokio runtime with I/O.
///
/// # Cancel safety
///
/// The future is cancel safe: a signal that comes meanwhile is kept for its next poll.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Returns the time that all processes of this machine agree on.
#[must_use]
pub fn monotonic_nanoseconds() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Stands for work: as many turns of a busy loop as the environment variable `LESSON_TURNS` says.
pub fn compute_as_told() {
    static TURNS: OnceLock<u64> = OnceLock::new();
    let read = || std::env::var("LESSON_TURNS").ok()?.parse().ok();
    for turn in 0..*TURNS.get_or_init(|| read().unwrap_or(0)) {
        black_box(turn);
    }
}
