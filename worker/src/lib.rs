//! What a Rust worker of maitred links: listen, ack, drain, messages.
//!
//! ```no_run
//! use maitred_worker::http::{Request, Response, Server};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> std::io::Result<()> {
//!     let listener = maitred_worker::listen("127.0.0.1:5000").await?;
//!     let server = Server::new(|_request: Request, response: Response| async move {
//!         response.end(format!("hello from {}\n", std::process::id())).await
//!     });
//!     server.serve(listener).await
//! }
//! ```
//!
//! Run alone, this program is an ordinary server. Run by a master (`maitred run ./program`),
//! it asks the master to listen and is handed connections, each in turn with its siblings.
//! It need not know which of the two happens.
//!
//! # What happens to a connection
//!
//! The master sends its socket; it waits in the [`Listener`], un-acked. When the program
//! accepts, the connection is acked, *before* a byte of it is read: until then the master
//! keeps a copy and gives it to another worker if this one dies, and from then on it is this
//! worker's alone. So nothing is lost that nobody had, and nothing is served twice.
//!
//! # Runtimes
//!
//! The channel is served on the runtime of the first call, and should be the program's main
//! one: a program that is stuck then looks stuck to its master, which replaces it. On a
//! multi-threaded runtime one stuck handler of many goes unnoticed.
//!
//! # Leaving
//!
//! A worker drains when its master says so (reload, scale down, stop). [`http::Server`] does
//! all of it, and so does `hyper::serve` (with the feature `hyper`) for axum's routers and all
//! services of tower or hyper. With `axum::serve` (feature `axum`) pass [`Listener::draining`]
//! to `with_graceful_shutdown`; but axum closes at once what is idle, and loses a request that
//! is under way to it. A plain loop of accepts needs nothing: see [`Listener`].
//!
//! Reading order: [`Listen`], [`Listener`], [`Worker`], then `link.rs` and on.

mod address;
mod gauges;
pub mod http;
#[cfg(feature = "hyper")]
pub mod hyper;
mod indexes;
mod lease;
mod leaving;
mod link;
mod listener;
mod messages;
mod open_connections;
mod outbox;
mod service;
mod session;
mod state;
mod stream;
mod taking;
mod udp;
mod watchdog;
mod worker;

use std::sync::OnceLock;

pub use address::Listen;
pub use listener::{Listener, listen, listen_unix};
pub use maitred_protocol::{Generation, SlotId, WorkerId};
pub use messages::{Messages, SendError};
pub use stream::Stream;
pub use udp::{BindUdp, UdpSocket, bind_udp};
pub use worker::{Worker, worker};

/// Returns whether this process was started by a master, as its worker.
#[must_use]
pub fn is_worker() -> bool {
    // Remembered, for the channel that it is known by may be closed later.
    static IS_WORKER: OnceLock<bool> = OnceLock::new();
    *IS_WORKER.get_or_init(maitred_protocol::environment::is_worker)
}

/// Returns whether this process is no worker.
#[must_use]
pub fn is_primary() -> bool {
    !is_worker()
}
