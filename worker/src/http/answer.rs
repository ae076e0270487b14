//! Writes answers: the status line, the header fields, and what delimits the body.

use std::io;

use super::{
    chunked::{is_field_text, is_token},
    date, framing,
    status::reason_phrase,
};

/// What the application has said about an answer so far.
#[derive(Debug, Default)]
pub(super) struct AnswerHead {
    /// The status code; 200 if nothing was said.
    pub(super) status: Option<u16>,
    /// The header fields as they will be sent.
    pub(super) fields: Vec<u8>,
    /// The application's own `Content-Length`.
    content_length: Option<u64>,
    has_date: bool,
    /// Whether the application asked to close the connection.
    pub(super) close: bool,
    /// The first thing that was wrong with what it said.
    pub(super) problem: Option<&'static str>,
}

impl AnswerHead {
    /// Sets the status code.
    pub(super) fn set_status(&mut self, status: u16) {
        if (200..=999).contains(&status) {
            self.status = Some(status);
        } else {
            self.complain("a final status code is between 200 and 999");
        }
    }

    /// Adds a header field, unless it could break the answer's framing.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) {
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return self.complain("a header field's name is not a token");
        }
        // With a CR or LF in a value, whoever controls the value writes header fields and
        // whole answers of their own.
        if !value.iter().copied().all(is_field_text) {
            return self.complain("a header field's value has a control character");
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            4 if is("date") => self.has_date = true,
            10 if is("connection") => return self.set_connection(value),
            14 if is("content-length") => return self.set_content_length(value),
            17 if is("transfer-encoding") => {
                return self.complain("the server chooses the transfer coding itself");
            }
            _ => {}
        }
        push_field(&mut self.fields, name, value);
    }

    /// `Connection`: the application may ask for the end, no more.
    fn set_connection(&mut self, value: &[u8]) {
        if value.eq_ignore_ascii_case(b"close") {
            self.close = true;
        } else if !value.eq_ignore_ascii_case(b"keep-alive") {
            self.complain("the only connection option an answer may carry is close");
        }
    }

    fn set_content_length(&mut self, value: &[u8]) {
        match framing::decimal(value.trim_ascii()) {
            Some(length) if self.content_length.is_none_or(|earlier| earlier == length) => {
                self.content_length = Some(length);
            }
            _ => self.complain("the content-length is malformed or contradicts an earlier one"),
        }
    }

    /// Remembers the first problem; answering will fail with it.
    fn complain(&mut self, problem: &'static str) {
        self.problem.get_or_insert(problem);
    }

    /// Empties this for the next answer, keeping the memory.
    pub(super) fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self {
            fields,
            ..Self::default()
        };
    }
}

/// How the body of an answer is delimited (RFC 9112, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// There must be none; what the application writes is dropped.
    Nothing,
    /// So many bytes are still to be written.
    Length(u64),
    /// In chunks, ended by an empty one.
    Chunked,
    /// By the end of the connection: for HTTP/1.0 clients, who do not know chunks.
    UntilClose,
}

/// What the answer has to know of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) is_http11: bool,
    pub(super) is_head: bool,
    /// Whether the connection may live on after this answer.
    pub(super) keep_alive: bool,
}

/// Writes an answer's head to `out`. `whole` is the body's length, if all of it is known.
///
/// Returns how the body is delimited and whether the connection lives on.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] if the application's `Content-Length` is not that of
/// its body; nothing has been written then.
pub(super) fn write_head(
    head: &AnswerHead,
    asked: Asked,
    whole: Option<u64>,
    out: &mut Vec<u8>,
) -> io::Result<(Payload, bool)> {
    let status = head.status.unwrap_or(200);
    let has_body = !asked.is_head && status != 204 && status != 304;
    if has_body && whole.is_some() && head.content_length.is_some_and(|said| Some(said) != whole) {
        return Err(invalid("the content-length is not that of the body"));
    }
    let length = match head.content_length.or(whole) {
        _ if status == 204 => None,
        // An empty body says nothing here about the one that GET would have brought.
        Some(0) if !has_body && head.content_length.is_none() => None,
        _ if status == 304 => head.content_length,
        length => length,
    };
    let payload = match length {
        _ if !has_body => Payload::Nothing,
        Some(length) => Payload::Length(length),
        None if asked.is_http11 => Payload::Chunked,
        None => Payload::UntilClose,
    };
    let keep_alive = asked.keep_alive && !head.close && payload != Payload::UntilClose;

    push_status_line(out, status);
    out.extend_from_slice(&head.fields);
    if let Some(length) = length {
        out.extend_from_slice(b"content-length: ");
        push_decimal(out, length);
        out.extend_from_slice(b"\r\n");
    }
    if payload == Payload::Chunked {
        push_field(out, b"transfer-encoding", b"chunked");
    }
    match (asked.is_http11, keep_alive) {
        (_, false) => push_field(out, b"connection", b"close"),
        (false, true) => push_field(out, b"connection", b"keep-alive"),
        // What HTTP/1.1 means anyway needs no saying.
        (true, true) => {}
    }
    if !head.has_date {
        out.extend_from_slice(b"date: ");
        date::push_now(out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok((payload, keep_alive))
}

/// The error for an answer that cannot be sent as the application put it.
pub(super) fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

fn push_status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in decimal digits.
fn push_decimal(out: &mut Vec<u8>, number: u64) {
    push_digits(out, number, 10);
}

/// Appends a chunk's size line (RFC 9112, 7.1).
pub(super) fn push_chunk_size(out: &mut Vec<u8>, size: u64) {
    push_digits(out, size, 16);
    out.extend_from_slice(b"\r\n");
}

/// Appends a number in a base up to 16, without the machinery of `format!`.
fn push_digits(out: &mut Vec<u8>, mut number: u64, base: u64) {
    // 64 bits need at most 20 digits, in base 10.
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(number % base) as usize];
        number /= base;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
