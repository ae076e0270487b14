//! Think time: a client waits between an answer and its next request, as people do.
//!
//! Its connection lies idle meanwhile, and the server may close it, which is its good right.
//! The client sees that, thinks on, and opens another for its next request; only a request
//! that is on its way already when the server closes has failed, and nobody can prevent that
//! in HTTP/1.1 (RFC 9112, 9.3).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use maitred::Moment;
use tokio::sync::futures::Notified;

use super::{Alarm, set};
use crate::bench::load::Load;

/// What one client thinks. It goes on when the connection that it thinks on is closed.
#[derive(Debug)]
pub(super) struct Thinking<'a> {
    load: &'a Load,
    /// Resolves when no further request is to be begun.
    stopped: Pin<Box<Notified<'a>>>,
    until: Option<Moment>,
}

impl<'a> Thinking<'a> {
    /// A client that has not asked for anything yet.
    pub(super) fn new(load: &'a Load) -> Self {
        Self {
            load,
            stopped: Box::pin(load.stopped.notified()),
            until: None,
        }
    }

    /// Waits until the next request is to be sent, or there is to be none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, mut alarm: Alarm<'_>) -> Poll<()> {
        if self.until.is_none() {
            let now = Moment::now();
            let until = now + self.load.think_time();
            self.until = Some(until);
            set(alarm.as_mut(), now, until);
        }
        if !self.load.is_over() && self.stopped.as_mut().poll(cx).is_pending() {
            ready!(alarm.as_mut().poll(cx));
        }
        self.until = None;
        let now = Moment::now();
        set(alarm, now, now + self.load.timeout);
        Poll::Ready(())
    }

    /// Thinks to its end without a connection, if this load thinks at all.
    pub(super) async fn rest(&mut self, mut alarm: Alarm<'_>) {
        if self.load.thinks() {
            poll_fn(|cx| self.poll(cx, alarm.as_mut())).await;
        }
    }
}
