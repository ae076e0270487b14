//! Finds the end of a chunked body (RFC 9112, 7.1); what is in it is dropped.

use super::BadAnswer;

/// Most hexadecimal digits of a chunk size: as many as 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;

/// Most bytes of extensions and trailers in one body, as in our server: without a bound an
/// answer that never says anything would never end.
const PADDING_MAX: usize = 8 * 1024;

/// Where in the grammar the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the digits of a size, so many of them seen.
    Size {
        digits: u8,
    },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the first byte of a trailer line, further inside it, at its LF.
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    Done,
}

/// A chunked body on its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks {
    state: State,
    /// The size being read, then what is left of the chunk.
    remaining: u64,
    padding: usize,
}

impl Chunks {
    /// A body before its first chunk.
    pub(super) fn new() -> Self {
        Self {
            state: State::Size { digits: 0 },
            remaining: 0,
            padding: 0,
        }
    }

    /// Whether the last byte of the body has been consumed.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Consumes bytes up to the end of the body and returns how many.
    pub(super) fn consume(&mut self, bytes: &[u8]) -> Result<usize, BadAnswer> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            if self.state == State::Data {
                let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                let taken = wanted.min(bytes.len() - at);
                self.remaining -= taken as u64;
                at += taken;
                if self.remaining == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<State, BadAnswer> {
        match (self.state, byte) {
            (State::Size { digits }, b'\r') if digits > 0 => Ok(State::SizeLf),
            // Some servers pad their sizes with blanks, which are treated as an extension.
            (State::Size { digits }, b';' | b' ' | b'\t') if digits > 0 => Ok(State::Extension),
            (State::Size { digits }, _) => self.digit(digits, byte),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, _) => self.pad(State::Extension),
            (State::SizeLf, b'\n') if self.remaining > 0 => Ok(State::Data),
            (State::SizeLf | State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { digits: 0 }),
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, _) => self.pad(State::Trailer),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err(BadAnswer("a chunk is malformed")),
        }
    }

    fn digit(&mut self, digits: u8, byte: u8) -> Result<State, BadAnswer> {
        let digit = char::from(byte).to_digit(16);
        let digit = digit.filter(|_| digits < SIZE_DIGITS_MAX);
        let digit = digit.ok_or(BadAnswer("a chunk size is malformed"))?;
        self.remaining = (self.remaining << 4) | u64::from(digit);
        Ok(State::Size { digits: digits + 1 })
    }

    fn pad(&mut self, next: State) -> Result<State, BadAnswer> {
        self.padding += 1;
        if self.padding > PADDING_MAX {
            return Err(BadAnswer("the chunk extensions or trailers are endless"));
        }
        Ok(next)
    }
}
