//! The requests of one connection that have no answer yet, oldest first.

use std::collections::VecDeque;

use maitred::Moment;

/// A request without an answer, or with a part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Its place among those of the connection, counted from 1.
    pub(super) number: u64,
    /// Whether the connection lay idle after an earlier answer.
    pub(super) reused: bool,
    /// When the write that has its first byte began.
    pub(super) sent: Moment,
    pub(super) first_byte: Option<Moment>,
}

/// The requests in flight on one connection. At most as many as are pipelined.
#[derive(Debug)]
pub(super) struct InFlight {
    requests: VecDeque<Asked>,
    begun: u64,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self {
            requests: VecDeque::new(),
            begun: 0,
        }
    }

    /// Adds `count` requests that are being sent together.
    pub(super) fn begin(&mut self, count: u64, sent: Moment) {
        // Those that join others that are being served race with no idle timeout.
        let reused = self.begun > 0 && self.requests.is_empty();
        let numbers = self.begun + 1..=self.begun + count;
        self.requests.extend(numbers.map(|number| Asked {
            number,
            reused,
            sent,
            first_byte: None,
        }));
        self.begun += count;
    }

    /// Returns how many requests the connection has had.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn oldest(&self) -> Option<&Asked> {
        self.requests.front()
    }

    /// Notes that bytes have come, which belong to the oldest request.
    pub(super) fn hear(&mut self, now: Moment) {
        if let Some(oldest) = self.requests.front_mut() {
            oldest.first_byte.get_or_insert(now);
        }
    }

    /// Takes the oldest request out.
    pub(super) fn end(&mut self) -> Option<Asked> {
        self.requests.pop_front()
    }
}
