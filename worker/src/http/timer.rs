//! One deadline that moves often and is reached rarely.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline on a single `Sleep`, allocated once.
///
/// Each request moves the deadline back. Telling the runtime's timer wheel every time would
/// cost more than the rest of a small request, so the sleep keeps its old, earlier time;
/// when it fires too early it is set again. That is one idle wake-up per timeout instead
/// of two visits to the wheel per request.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    deadline: Option<Instant>,
}

impl Timer {
    /// Forgets the deadline: the next wait starts from the beginning.
    pub(super) fn clear(&mut self) {
        self.deadline = None;
    }

    /// Ready once `patience` has passed since the first poll after [`Self::clear`].
    pub(super) fn poll_after(&mut self, cx: &mut Context<'_>, patience: Duration) -> Poll<()> {
        let deadline = *self
            .deadline
            .get_or_insert_with(|| Instant::now() + patience);
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.deadline() < deadline {
            ready!(sleep.as_mut().poll(cx));
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}
