//! The decisions of maitred, free of I/O.
//!
//! Two state machines live here. [`dispatch`] decides which worker receives each accepted
//! connection; [`supervise`] decides which worker process should be alive. Both are told
//! facts and answer with orders; time is an argument. Neither opens a socket, reads a clock
//! or looks at the environment, so the master, the simulation in `tests/`, and a page that
//! explains the scheduler all run this very code.
//!
//! Reading order: [`id`], [`dispatch`], [`supervise`].

pub mod dispatch;
pub mod id;
pub mod supervise;
