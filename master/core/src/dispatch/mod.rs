//! Decides which worker receives each accepted connection.
//!
//! The dispatcher is a plain state machine: [`Input`] in, [`Effect`] out. It owns no
//! sockets and reads no clock, so a test can replay a year of traffic in a second, and a
//! page can draw the very code that the master runs.
//!
//! # The idea
//!
//! A worker is *ready* while fewer than `window` of its handoffs are un-acked. The ready
//! workers of a server stand in a ring. The head gets the next connection and goes to the
//! tail, if it still has room; otherwise it comes back when an ack makes room. Equal
//! workers are thereby served in strict rotation and a busy one is passed over, without any
//! load being measured. That is the policy `rr`; `policy/` has others, which choose otherwise
//! among the workers that have room.
//!
//! The master accepts only while somebody is ready. What waits, waits in the kernel's
//! backlog, where it costs nothing and keeps its order.
//!
//! # One connection's life
//!
//! ```text
//!                 queue full, server closed
//!            ┌────────────────────────────────────────► refused
//!            │                                             ▲
//!            │               worker's turn                 │ poisoned,
//! Accepted ──┴─► pending ───────────────────► in flight ───┤ server closed
//!                   ▲                             │ │      │
//!                   │  Rejected, WorkerGone       │ └──────┘
//!                   └─────────────────────────────┤
//!                      to its place by arrival    │ Acked
//!                                                 └──────► released
//! ```
//!
//! **Invariant:** a connection is in exactly one place: pending, in flight, or gone. It
//! moves between the first two as one value, so the compiler helps to keep this.
//!
//! **Invariant:** until the ack a connection can be given to another worker; from the ack
//! on it is one worker's alone. So none is lost that nobody acked, and none is served twice.
//! This rests on the shell to report [`Input::WorkerGone`] only of a worker that is dead
//! for certain and whose acks have all been read.
//!
//! **Invariant:** between two inputs a server accepts exactly if a worker of its rotation
//! has room and nothing is pending; and nothing is pending while one has room. Under `sticky`
//! it accepts exactly if a worker has room; and while one has, whatever is pending waits for
//! a certain other worker, which has none, and for each of those wait at most `pending_max`.
//!
//! The laws in `laws.rs` and `tests/tests/simulation.rs` check these after every input, and
//! [`replay`] compares every order with a second, deliberately simple implementation.
//!
//! # What is absent
//!
//! Time limits (a worker that does not answer is the supervisor's case, which asks
//! [`Dispatcher::oldest_handoff`]), descriptors (the shell keeps them in a table by
//! [`ConnectionId`](crate::id::ConnectionId)), and anything about what is said on a
//! connection.
//!
//! # Example
//!
//! ```
//! use std::time::Instant;
//! use maitred_core::dispatch::{Dispatcher, Effect, Input, PolicyName};
//! use maitred_core::id::{ConnectionId, HandoffId, ServerId, SlotId, WorkerId};
//!
//! let (server, worker, connection) = (ServerId(0), WorkerId(1), ConnectionId(7));
//! let (now, mut effects) = (Instant::now(), Vec::new());
//! let mut dispatcher = Dispatcher::new();
//! for input in [
//!     Input::ServerOpened { server, policy: PolicyName::Rr, pending_max: 128 },
//!     Input::Joined { worker, slot: SlotId(0), window: 1 },
//!     Input::Listening { worker, server },
//!     Input::Accepted { connection, server, client: None },
//!     Input::Acked { worker, handoff: HandoffId(0) },
//! ] {
//!     dispatcher.handle(now, input, &mut effects);
//! }
//! assert_eq!(effects, [
//!     Effect::ResumeAccept(server), // The worker listens, so somebody is ready;
//!     Effect::HandOff { handoff: HandoffId(0), connection, worker, server },
//!     Effect::PauseAccept(server), // with a window of one, it now is not;
//!     Effect::Release { connection, worker },
//!     Effect::ResumeAccept(server), // and after its ack it is again.
//! ]);
//! ```
//!
//! Reading order: `facts`, `dispatcher`, `ready`, `policy`, `pending`, `in_flight`, `server`,
//! `worker`, `rotation`, [`replay`].

#[cfg(test)]
mod behaviour;
mod dispatcher;
mod facts;
mod in_flight;
#[cfg(test)]
mod laws;
mod pending;
mod policy;
mod ready;
pub mod replay;
mod rotation;
mod server;
mod snapshot;
mod worker;

pub use dispatcher::Dispatcher;
pub use facts::{Breach, Effect, Input, RefusalReason};
pub use policy::{PolicyName, UnknownPolicy};
pub use snapshot::{ServerSnapshot, Snapshot, Totals, WorkerSnapshot};
pub use worker::{Standing, WEIGHT};
