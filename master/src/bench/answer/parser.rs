//! Cuts what a connection brings into answers.

use super::chunks::Chunks;
use super::head::{self, Framing};
use super::{BadAnswer, Head};

/// Longest head of an answer: four times what our server allows a request, as cookies and
/// policies make answers longer.
const HEAD_MAX: usize = 64 * 1024;

/// What was asked, as far as it changes where an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Asked {
    /// For an answer with its body.
    Body,
    /// For the head alone, by `HEAD`.
    Head,
}

/// Where in an answer the next byte stands.
#[derive(Debug)]
enum State {
    Head,
    Length(Head, u64),
    Chunked(Head, Chunks),
    UntilClose(Head),
}

/// The answers of one connection, in order.
#[derive(Debug)]
pub(in crate::bench) struct Parser {
    asked: Asked,
    state: State,
    /// The beginning of a head whose end has not come yet. Most heads come whole and are read
    /// where they lie; this is empty then.
    begun: Vec<u8>,
}

impl Parser {
    /// A parser before the first answer.
    pub(in crate::bench) fn new(asked: Asked) -> Self {
        Self {
            asked,
            state: State::Head,
            begun: Vec::new(),
        }
    }

    /// Consumes bytes up to the end of one answer at most; returns how many, and the answer
    /// if its end was among them.
    ///
    /// # Errors
    ///
    /// Why these bytes are no answer. Nothing sensible follows after that.
    pub(in crate::bench) fn feed(
        &mut self,
        bytes: &[u8],
    ) -> Result<(usize, Option<Head>), BadAnswer> {
        match &mut self.state {
            State::Head => self.feed_head(bytes),
            State::Length(head, remaining) => {
                let head = *head;
                let wanted = usize::try_from(*remaining).unwrap_or(usize::MAX);
                let taken = wanted.min(bytes.len());
                *remaining -= taken as u64;
                let is_done = *remaining == 0;
                Ok((taken, self.complete_if(is_done, head)))
            }
            State::Chunked(head, chunks) => {
                let head = *head;
                let taken = chunks.consume(bytes)?;
                let is_done = chunks.is_done();
                Ok((taken, self.complete_if(is_done, head)))
            }
            State::UntilClose(_) => Ok((bytes.len(), None)),
        }
    }

    /// Is told that the connection was closed; returns the answer that this completes.
    pub(in crate::bench) fn close(&mut self) -> Option<Head> {
        let State::UntilClose(head) = self.state else {
            return None;
        };
        self.complete_if(true, head)
    }

    fn complete_if(&mut self, is_done: bool, head: Head) -> Option<Head> {
        is_done.then(|| {
            self.state = State::Head;
            head
        })
    }

    fn feed_head(&mut self, bytes: &[u8]) -> Result<(usize, Option<Head>), BadAnswer> {
        let before = self.begun.len();
        let read = if before == 0 {
            head::read(bytes)?
        } else {
            let kept = bytes.len().min(HEAD_MAX - before);
            self.begun.extend_from_slice(&bytes[..kept]);
            head::read(&self.begun)?
        };
        let Some((head, framing, length)) = read else {
            return self.keep_head(before, bytes);
        };
        self.begun.clear();
        Ok((length - before, self.enter(head, framing)?))
    }

    /// Keeps the beginning of a head until the rest comes.
    fn keep_head(
        &mut self,
        before: usize,
        bytes: &[u8],
    ) -> Result<(usize, Option<Head>), BadAnswer> {
        if before + bytes.len() >= HEAD_MAX {
            return Err(BadAnswer("the head is too long"));
        }
        if before == 0 {
            self.begun.extend_from_slice(bytes);
        }
        Ok((bytes.len(), None))
    }

    /// Goes on behind a head; returns it if there is no body.
    fn enter(&mut self, head: Head, framing: Framing) -> Result<Option<Head>, BadAnswer> {
        match head.status {
            // We ask for no other protocol, so there is none to switch to.
            101 => return Err(BadAnswer("it switches protocols, unasked")),
            // An interim answer; the answer itself follows.
            100..=199 => return Ok(None),
            // No body, whatever the head says of one.
            204 | 304 => return Ok(Some(head)),
            _ if self.asked == Asked::Head => return Ok(Some(head)),
            _ => {}
        }
        self.state = match framing {
            Framing::Length(0) => return Ok(Some(head)),
            Framing::Length(length) => State::Length(head, length),
            Framing::Chunked => State::Chunked(head, Chunks::new()),
            Framing::Close => State::UntilClose(Head {
                closes: true,
                ..head
            }),
        };
        Ok(None)
    }
}
