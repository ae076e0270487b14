//! A small HTTP/1.1 server, in the spirit of `http.createServer((req, res) => …)`.
//!
//! A handler is given a [`Request`] to read and a [`Response`] to answer with. Both are
//! owned values: a handler may keep them across awaits, or send them to another task.
//!
//! ```no_run
//! use maitred_worker::http::{Request, Response, Server};
//!
//! # async fn demo() -> std::io::Result<()> {
//! let server = Server::new(|_request: Request, response: Response| async move {
//!     response.header("content-type", "text/plain").end("hello\n").await
//! });
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! server.serve(listener).await
//! # }
//! ```
//!
//! # How it runs
//!
//! Like Node's event loop, a server is **one task**. `Server::serve` holds every one of its
//! connections inside its own future and turns in a circle: take new connections, let one
//! or two handlers run, take new connections again. Nothing runs in parallel, so a handler
//! that computes for long delays its neighbours; nothing starves either, because each
//! connection goes to the back of the line after every answer. `turn.rs` draws the circle.
//!
//! # One connection's journey
//!
//! ```text
//!  bytes ──► head found ──► understood ──► handler ──► answer ──► next, or close
//!  wire      scan           head, framing  request,    answer,    connection,
//!                                          body        response   closing
//!            └──── pure: no I/O ────┘
//! ```
//!
//! # What is absent
//!
//! No TLS, no HTTP/2, no upgrades (WebSocket), no compression, no routing. Whoever needs
//! those links hyper or axum, which take the same listener.

mod accept;
mod answer;
mod body;
mod chunked;
mod closing;
mod connection;
mod date;
mod drain;
mod exchange;
mod framing;
mod head;
mod input;
mod limits;
mod receiving;
mod refusal;
mod request;
mod response;
mod scan;
mod sending;
mod server;
mod status;
mod timer;
mod turn;
mod wire;

#[cfg(test)]
mod tests;

use crate::gauges;

/// Returns how many requests the servers of this process have answered.
#[must_use]
pub fn requests_answered() -> u64 {
    gauges::PROCESS.answered()
}

pub use crate::open_connections::Counted;
#[cfg(feature = "hyper")]
pub(crate) use accept::{ACCEPT_PAUSE, Fate, fate_of};
pub use accept::{Accept, Until};
pub use limits::Limits;
pub use request::{Request, Version};
pub use response::Response;
pub use server::Server;
