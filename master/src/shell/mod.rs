//! The shell: does what the pure parts order, and reports what happened.
//!
//! Two state machines in `maitred-core` decide everything, the dispatcher about connections
//! and the supervisor about processes. Here are the sockets, processes and clocks, in the
//! order of a connection's journey:
//!
//! | step | file |
//! |---|---|
//! | accept | `acceptor.rs`, `server.rs`, `servers.rs` |
//! | queue, schedule | `master/core/src/dispatch/` |
//! | hand off | `dispatching.rs`, `worker_link.rs`, `outbox.rs` |
//! | ack, release | `attendant.rs`, `conversation.rs`, `connections.rs` |
//!
//! Everything here runs on one thread, and nothing here waits but `event_loop.rs`. What could
//! block has a thread of its own: `process.rs` starts workers, `output.rs` passes their output
//! on, `trace.rs` writes the record of decisions. What `recorder.rs` notes of connections, the
//! owner takes and writes.

pub(crate) mod acceptor;
pub(crate) mod announcer;
mod attendant;
mod closing;
pub(crate) mod command;
mod connections;
mod conversation;
pub(crate) mod dialect;
mod dispatching;
pub(crate) mod event_loop;
mod group;
mod hang_watch;
mod joining;
mod late_watch;
mod lifecycle;
mod lingering;
pub(crate) mod master;
pub(crate) mod member;
mod operations;
pub(crate) mod orphans;
mod outbox;
pub(crate) mod output;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod report;
mod restarting;
mod resting;
mod rotating;
mod server;
mod servers;
mod spreading;
mod telling;
pub(crate) mod trace;
mod worker_link;
