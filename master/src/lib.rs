//! A master that hands every connection to the next worker process.
//!
//! It is what Node's `cluster` does, for Rust programs: the *primary* accepts connections and
//! passes each socket to its workers in turn; a worker that dies takes no waiting connection
//! with it. This crate is the primary's side; workers link `maitred-worker`.
//!
//! ```no_run
//! use maitred::{Cluster, Event, Settings};
//!
//! # async fn example() -> Result<(), maitred::ClusterError> {
//! // Without `exec` the program runs itself as its workers; see `examples/http_cluster.rs`.
//! let cluster = Cluster::setup_primary(Settings::new().exec("./my-server"))?;
//! for _ in 0..4 {
//!     cluster.fork_with([("ROLE", "web")]).await?;
//! }
//! let mut events = cluster.events();
//! while let Some(event) = events.next().await {
//!     if let Event::Exit { worker, exited_after_disconnect: false, .. } = event {
//!         eprintln!("worker {worker} died; starting another");
//!         cluster.fork_with([("ROLE", "web")]).await?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Node programs
//!
//! A program whose name ends in `.js` or the like is run by Node, as it is: to it, this program
//! is Node's own primary. What it sends with `process.send(…)` arrives here, and what is sent
//! here is its `process.on('message', …)`; any JSON value both ways.
//!
//! ```no_run
//! use maitred::{Cluster, Event, Settings};
//! use serde_json::json;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::setup_primary(Settings::new().exec("app.js").env("PORT", "8080"))?;
//! let mut events = cluster.events();
//! let worker = cluster.fork().await?;
//! worker.send(&json!({ "price": 12.5, "of": ["tea", "cake"] })).await?;
//! while let Some(event) = events.next().await {
//!     if let Event::Message { worker, message, .. } = event {
//!         println!("worker {worker} says {}", message["answer"]);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! Two pure state machines in `maitred-core` decide; the shell here does the I/O. Read
//! `ARCHITECTURE.md` for the journey of one connection, then `shell/mod.rs`.

mod accept_errors;
mod clock;
mod cluster;
mod event;
mod events;
mod kernel;
mod launch;
mod operation;
mod pin;
mod policy;
mod preload;
mod record;
mod settings;
mod shell;
mod worker;

pub use accept_errors::AcceptErrors;
pub use clock::Moment;
pub use cluster::{Cluster, ClusterError, is_primary, is_worker};
pub use event::Event;
pub use events::Events;
pub use kernel::{KernelError, try_kernel_policy};
pub use launch::{Dialect, NODE, is_script};
pub use maitred_core::dispatch::{PolicyName, RefusalReason, Snapshot, replay};
pub use maitred_core::id::{ConnectionId, Generation, HandoffId, ServerId, SlotId, WorkerId};
pub use maitred_core::supervise::{
    ExitCodes, ExitStatus, HangSign, Limits, Outcome, ReloadWish, SlotState, WorkerState,
};
pub use maitred_protocol::message::Statistics;
pub use operation::{
    Cut, ReloadError, ReloadReport, Replacement, RestartError, RestartReport, SlotStatus,
};
pub use policy::{PolicyError, WEIGHT_MAX};
pub use record::{ConnectionEvent, ConnectionRecord, ConnectionStep};
pub use settings::{
    INSTANCES_MAX, KEEPALIVE_GRACE, LINE_MAX, NODE_WINDOW, Output, PENDING_MAX, Settings, WINDOW,
    WINDOW_MAX,
};
pub use worker::{MESSAGE_MAX, SendError, Worker, WorkerStatus};
