//! Counts the connections that this library serves, by what they are doing.
//!
//! The master shows it, and at the deadline of a drain it is how the master knows what it
//! cuts. A program that serves its connections with another library is not seen here: its
//! connections are open, and of no kind.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// What a connection is doing. Each is of one kind at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No request is known, or the answer to the last one is sent.
    Idle,
    /// A request waits for its answer.
    Busy,
    /// An answer has begun and has not ended: a download, an event stream.
    Streaming,
    /// It speaks something else by now: WebSocket, CONNECT.
    Upgraded,
}

/// The counts, which only [`Counted`] and whoever has answered change.
#[derive(Debug)]
pub(crate) struct Gauges {
    kinds: [AtomicU32; 4],
    answered: AtomicU64,
}

/// Those of this process, whose servers all count here.
pub(crate) static PROCESS: Gauges = Gauges::new();

impl Gauges {
    pub(crate) const fn new() -> Self {
        Self {
            kinds: [const { AtomicU32::new(0) }; 4],
            answered: AtomicU64::new(0),
        }
    }

    /// Counts a connection, as idle at first.
    pub(crate) fn count(&'static self) -> Counted {
        let kind = Kind::Idle;
        self.gauge(kind).fetch_add(1, Relaxed);
        Counted { gauges: self, kind }
    }

    /// Returns how many connections are of a kind.
    pub(crate) fn of(&self, kind: Kind) -> u32 {
        self.gauge(kind).load(Relaxed)
    }

    /// Returns how many requests were answered since the start.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// A request was answered.
    pub(crate) fn add_answer(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    fn gauge(&self, kind: Kind) -> &AtomicU32 {
        let [idle, busy, streaming, upgraded] = &self.kinds;
        match kind {
            Kind::Idle => idle,
            Kind::Busy => busy,
            Kind::Streaming => streaming,
            Kind::Upgraded => upgraded,
        }
    }
}

/// One connection's place in the counts. Dropping it takes the connection out.
#[derive(Debug)]
pub(crate) struct Counted {
    gauges: &'static Gauges,
    kind: Kind,
}

impl Counted {
    /// The connection is of this kind from now on.
    pub(crate) fn turn(&mut self, kind: Kind) {
        if self.kind != kind {
            self.gauges.gauge(self.kind).fetch_sub(1, Relaxed);
            self.gauges.gauge(kind).fetch_add(1, Relaxed);
            self.kind = kind;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauges.gauge(self.kind).fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
impl Gauges {
    /// Makes gauges of a test's own, for those of the process are everybody's.
    pub(crate) fn leaked() -> &'static Self {
        Box::leak(Box::new(Self::new()))
    }

    /// Returns the counts: idle, busy, streaming, upgraded.
    pub(crate) fn all(&self) -> [u32; 4] {
        [Kind::Idle, Kind::Busy, Kind::Streaming, Kind::Upgraded].map(|kind| self.of(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_counted_once_whatever_it_does() {
        let gauges = Gauges::leaked();
        let mut first = gauges.count();
        let mut second = gauges.count();
        assert_eq!(gauges.all(), [2, 0, 0, 0]);
        first.turn(Kind::Busy);
        first.turn(Kind::Streaming);
        second.turn(Kind::Upgraded);
        second.turn(Kind::Upgraded);
        assert_eq!(gauges.all(), [0, 0, 1, 1]);
        drop(second);
        first.turn(Kind::Idle);
        assert_eq!(gauges.all(), [1, 0, 0, 0]);
        drop(first);
        assert_eq!(gauges.all(), [0, 0, 0, 0]);
    }
}
