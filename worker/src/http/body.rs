//! How much of a request's body is still to come.

use super::{
    chunked::Decoder,
    framing::{BodyLength, Framing},
    refusal::Refusal,
};

/// A request body on its way in. Pure: it is fed bytes, it does not read.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// So many bytes are missing.
    Known(u64),
    /// The last chunk has not been seen.
    Chunked(Decoder),
}

impl Body {
    /// The body that a head announces.
    pub(super) fn announced(framing: &Framing) -> Self {
        match framing.body {
            BodyLength::Known(length) => Self::Known(length),
            BodyLength::Chunked => Self::Chunked(Decoder::new()),
        }
    }

    /// Whether all of it has been consumed.
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Self::Known(missing) => *missing == 0,
            Self::Chunked(decoder) => decoder.is_done(),
        }
    }

    /// How many bytes are missing; `None` if only the client knows.
    pub(super) fn missing(&self) -> Option<u64> {
        match self {
            Self::Known(missing) => Some(*missing),
            Self::Chunked(decoder) => decoder.is_done().then_some(0),
        }
    }

    /// Consumes from the front of `input`, appends the content to `data`, and returns how
    /// many bytes it consumed: all, or up to the end of the body.
    pub(super) fn take(&mut self, input: &[u8], data: &mut Vec<u8>) -> Result<usize, Refusal> {
        match self {
            Self::Known(missing) => {
                let wanted = usize::try_from(*missing).unwrap_or(usize::MAX);
                let taken = wanted.min(input.len());
                data.extend_from_slice(&input[..taken]);
                *missing -= taken as u64;
                Ok(taken)
            }
            Self::Chunked(decoder) => decoder.decode(input, data),
        }
    }

    /// Where in `input` this body ends, if it does.
    pub(super) fn end_within(&self, input: &[u8]) -> Option<usize> {
        if let Self::Known(missing) = self {
            return usize::try_from(*missing)
                .ok()
                .filter(|&end| end <= input.len());
        }
        let mut rehearsal = self.clone();
        let end = rehearsal.take(input, &mut Vec::new()).ok()?;
        rehearsal.is_finished().then_some(end)
    }
}
