//! What a connection shares with the `Request` and the `Response` of the moment.
//!
//! The handler owns its request and response and may keep them anywhere, yet both need the
//! one stream. So stream, buffers and the state of the exchange lie in one place behind a
//! lock, and three hold it: connection, request, response. They take turns, on one thread
//! as a rule: the lock is never contended, and never held across an await.
//!
//! What can be done with an exchange stands where it is done: `connection` waits for a
//! request, `receiving` reads its body, `sending` writes its answer, `closing` ends it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{
    answer::{AnswerHead, Payload},
    body::Body,
    drain::Common,
    framing::Framing,
    head::Head,
    refusal::Refusal,
    scan::Scan,
    wire::Wire,
};
use crate::gauges::{Counted, Kind};

/// Memory for heads that an idle connection may keep; twice what common ones need.
const HEADS_KEPT: usize = 4 * 1024;

/// The exchange, as its holders see it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Exchange>>);

impl Shared {
    /// An exchange in which nothing was asked yet.
    pub(super) fn new(wire: Wire, common: Arc<Common>) -> Self {
        Self(Arc::new(Mutex::new(Exchange::new(wire, common))))
    }

    /// The exchange, for as long as one step takes.
    pub(super) fn lock(&self) -> MutexGuard<'_, Exchange> {
        // A panic ends the process or at least this connection, so what a poisoned lock
        // warns of is only ever seen by drops on the way out.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the answer has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing was said.
    Awaited,
    /// The head is written, the body is not complete.
    Open(Payload),
    /// A piece was begun and not finished, so that nothing sensible can follow.
    Torn,
    /// Complete, though perhaps not yet sent.
    Finished,
}

/// One request and its answer on a connection, then the next.
pub(super) struct Exchange {
    /// Stream and buffers.
    pub(super) wire: Wire,
    /// Limits and drain, which all connections of the server share.
    pub(super) common: Arc<Common>,
    /// How far the next head has been scanned.
    pub(super) scan: Scan,
    /// What the present request's head said.
    pub(super) framing: Framing,
    /// What is missing of its body.
    pub(super) body: Body,
    /// Why its body cannot be read further.
    pub(super) failure: Option<Refusal>,
    /// How far its answer is.
    pub(super) answer: Answer,
    /// Whether the connection lives on after it.
    pub(super) keep_alive: bool,
    /// Whether the stream failed: nothing more can be said to this client.
    pub(super) is_broken: bool,
    /// How many of the request and the response the application still holds.
    held: u8,
    /// What the connection counts as.
    pub(super) counted: Counted,
    /// Wakes the connection when it holds none any more.
    waiter: Option<Waker>,
    /// The vectors of the last request and response, for the next.
    pub(super) spare_head: Head,
    pub(super) spare_answer: AnswerHead,
}

impl Exchange {
    fn new(wire: Wire, common: Arc<Common>) -> Self {
        Self {
            wire,
            counted: common.gauges.count(),
            common,
            scan: Scan::default(),
            framing: Framing::UNKNOWN,
            body: Body::Known(0),
            failure: None,
            answer: Answer::Awaited,
            keep_alive: false,
            is_broken: false,
            held: 0,
            waiter: None,
            spare_head: Head::default(),
            spare_answer: AnswerHead::default(),
        }
    }

    /// Gives back the memory that a large request or answer made us allocate.
    pub(super) fn shrink(&mut self) {
        self.wire.shrink();
        if self.spare_head.size() + self.spare_answer.fields.capacity() > HEADS_KEPT {
            self.spare_head = Head::default();
            self.spare_answer = AnswerHead::default();
        }
    }

    /// Begins the exchange for a request whose head was just read.
    pub(super) fn begin(&mut self, framing: Framing) {
        self.framing = framing;
        self.body = Body::announced(&framing);
        self.failure = None;
        self.answer = Answer::Awaited;
        self.keep_alive = false;
        self.held = 2;
        self.counted.turn(Kind::Busy);
    }

    /// A request or a response came back.
    pub(super) fn release(&mut self) {
        self.held -= 1;
        if self.held == 0
            && let Some(waiter) = self.waiter.take()
        {
            waiter.wake();
        }
    }

    /// Ready once the application holds neither the request nor the response.
    pub(super) fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.held == 0 {
            return Poll::Ready(());
        }
        self.waiter = Some(cx.waker().clone());
        Poll::Pending
    }
}
