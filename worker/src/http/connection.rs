//! One connection, from its first byte to its last.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::futures::Notified;

use super::{
    closing::{Ending, close, refuse},
    drain::Common,
    exchange::{Answer, Exchange, Shared},
    framing::Framing,
    head::Head,
    refusal::Refusal,
    request::Request,
    response::Response,
    scan::Scan,
    sending::UNREAD_BODY_MAX,
};
use crate::gauges::Kind;

/// Room beyond the longest head, so that a full buffer always means a head over its limit:
/// the few empty lines that may come before it fit here.
const HEAD_SLACK: usize = 16;

/// Serves one connection: requests in order, one handler at a time.
///
/// Gives way once after every answer, however much is waiting to be answered. The server
/// counts on that: see `turn`.
pub(super) async fn run<H, F>(
    shared: Shared,
    remote: Option<SocketAddr>,
    handler: &H,
    common: Arc<Common>,
) where
    H: Fn(Request, Response) -> F,
    F: Future<Output = io::Result<()>>,
{
    let mut goodbye = pin!(common.drain.wake_idle.notified());
    let mut is_first = true;
    let ending = loop {
        let head = match next_request(&shared, goodbye.as_mut(), is_first).await {
            Arrival::Request(head) => head,
            Arrival::Refused(refusal) => {
                // The request before this one says nothing about it.
                shared.lock().framing = Framing::UNKNOWN;
                break refuse(&shared, refusal).await;
            }
            Arrival::Ended(ending) => break ending,
        };
        is_first = false;
        let request = Request::new(head, remote, shared.clone());
        let spare = std::mem::take(&mut shared.lock().spare_answer);
        let response = Response::new(spare, shared.clone());
        // An error is the handler's way to give up; what to make of it shows in how far
        // the answer got. Usually the client is gone.
        let _ = handler(request, response).await;
        let settled = settle(&shared).await;
        shared.lock().counted.turn(Kind::Idle);
        if let Some(ending) = settled {
            break ending;
        }
        give_way().await;
    };
    close(&shared, ending).await;
}

/// What came of waiting for a request.
enum Arrival {
    Request(Head),
    Refused(Refusal),
    Ended(Ending),
}

/// Waits for the next request's head.
async fn next_request(
    shared: &Shared,
    mut goodbye: Pin<&mut Notified<'_>>,
    is_first: bool,
) -> Arrival {
    poll_fn(|cx| shared.lock().poll_request(cx, goodbye.as_mut(), is_first)).await
}

/// Brings an exchange to its end once the handler is done; `None` if the connection goes on.
async fn settle(shared: &Shared) -> Option<Ending> {
    poll_fn(|cx| shared.lock().poll_released(cx)).await;
    let refusal = {
        let exchange = shared.lock();
        match exchange.answer {
            _ if exchange.is_broken => return Some(Ending::Quiet),
            Answer::Finished => {
                exchange.common.gauges.add_answer();
                None
            }
            Answer::Awaited => Some(exchange.failure.unwrap_or(Refusal::UNANSWERED)),
            // The client must not take a torn answer for a whole one, so it sees the end
            // of the stream where the rest should be.
            Answer::Open(_) | Answer::Torn => return Some(Ending::Quiet),
        }
    };
    if let Some(refusal) = refusal {
        return Some(refuse(shared, refusal).await);
    }
    // Usually sent already; not if the handler was done before its own `end` was.
    if poll_fn(|cx| shared.lock().poll_flush(cx)).await.is_err() {
        return Some(Ending::Quiet);
    }
    if shared.lock().keep_alive && skip_body(shared).await.is_ok() {
        return None;
    }
    Some(shared.lock().ending())
}

/// Reads and drops what the handler left of the body, if that is not too much.
async fn skip_body(shared: &Shared) -> io::Result<()> {
    let mut skipped = 0;
    let mut piece = Vec::new();
    while !shared.lock().body.is_finished() {
        piece.clear();
        poll_fn(|cx| shared.lock().poll_body(cx, &mut piece)).await?;
        skipped += piece.len() as u64;
        if skipped > UNREAD_BODY_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
    }
    // A body that failed after the answer was begun ends the connection all the same.
    shared
        .lock()
        .failure
        .map_or(Ok(()), |refusal| Err(refusal.into()))
}

/// Lets the server's other connections, and its accept, go first.
async fn give_way() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Exchange {
    /// Reads until a whole head is there, a limit is reached, or the connection ends.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        goodbye: Pin<&mut Notified<'_>>,
        is_first: bool,
    ) -> Poll<Arrival> {
        loop {
            match self.find_request() {
                Ok(None) => {}
                Ok(Some(head)) => return Poll::Ready(Arrival::Request(head)),
                Err(refusal) => return Poll::Ready(Arrival::Refused(refusal)),
            }
            let has_begun = !self.wire.input.is_empty();
            match self
                .wire
                .poll_fill(cx, self.common.limits.head_bytes + HEAD_SLACK)
            {
                Poll::Ready(Ok(0)) => return Poll::Ready(Arrival::Ended(Ending::Quiet)),
                // From the first byte on another patience applies, and it starts anew.
                Poll::Ready(Ok(_)) if !has_begun => self.wire.read_timer.clear(),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Arrival::Ended(Ending::Quiet)),
                Poll::Pending if has_begun => return self.poll_slow_head(cx),
                Poll::Pending => return self.poll_idle(cx, goodbye, is_first),
            }
        }
    }

    /// Takes a head from the input, if a whole one is there, and begins its exchange.
    fn find_request(&mut self) -> Result<Option<Head>, Refusal> {
        let unread = self.wire.input.unread();
        let Some(place) = self.scan.advance(unread, &self.common.limits)? else {
            return Ok(None);
        };
        self.scan = Scan::default();
        let mut head = std::mem::take(&mut self.spare_head);
        let framing = head.read(&unread[place.clone()], &self.common.limits)?;
        self.wire.input.consume(place.end);
        self.wire.read_timer.clear();
        self.begin(framing);
        Ok(Some(head))
    }

    /// Waits on in the middle of a head.
    fn poll_slow_head(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        let patience = self.common.limits.head_timeout;
        self.wire
            .read_timer
            .poll_after(cx, patience)
            .map(|()| Arrival::Refused(Refusal::SLOW_HEAD))
    }

    /// Waits on for the first byte of a request.
    fn poll_idle(
        &mut self,
        cx: &mut Context<'_>,
        goodbye: Pin<&mut Notified<'_>>,
        is_first: bool,
    ) -> Poll<Arrival> {
        self.shrink();
        let limits = &self.common.limits;
        let patience = if is_first {
            limits.head_timeout
        } else {
            limits.idle_timeout
        };
        // Registers for the wake-up, and only then looks at the flag, which is what counts:
        // in the other order the wake-up could come in between, and be missed.
        let _ = goodbye.poll(cx);
        if self.common.drain.grace_is_over()
            || self.wire.read_timer.poll_after(cx, patience).is_ready()
        {
            return Poll::Ready(Arrival::Ended(Ending::Quiet));
        }
        Poll::Pending
    }
}
