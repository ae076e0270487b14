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
//! | `tcp_echo`, `unix_socket`, `udp_shared` | what else can be listened on |

use std::io;

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
