//! The words that a maitred master and its workers share.
//!
//! Every worker process is born with one end of a Unix socket pair; the master keeps the
//! other. Over this *channel* the two exchange typed messages, and the master passes client
//! connections as descriptors (`SCM_RIGHTS`). A day in the life of the channel:
//!
//! ```text
//! worker                              master
//!   ── Hello ───────────────────────►         which protocol version, which pid
//!   ◄──────────────────────── Welcome ──      its number, slot and window
//!   ── Online ──────────────────────►
//!   ── QueryServer ─────────────────►         "I want to listen on 127.0.0.1:5000"
//!   ◄──────────────────── ServerReply ──      the master has bound it
//!   ── Listening ───────────────────►         into the rotation
//!   ◄───────── NewConnection + socket ──      one handoff
//!   ── Ack ─────────────────────────►         the master now closes its copy
//!   ◄──────────────────────────── Drain ──    take no more, finish what you hold
//!   ── ExitedAfterDisconnect ───────►
//!   ◄────── ExitedAfterDisconnectAck ──       the worker may close and exit
//! ```
//!
//! This crate never spawns and never decides: it has no policy.
//!
//! # Glossary
//!
//! One word per thing, in code, logs, documents and on the command line.
//!
//! | word | means |
//! |---|---|
//! | master / worker | the process that accepts / the process that serves (Node says *primary*, and so does the Node-like API) |
//! | listener, accept, backlog | the listening socket, taking from it, the kernel's queue behind it |
//! | server | one listener with its key, its rotation and its pending queue |
//! | rotation, lobby | the workers that take turns on a server / under policy `kernel`, the master's own listener, where clients wait while nobody does |
//! | connection | one accepted client socket, named by a [`ConnectionId`] |
//! | pending queue | accepted, no worker yet |
//! | ready ring | workers with room for one more, in turn order |
//! | handoff | one attempt to give one connection to one worker |
//! | in flight | handed off, not yet acked |
//! | window | how many handoffs a worker may have in flight |
//! | ack / reject | the worker took it / did not, untouched |
//! | release | the master closes its copy after the ack |
//! | requeue | a connection taken back goes to the front of the pending queue |
//! | reap / respawn / backoff | collect the exit status / start a successor / wait before that |
//! | drain, reload, generation | finish held work and take no more; replace all workers; which set a worker belongs to |
//! | channel / control socket | the master–worker socket that carries descriptors / the command line's way to the master |
//!
//! Reading order: [`message`], [`version`], [`native`], [`node`], [`fd`], [`binding`],
//! [`environment`].

pub mod binding;
mod encoding;
pub mod environment;
pub mod error;
pub mod fd;
pub mod message;
pub mod native;
pub mod node;
pub mod version;

pub use error::ChannelError;
pub use maitred_core::id::{ConnectionId, Generation, HandoffId, ServerId, SlotId, WorkerId};
pub use message::{MasterToWorker, WorkerToMaster};
