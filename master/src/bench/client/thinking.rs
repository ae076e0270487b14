//! Think time: a connection lies idle between an answer and the next request, as people's do.
//!
//! A server may close it meanwhile, which is its good right. The client sees that and opens
//! another for its next request; only a request that is on its way already when the server
//! closes has failed, and nobody can prevent that in HTTP/1.1 (RFC 9112, 9.3).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::futures::Notified;

use super::{Alarm, set};
use crate::bench::clock::Moment;
use crate::bench::load::Load;

/// Rings when no further request is to be begun.
pub(super) type Stopped<'a, 'b> = Pin<&'a mut Notified<'b>>;

/// What one connection thinks.
#[derive(Debug, Default)]
pub(super) struct Thinking {
    until: Option<Moment>,
}

impl Thinking {
    /// Waits until the next request is to be sent, or there is to be none.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        load: &Load,
        (mut alarm, stopped): (Alarm<'_>, Stopped<'_, '_>),
    ) -> Poll<()> {
        if self.until.is_none() {
            let now = Moment::now();
            let until = now + load.think_time();
            self.until = Some(until);
            set(alarm.as_mut(), now, until);
        }
        if !load.is_over() && stopped.poll(cx).is_pending() {
            ready!(alarm.as_mut().poll(cx));
        }
        self.until = None;
        let now = Moment::now();
        set(alarm, now, now + load.timeout);
        Poll::Ready(())
    }
}
