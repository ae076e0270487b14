//! Reads the head of an answer: status, how the body ends, whether the connection lives on.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response, Status};

use super::{BadAnswer, Label};

/// Most header fields of an answer. As many as our own server allows in a request.
const HEADERS_MAX: usize = 100;

/// What the head of an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) struct Head {
    /// The status code.
    pub(in crate::bench) status: u16,
    /// Whether nothing more will come on this connection.
    pub(in crate::bench) closes: bool,
    /// Who answered.
    pub(in crate::bench) worker: Option<Label>,
}

/// How the body of an answer ends, as its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// Reads a head from the front of `bytes`; returns it with its length, or `None` if it is not
/// complete yet.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(Head, Framing, usize)>, BadAnswer> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
    let mut response = Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut headers,
    );
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(BadAnswer("too many headers")),
        Err(_) => return Err(BadAnswer("the head is malformed")),
    };
    let fields = Fields::read(response.headers)?;
    let framing = fields.framing()?;
    let head = Head {
        status: response.code.unwrap_or(0),
        closes: fields.closes || is_old(&response, &fields),
        worker: fields.worker,
    };
    Ok(Some((head, framing, length)))
}

/// Whether it is an answer of HTTP/1.0 that does not say that the connection stays open.
fn is_old(response: &Response<'_, '_>, fields: &Fields) -> bool {
    response.version == Some(0) && !fields.stays
}

/// The header fields that matter to us.
#[derive(Debug, Default)]
struct Fields {
    content_length: Option<u64>,
    chunked: bool,
    closes: bool,
    stays: bool,
    worker: Option<Label>,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Self, BadAnswer> {
        let mut fields = Self::default();
        for header in headers {
            // Their lengths tell most headers apart from ours without looking at a letter.
            let name = header.name;
            match name.len() {
                10 if name.eq_ignore_ascii_case("connection") => fields.connection(header.value),
                11 if name.eq_ignore_ascii_case("x-worker-id") => {
                    fields.worker = Some(Label::new(header.value));
                }
                14 if name.eq_ignore_ascii_case("content-length") => {
                    fields.content_length(header.value)?;
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    fields.transfer_encoding(header.value)?;
                }
                _ => {}
            }
        }
        Ok(fields)
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.stays |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), BadAnswer> {
        let value = value.trim_ascii();
        // `parse` would take a sign, too.
        let digits = value.iter().all(u8::is_ascii_digit);
        let length = str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        let length = length
            .filter(|_| digits)
            .ok_or(BadAnswer("the content-length is no number"))?;
        match self.content_length.replace(length) {
            Some(other) if other != length => Err(BadAnswer("there are two content-lengths")),
            _ => Ok(()),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), BadAnswer> {
        if self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Err(BadAnswer("the transfer-encoding is not chunked"));
        }
        self.chunked = true;
        Ok(())
    }

    fn framing(&self) -> Result<Framing, BadAnswer> {
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(BadAnswer("it is chunked and has a content-length")),
            (true, None) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::Close),
        }
    }
}
