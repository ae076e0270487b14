//! Decides which worker process should be alive.
//!
//! The supervisor is a plain state machine: a [`Fact`] and the time in, [`Order`]s out. It
//! starts no process and reads no clock, so a test can let a program fail for a day, or a
//! worker ignore every signal, in microseconds.
//!
//! # The idea
//!
//! What is wanted is a number of *slots*; a worker is what happens to be in one. A slot whose
//! worker is gone is refilled: at once if that worker had been ready, since its capacity is
//! missed; after a growing wait if it had not, since the program does not come up; and not
//! at all once it failed too often in a row, said that it is done, or was stopped.
//!
//! ```text
//!             wait over            too many boot failures, a stop code, StopAsked
//!  backoff ─────────────► occupied ──────────────────────────────► errored, stopped
//!     ▲                     │  ▲                                           │
//!     └─────────────────────┘  └───────────────────────────────────────────┘
//!        its worker is gone        RestartAsked, ReloadAsked, ScaleAsked
//! ```
//!
//! A worker that has to leave climbs a ladder, one rung per deadline:
//!
//! ```text
//!                        drain deadline            kill timeout
//!  starting ─► online ─► listening ─► draining ───────────► stopping ───────────► SIGKILL
//!                                     Order::Drain          kill signal
//! ```
//!
//! A shutdown has the listeners closed, puts every worker on that ladder with one common
//! deadline, and gives [`Order::Finish`] when the last one is reaped. A stop does the same,
//! except that it ends in a rest from which a restart wakes.
//!
//! A reload starts a *successor* beside a slot's worker and puts it into the slot when it is
//! ready; only then does the old one drain. A worker that hangs is killed at once.
//!
//! **Invariant:** a slot holds at most one worker and, during a reload, one successor; any
//! other that is not reaped is on its way out. Every wanted slot holds a worker, waits for a
//! deadline, is errored or stopped.
//!
//! **Invariant:** a reload never lessens the number of workers that listen, starts at most as
//! many at once as was wished, and ends: with every slot replaced, or with a reason.
//!
//! **Invariant:** only a worker whose process runs is drained or signalled. What has to be
//! said to one that is still being forked is owed to it until then.
//!
//! **Invariant:** nobody is killed for the master's own lateness.
//!
//! **Invariant:** after each fact no deadline is due, so a shell that sleeps until the next
//! one never spins.
//!
//! **Invariant:** whatever workers do, a shutdown is over when the drain timeout and the kill
//! timeout have passed (and the master's own lateness, if any), every fork is through, and
//! the kernel has ended what got SIGKILL.
//!
//! The laws in `laws.rs` check these after every fact; `behaviour.rs` has a table for each
//! single behaviour.
//!
//! # What is absent
//!
//! Pids as something to act on (the shell turns a worker into its process group), and what
//! workers serve: whether a drain is over is seen from the worker's exit alone.
//!
//! Reading order: `fact`, `order`, `supervisor`, `worker_state`, `slot`, `refill`, `restart`,
//! `restarting`, `record`, `shutdown`, `reload`, `reload_failure`, `hang`.

#[cfg(test)]
mod behaviour;
mod exit;
mod fact;
mod hang;
#[cfg(test)]
mod laws;
mod limits;
mod order;
mod record;
mod refill;
mod reload;
mod reload_failure;
mod restart;
mod restarting;
mod shutdown;
mod slot;
mod supervisor;
mod worker_state;

pub use exit::{ExitCodes, ExitStatus};
pub use fact::Fact;
pub use hang::{Activity, HangSign, Probe, look_pause};
pub use limits::{Limits, SIGKILL, SIGTERM};
pub use order::{Announcement, Order, Outcome};
pub use record::Record;
pub use reload::ReloadWish;
pub use reload_failure::ReloadFailure;
pub use restarting::RestartFailure;
pub use slot::SlotReport;
pub use supervisor::Supervisor;
pub use worker_state::{SlotState, WorkerEvent, WorkerState};
