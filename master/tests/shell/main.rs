//! The master at work: real processes, real sockets, and workers that do as they are told.
//!
//! The worker is this very program, started again: see `puppet.rs`. It speaks the protocol
//! itself, so that it can also break it. Each test ends by checking that no descriptor and no
//! process is left; so only one runs at a time.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

mod connections;
mod endings;
mod hostile;
mod listeners;
mod messages;
mod puppet;
mod reloads;
mod stage;
