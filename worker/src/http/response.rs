//! What a handler answers.

use std::{fmt, future::poll_fn, io};

use super::{answer::AnswerHead, exchange::Shared};

/// The answer to one request, to be completed by [`end`](Response::end).
///
/// The head is sent with the first piece of the body, so status and header fields come
/// before. `Date`, `Content-Length`, `Transfer-Encoding` and `Connection` are added as
/// needed (RFC 9110, 6.6.1 and 8.6; RFC 9112, 6 and 9).
///
/// A response that is dropped before anything was sent makes the server answer 500; one
/// that is dropped in the middle ends the connection in the middle of the body, so that
/// the client can tell.
///
/// # Examples
///
/// ```
/// # use maitred_worker::http::{Request, Response};
/// async fn count(_request: Request, response: Response) -> std::io::Result<()> {
///     let mut response = response.status(200).header("content-type", "text/plain");
///     for number in 1..=3 {
///         response.write(format!("{number}\n")).await?;
///     }
///     response.end("done\n").await
/// }
/// ```
pub struct Response {
    head: AnswerHead,
    shared: Shared,
}

impl Response {
    /// The answer to the request that `shared` is at.
    pub(super) fn new(head: AnswerHead, shared: Shared) -> Self {
        Self { head, shared }
    }

    /// Sets the status code, 200 unless told. Codes below 200 announce another answer and
    /// over 999 do not exist; both make sending fail.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.head.set_status(status);
        self
    }

    /// Adds a header field; fields of one name are not merged.
    ///
    /// A name that is not a token or a value with a control character makes sending fail,
    /// so nothing a client smuggles into a value can become a header of its own. So does
    /// a `Transfer-Encoding`, which is the server's affair. `Connection: close` ends the
    /// connection after this answer. `Content-Length` announces what [`Response::write`]
    /// will write, or what `GET` would have brought in an answer to `HEAD`.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.head.add(name.as_ref(), value.as_ref());
        self
    }

    /// Sends a piece of the body, at once; before the first one also the head.
    ///
    /// Without a `Content-Length` of yours the body is sent in chunks, or to an HTTP/1.0
    /// client until the connection ends. Where there must be no body (`HEAD`, 204, 304)
    /// what you write is dropped.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a head that cannot be sent or a
    /// body over its `Content-Length`; [`TimedOut`](io::ErrorKind::TimedOut) when the
    /// client takes nothing for [`Limits::write_timeout`](super::Limits::write_timeout);
    /// or what the stream reports.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: of a long piece a part may have gone. The answer is then torn, and
    /// later calls fail.
    pub async fn write(&mut self, piece: impl AsRef<[u8]>) -> io::Result<()> {
        // Someone who cancels write after write must not pile up output for ever.
        if self.shared.lock().is_clogged() {
            poll_fn(|cx| self.shared.lock().poll_flush(cx)).await?;
        }
        self.send(piece.as_ref(), false).await
    }

    /// Sends the last piece of the body, which may be empty, and completes the answer.
    ///
    /// After no [`Response::write`] the whole answer leaves in a single write, with a
    /// `Content-Length`. Resolves when the stream has taken all of it.
    ///
    /// # Errors
    ///
    /// As [`Response::write`], and [`InvalidInput`](io::ErrorKind::InvalidInput) if the
    /// body is not as long as its `Content-Length`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the answer may be torn.
    pub async fn end(mut self, piece: impl AsRef<[u8]>) -> io::Result<()> {
        self.send(piece.as_ref(), true).await
    }

    async fn send(&mut self, piece: &[u8], is_last: bool) -> io::Result<()> {
        let apart = self.shared.lock().put_piece(&self.head, piece, is_last)?;
        if let Some(payload) = apart {
            let mut done = 0;
            poll_fn(|cx| self.shared.lock().poll_send(cx, piece, &mut done)).await?;
            self.shared.lock().finish_piece(payload, false, is_last)?;
            // The line ending after a chunk can wait for the next one: the client has all
            // the data, and we save a system call.
            if !is_last {
                return Ok(());
            }
        }
        poll_fn(|cx| self.shared.lock().poll_flush(cx)).await
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        self.head.clear();
        let mut exchange = self.shared.lock();
        exchange.spare_answer = std::mem::take(&mut self.head);
        exchange.release();
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.head.status)
            .finish_non_exhaustive()
    }
}
