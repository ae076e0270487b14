//! The control API: what the command line, and curl, may ask of a running master.
//!
//! JSON over HTTP on the *control socket*, `master.sock` in the state directory, with
//! server-sent events for what happens. Read in this order:
//!
//! | step | file |
//! |---|---|
//! | one master in a state directory, one socket | `home.rs` |
//! | a client connects: is it ours, is there a place for it | `peer.rs`, `places.rs` |
//! | its request is read whole, and answered | `server.rs`, `guard.rs`, `routes.rs`, `stream.rs` |
//! | what can be asked and answered | `api.rs`, `refusal.rs`, `name.rs` |
//! | how connections are spread | `spread.rs`, `canary.rs` |
//! | who acts | `steward.rs`; for a foreground run `foreground.rs` |
//! | the other side | `client.rs` |
//!
//! **Invariant:** no client can slow a connection of the apps. Everything here runs on a
//! thread of its own; the dispatch thread gets one question at a time from it, and a list at
//! most every few milliseconds (`roster.rs`, `tempo.rs`), however many clients ask. Clients,
//! their requests, the time they take and the acts that wait are all bounded.

pub(crate) mod api;
mod canary;
pub(crate) mod client;
pub(crate) mod foreground;
mod guard;
pub(crate) mod home;
pub(crate) mod name;
mod peer;
mod places;
pub(crate) mod refusal;
mod refusing;
mod roster;
mod routes;
pub(crate) mod server;
mod spread;
mod stats;
pub(crate) mod steward;
mod stream;
mod tempo;
#[cfg(test)]
mod tests;
