//! Reads the body of the present request.

use std::{
    io,
    task::{Context, Poll, ready},
};

use super::{
    exchange::{Answer, Exchange},
    refusal::Refusal,
};

/// How much of a body is read at once.
///
/// A system call costs about what copying this much costs.
const BODY_READ: usize = 32 * 1024;

impl Exchange {
    /// Remembers why the body cannot be read further.
    pub(super) fn fail(&mut self, refusal: Refusal) -> io::Error {
        self.failure = Some(refusal);
        refusal.into()
    }

    /// Appends the next piece of the request's body to `data`; false if there is none.
    ///
    /// Cancel safe: bytes leave the connection in the very poll that hands them out.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Vec<u8>,
    ) -> Poll<io::Result<bool>> {
        let before = data.len();
        loop {
            if let Some(refusal) = self.failure {
                return Poll::Ready(Err(refusal.into()));
            }
            match self.body.take(self.wire.input.unread(), data) {
                Ok(0) => {}
                Ok(count) => {
                    self.wire.input.consume(count);
                    // Whoever has begun to send is not waiting to be invited.
                    self.framing.expects_continue = false;
                }
                Err(refusal) => return Poll::Ready(Err(self.fail(refusal))),
            }
            if data.len() > before {
                return Poll::Ready(Ok(true));
            }
            if self.body.is_finished() {
                return Poll::Ready(Ok(false));
            }
            ready!(self.poll_more_body(cx))?;
        }
    }

    /// Waits for the client's next bytes in the middle of a body.
    fn poll_more_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.invite_body(cx)?;
        // A short rest needs no large buffer.
        let rest = self.body.missing().unwrap_or(u64::MAX);
        self.wire
            .input
            .reserve(usize::try_from(rest).unwrap_or(usize::MAX).min(BODY_READ));
        let Poll::Ready(read) = self.wire.poll_fill(cx, BODY_READ) else {
            ready!(
                self.wire
                    .read_timer
                    .poll_after(cx, self.common.limits.body_timeout)
            );
            return Poll::Ready(Err(self.fail(Refusal::SLOW_BODY)));
        };
        self.wire.read_timer.clear();
        let read = read.and_then(|count| match count {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        });
        self.is_broken = read.is_err();
        Poll::Ready(read)
    }

    /// Tells a client that waits for it to go on (RFC 9110, 10.1.1), unless it has had an
    /// answer already.
    fn invite_body(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.framing.expects_continue && self.answer == Answer::Awaited {
            self.wire
                .output
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.framing.expects_continue = false;
        }
        if self.answer == Answer::Awaited && self.wire.unsent() > 0 {
            // Pending is fine: this has asked to be woken, and the next poll sends the rest.
            if let Poll::Ready(sent) = self.poll_flush(cx) {
                sent?;
            }
        }
        Ok(())
    }
}
