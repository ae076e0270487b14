//! Decodes the chunked transfer coding (RFC 9112, 7.1), strictly.
//!
//! A plain state machine over bytes: it never looks back, so it does not matter how the
//! network cut them. Extensions and trailer fields are checked, bounded and dropped.

use super::refusal::Refusal;

/// Most hexadecimal digits of a chunk size: as many as 64 bits hold.
const SIZE_DIGITS_MAX: u8 = 16;

/// Most bytes of chunk extensions in one body.
///
/// Nobody sends any. Without a bound a client can make a server read for ever without ever
/// sending a byte of body (that was Node's CVE-2024-22019).
const EXTENSION_BYTES_MAX: usize = 4 * 1024;

/// Most bytes of trailer fields, which are read only to find their end.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

/// Where in the grammar the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the digits of a chunk size, so many of them seen.
    Size {
        digits: u8,
    },
    /// After the `;` that follows a size.
    Extension,
    /// At the LF that ends a size line.
    SizeLf,
    /// Within a chunk's data; `remaining` says how much is left.
    Data,
    /// At the CR, and then the LF, after a chunk's data.
    DataCr,
    DataLf,
    /// At the first byte of a trailer line, in its name, in its value, at its LF.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// At the LF of the empty line that ends it all.
    LastLf,
    Done,
}

/// A chunked body on its way in.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    state: State,
    /// The size being read, then what is left of the chunk.
    remaining: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

impl Decoder {
    /// A decoder before the first chunk.
    pub(super) fn new() -> Self {
        Self {
            state: State::Size { digits: 0 },
            remaining: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// Whether the last byte of the body has been consumed.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Consumes bytes from the front of `input`, appends the data among them to `data`,
    /// and returns how many it consumed: all, or up to the end of the body.
    ///
    /// # Errors
    ///
    /// 400 for anything that strays from the grammar, 431 for endless trailers.
    pub(super) fn decode(&mut self, input: &[u8], data: &mut Vec<u8>) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < input.len() && !self.is_done() {
            if self.state == State::Data {
                let rest = &input[at..];
                let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX);
                let taken = wanted.min(rest.len());
                data.extend_from_slice(&rest[..taken]);
                self.remaining -= taken as u64;
                at += taken;
                if self.remaining == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(input[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// The state after one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size { digits }, _) => self.step_size(digits, byte),
            (State::Extension, _) => self.step_extension(byte),
            (State::SizeLf, b'\n') if self.remaining > 0 => Ok(State::Data),
            (State::SizeLf, b'\n') => Ok(State::TrailerStart),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { digits: 0 }),
            (
                State::TrailerStart
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::LastLf,
                _,
            ) => self.step_trailer(byte),
            (State::DataCr | State::DataLf, _) => {
                Err(Refusal::bad("a chunk is longer than its size"))
            }
            (State::SizeLf | State::Data | State::Done, _) => {
                Err(Refusal::bad("a chunk size line is malformed"))
            }
        }
    }

    /// A byte of a chunk size. No white space, no sign, no `0x`.
    fn step_size(&mut self, digits: u8, byte: u8) -> Result<State, Refusal> {
        match byte {
            b'\r' if digits > 0 => Ok(State::SizeLf),
            b';' if digits > 0 => Ok(State::Extension),
            _ if digits < SIZE_DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16);
                let digit = digit.ok_or(Refusal::bad("a chunk size is malformed"))?;
                self.remaining = (self.remaining << 4) | u64::from(digit);
                Ok(State::Size { digits: digits + 1 })
            }
            _ => Err(Refusal::bad("a chunk size is malformed")),
        }
    }

    /// A byte of a chunk extension, which means nothing to us.
    fn step_extension(&mut self, byte: u8) -> Result<State, Refusal> {
        self.extension_bytes += 1;
        match byte {
            b'\r' => Ok(State::SizeLf),
            _ if self.extension_bytes > EXTENSION_BYTES_MAX => {
                Err(Refusal::bad("the chunk extensions are too long"))
            }
            _ if is_field_text(byte) => Ok(State::Extension),
            _ => Err(Refusal::bad("a chunk extension is malformed")),
        }
    }

    /// A byte after the last chunk: trailer fields, then an empty line.
    fn step_trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(Refusal::HEAD_TOO_LARGE);
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                Ok(State::TrailerName)
            }
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_field_text(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err(Refusal::bad("the trailer fields are malformed")),
        }
    }
}

/// Whether a byte may stand in a field value (RFC 9110, 5.5): no control but the tab.
pub(super) fn is_field_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether a byte may stand in a token, such as a field name (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
