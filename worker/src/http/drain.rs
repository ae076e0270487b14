//! What a server tells all of its connections when it has been asked to drain.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::Notify;

use super::Limits;
use crate::gauges::{self, Gauges};

/// What the connections of one server have in common.
#[derive(Debug)]
pub(super) struct Common {
    /// The bounds for each of them.
    pub(super) limits: Limits,
    /// Whether and how far the server is draining.
    pub(super) drain: Drain,
    /// Where they are counted.
    pub(super) gauges: &'static Gauges,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            drain: Drain::default(),
            gauges: &gauges::PROCESS,
        }
    }
}

/// The two moments of a drain, each of which comes once and stays.
#[derive(Debug, Default)]
pub(super) struct Drain {
    has_begun: AtomicBool,
    grace_is_over: AtomicBool,
    /// Wakes the idle connections at the second moment. At the first they need not wake:
    /// what changes is only how they will end their next answer.
    pub(super) wake_idle: Notify,
}

impl Drain {
    /// From now on answers end their connection.
    pub(super) fn begin(&self) {
        self.has_begun.store(true, Relaxed);
    }

    /// From now on idle connections are closed.
    pub(super) fn end_grace(&self) {
        // The flag first: a connection that is woken must find it set.
        self.grace_is_over.store(true, Relaxed);
        self.wake_idle.notify_waiters();
    }

    /// Whether answers end their connection.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
    }

    /// Whether idle connections are to be closed.
    pub(super) fn grace_is_over(&self) -> bool {
        self.grace_is_over.load(Relaxed)
    }
}
