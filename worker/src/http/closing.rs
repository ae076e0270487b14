//! Ends connections so that the client sees the last answer.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    answer::AnswerHead,
    exchange::{Answer, Exchange, Shared},
    refusal::Refusal,
    status::reason_phrase,
};

/// How long we listen after our last answer for the client to close.
///
/// A client that reads the answer closes within a round trip. nginx waits 5 s per packet;
/// a drain waits for this, so we are less patient.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// How much we read and drop meanwhile: an upload that was refused may still be coming.
const LINGER_BYTES: usize = 1024 * 1024;

/// How much of that is read at once.
const LINGER_READ: usize = 32 * 1024;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Shut down and drop: nothing is on its way to us, or the stream has failed anyway.
    Quiet,
    /// Shut down, then read on for a while. A socket that is closed with unread bytes in it
    /// sends a reset, and a reset destroys what the client has not yet read of our answer
    /// (RFC 9112, 9.6).
    Linger,
}

/// Answers in place of the handler. The connection ends after it.
pub(super) async fn refuse(shared: &Shared, refusal: Refusal) -> Ending {
    let body = format!(
        "{} {}: {}\n",
        refusal.status,
        reason_phrase(refusal.status),
        refusal.reason
    );
    let mut head = AnswerHead::default();
    head.set_status(refusal.status);
    head.add(b"content-type", b"text/plain");
    head.add(b"connection", b"close");
    {
        let mut exchange = shared.lock();
        exchange.answer = Answer::Awaited;
        if exchange.put_piece(&head, body.as_bytes(), true).is_err() {
            return Ending::Quiet;
        }
    }
    match poll_fn(|cx| shared.lock().poll_flush(cx)).await {
        Ok(()) => Ending::Linger,
        Err(_) => Ending::Quiet,
    }
}

/// Closes the connection; the stream is dropped by the caller.
pub(super) async fn close(shared: &Shared, ending: Ending) {
    shared.lock().wire.read_timer.clear();
    // The shutdown is not left to the drop: another process may still hold a copy of the
    // descriptor, and then a drop would not end the connection.
    let mut left = LINGER_BYTES;
    poll_fn(|cx| shared.lock().poll_close(cx, ending, &mut left)).await;
}

impl Exchange {
    /// How the connection ends after an answer that was sent.
    pub(super) fn ending(&self) -> Ending {
        let nothing_comes =
            !self.framing.keep_alive && self.body.is_finished() && self.wire.input.is_empty();
        // The client said itself that this was its last request, or has gone already.
        if nothing_comes || self.is_broken {
            Ending::Quiet
        } else {
            Ending::Linger
        }
    }

    /// Shuts down, then reads and drops until the client closes or patience ends.
    fn poll_close(&mut self, cx: &mut Context<'_>, ending: Ending, left: &mut usize) -> Poll<()> {
        if self.poll_ended(cx, ending, left).is_ready() {
            return Poll::Ready(());
        }
        self.wire.read_timer.poll_after(cx, LINGER_TIME)
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>, ending: Ending, left: &mut usize) -> Poll<()> {
        let is_shut = ready!(self.wire.poll_shutdown(cx)).is_ok();
        if !is_shut || ending == Ending::Quiet {
            return Poll::Ready(());
        }
        loop {
            let waiting = self.wire.input.unread().len();
            self.wire.input.consume(waiting);
            match ready!(self.wire.poll_fill(cx, LINGER_READ)) {
                Ok(count) if count > 0 && count <= *left => *left -= count,
                _ => return Poll::Ready(()),
            }
        }
    }
}
