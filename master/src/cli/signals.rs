//! The signals that a foreground run obeys.
//!
//! What SIGHUP, SIGTTIN and SIGTTOU mean depends on whether there is a controlling terminal.
//! With one they come from it: it is gone, or a process in the background wants to use it.
//! Without one they are free, and mean what they mean to nginx, unicorn and gunicorn.

use std::fs::File;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To drain and end; the signal's number.
    End(i32),
    /// To reload.
    Reload,
    /// One worker more.
    More,
    /// One worker fewer.
    Fewer,
}

/// Hears signals; those that are heard do not end or stop the process by themselves any more.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    /// SIGTTIN and SIGTTOU, if there is no controlling terminal. With one they are left as they are:
    /// they stop a process in the background that wants to use the terminal.
    scale: Option<(Signal, Signal)>,
}

impl Signals {
    /// Begins to listen. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Those of installing a signal handler.
    pub(crate) fn new() -> io::Result<Self> {
        let scale = if has_terminal() {
            None
        } else {
            let kind = |number| signal(SignalKind::from_raw(number));
            Some((kind(SIGTTIN)?, kind(SIGTTOU)?))
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            scale,
        })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a signal that came is returned by the next call.
    pub(crate) async fn next(&mut self) -> Wish {
        let has_terminal = self.scale.is_none();
        tokio::select! {
            _ = self.terminate.recv() => Wish::End(SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => Wish::End(SignalKind::interrupt().as_raw_value()),
            _ = self.hang_up.recv() => match has_terminal {
                true => Wish::End(SignalKind::hangup().as_raw_value()),
                false => Wish::Reload,
            },
            wish = hear(self.scale.as_mut()) => wish,
        }
    }
}

/// Linux fixes the numbers of both for every processor that we build for.
const SIGTTIN: i32 = 21;
const SIGTTOU: i32 = 22;

async fn hear(scale: Option<&mut (Signal, Signal)>) -> Wish {
    let Some((more, fewer)) = scale else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = more.recv() => Wish::More,
        _ = fewer.recv() => Wish::Fewer,
    }
}

/// Returns whether this process has a controlling terminal: only then can this file be opened.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Reads a signal as people write it: `SIGTERM`, `term` or `15`.
///
/// # Errors
///
/// What would be right.
pub(super) fn parse(text: &str) -> Result<i32, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = format!("SIG{name}")
        .parse::<nix::sys::signal::Signal>()
        .ok();
    let numbered = || nix::sys::signal::Signal::try_from(text.parse::<i32>().ok()?).ok();
    let signal = named.or_else(numbered).map(|signal| signal as i32);
    signal.ok_or_else(|| "a signal is a name such as SIGTERM, or its number".to_owned())
}
