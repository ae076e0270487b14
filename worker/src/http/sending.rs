//! Writes the answer to the present request, and decides whether another may follow.

use std::{
    io,
    task::{Context, Poll, ready},
};

use super::{
    answer::{AnswerHead, Asked, Payload, invalid, push_chunk_size, write_head},
    body::Body,
    exchange::{Answer, Exchange},
    head::Head,
    scan::Scan,
};
use crate::gauges::Kind;

/// The longest rest of a body that we read and drop to keep a connection.
///
/// A reconnect costs a client one round trip; beyond this many bytes it is the cheaper way.
pub(super) const UNREAD_BODY_MAX: u64 = 64 * 1024;

/// Longest piece of an answer that is copied behind what is to be sent anyway. Anything
/// longer is sent from where it lies.
const COPY_MAX: usize = 16 * 1024;

impl Exchange {
    /// Sends all output.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx, &[], &mut 0)
    }

    /// Sends all output and then `data`, of which `done` bytes have gone.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
        done: &mut usize,
    ) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let sent = ready!(self.wire.poll_send(cx, data, done));
        self.is_broken = sent.is_err();
        Poll::Ready(sent)
    }

    /// Whether so much output waits that a writer should wait too.
    pub(super) fn is_clogged(&self) -> bool {
        self.wire.unsent() > COPY_MAX
    }

    /// Adds a piece of the answer's body to the output, and before it the head if that is
    /// due.
    ///
    /// A long piece is not copied: only what comes before it is added, and the caller is to
    /// send the piece itself and then call [`Self::finish_piece`] with the returned value.
    /// Until then the answer counts as torn, so that a caller who gives up half-way cannot
    /// be mistaken for one who was done.
    pub(super) fn put_piece(
        &mut self,
        head: &AnswerHead,
        piece: &[u8],
        is_last: bool,
    ) -> io::Result<Option<Payload>> {
        let payload = match self.open(head, is_last.then_some(piece.len() as u64))? {
            Payload::Length(left) => match left.checked_sub(piece.len() as u64) {
                Some(left) => Payload::Length(left),
                None => return Err(self.tear("the body is longer than its content-length")),
            },
            payload @ (Payload::Nothing | Payload::Chunked | Payload::UntilClose) => payload,
        };
        if payload == Payload::Nothing || piece.is_empty() {
            return self.finish_piece(payload, true, is_last).map(|()| None);
        }
        if payload == Payload::Chunked {
            push_chunk_size(&mut self.wire.output, piece.len() as u64);
        }
        if piece.len() > COPY_MAX {
            self.answer = Answer::Torn;
            self.counted.turn(Kind::Streaming);
            return Ok(Some(payload));
        }
        self.wire.output.extend_from_slice(piece);
        self.finish_piece(payload, false, is_last).map(|()| None)
    }

    /// Adds what follows a piece of the body, and what follows the last one.
    pub(super) fn finish_piece(
        &mut self,
        payload: Payload,
        is_empty: bool,
        is_last: bool,
    ) -> io::Result<()> {
        self.answer = Answer::Open(payload);
        if payload == Payload::Chunked && !is_empty {
            self.wire.output.extend_from_slice(b"\r\n");
        }
        if !is_last {
            self.counted.turn(Kind::Streaming);
            return Ok(());
        }
        match payload {
            Payload::Chunked => self.wire.output.extend_from_slice(b"0\r\n\r\n"),
            Payload::Length(left) if left > 0 => {
                return Err(self.tear("the body is shorter than its content-length"));
            }
            Payload::Nothing | Payload::Length(_) | Payload::UntilClose => {}
        }
        self.answer = Answer::Finished;
        Ok(())
    }

    /// Gives the answer up: all that can follow is the end of the connection.
    fn tear(&mut self, problem: &'static str) -> io::Error {
        self.answer = Answer::Torn;
        invalid(problem)
    }

    /// Writes the answer's head, if that has not been done.
    fn open(&mut self, head: &AnswerHead, whole: Option<u64>) -> io::Result<Payload> {
        match self.answer {
            Answer::Open(payload) => return Ok(payload),
            Answer::Torn | Answer::Finished => return Err(invalid("the answer is over")),
            Answer::Awaited => {}
        }
        if let Some(problem) = head.problem {
            return Err(invalid(problem));
        }
        let asked = Asked {
            is_http11: self.framing.is_http11,
            is_head: self.framing.is_head,
            keep_alive: self.may_live_on(),
        };
        let (payload, keep_alive) = write_head(head, asked, whole, &mut self.wire.output)?;
        self.keep_alive = keep_alive;
        Ok(payload)
    }

    /// Whether another request may follow on this connection, as things are now.
    fn may_live_on(&self) -> bool {
        self.framing.keep_alive
            && self.failure.is_none()
            // Whether this client will send its body after all is anyone's guess.
            && !self.framing.expects_continue
            && self.body.missing().is_none_or(|missing| missing <= UNREAD_BODY_MAX)
            && (!self.common.drain.has_begun() || self.has_another_request())
    }

    /// Whether a complete request waits behind the present one.
    ///
    /// After an answer with `Connection: close` nothing more may be answered (RFC 9112,
    /// 9.6). So, when draining, it goes on the answer to the last request that has arrived.
    fn has_another_request(&self) -> bool {
        let limits = &self.common.limits;
        let unread = self.wire.input.unread();
        let Some(rest) = self.body.end_within(unread).map(|end| &unread[end..]) else {
            return false;
        };
        let Ok(Some(place)) = Scan::default().advance(rest, limits) else {
            return false;
        };
        let end = place.end;
        Head::default()
            .read(&rest[place], limits)
            .is_ok_and(|framing| Body::announced(&framing).end_within(&rest[end..]).is_some())
    }
}
