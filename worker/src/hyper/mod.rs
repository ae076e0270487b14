//! Serves axum's routers, and any other tower or hyper service, with hyper: HTTP/1, HTTP/2,
//! WebSockets and all that a connection can be upgraded to.
//!
//! ```no_run
//! use std::convert::Infallible;
//! use hyper::service::service_fn;
//! use hyper::{Request, Response, body::Incoming};
//!
//! # async fn demo() -> std::io::Result<()> {
//! let service = service_fn(async |request: Request<Incoming>| {
//!     Ok::<_, Infallible>(Response::new(format!("you want {}\n", request.uri())))
//! });
//! let listener = maitred_worker::listen("127.0.0.1:5000").await?;
//! maitred_worker::hyper::serve(listener, service).await
//! # }
//! ```
//!
//! An axum `Router` goes in the place of that service, as it is.
//!
//! # When the worker drains
//!
//! | a connection that | goes on so |
//! |---|---|
//! | has a request | is answered, with `Connection: close` |
//! | waits between two requests, or has said nothing yet | is served when its next request comes within the grace, with `Connection: close`; else closed when the grace is over |
//! | has sent a part of a request's head | is served however long the grace, as long as hyper waits for the rest |
//! | speaks HTTP/2 | is told at once (GOAWAY); streams that have begun, or are on their way, end as they would |
//! | was upgraded (WebSocket, CONNECT) | lives on; its handler can hear of the drain, see [`Draining`] |
//!
//! hyper's own `graceful_shutdown` closes at once what looks idle to it. That loses requests:
//! a client cannot know yet, and its next one may be under way. So over HTTP/1 it is not
//! called before the grace is over.
//!
//! One thing [`http::Server`](crate::http::Server) does that this cannot: requests that were
//! pipelined behind one that is answered with `Connection: close` are not answered.
//!
//! # Who is the client?
//!
//! Every request carries its client's [`SocketAddr`](std::net::SocketAddr) as an extension,
//! unless it came over a Unix socket; with the feature `axum` also as axum's `ConnectInfo`.
//!
//! Reading order: `serve.rs`, then `connection.rs` (one connection in a drain), then what
//! watches it: `life.rs`, `watched.rs` (its stream), `service.rs` (its requests).

mod connection;
mod drain;
mod life;
mod serve;
mod service;
mod watched;

#[cfg(test)]
mod tests;

pub use drain::Draining;
pub use serve::{builder, serve, serve_with};
pub use service::{AnyService, HyperService, TowerService};
