//! Finds the end of a request head, strictly.
//!
//! httparse takes a bare LF for the end of a line, as RFC 9112 (2.2) allows. A proxy in
//! front of us may not, and two readers that disagree about where a line ends can be made
//! to disagree about where a request ends: that is request smuggling. So we look at every
//! line ending ourselves before httparse sees the head, and accept CRLF only.
//!
//! The scan remembers how far it came. A client that sends one byte at a time costs one
//! step a byte, not one pass over the whole head a byte.

use std::ops::Range;

use memchr::memchr2;

use super::{Limits, refusal::Refusal};

/// Most empty lines skipped before a request line.
///
/// RFC 9112 (2.2) asks for at least one, because some old clients send an extra CRLF after
/// a body. More than a few is no such mistake.
const EMPTY_LINES_MAX: usize = 4;

/// A position in a head that is still arriving. Starts anew for each request.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Everything before this was seen.
    at: usize,
    /// Where the line being scanned began.
    line_start: usize,
    /// Where the head began, after empty lines.
    head_start: usize,
    /// Complete lines of the head so far.
    lines: usize,
    /// Empty lines skipped before the head.
    empty_lines: usize,
}

impl Scan {
    /// Scans on in `bytes`, which begins where it began at the last call and may have
    /// grown. Returns where the head lies, once it is complete.
    ///
    /// # Errors
    ///
    /// The refusal for a head that is malformed or beyond the limits, as early as the
    /// bytes show it.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<Range<usize>>, Refusal> {
        while let Some(found) = memchr2(b'\r', b'\n', &bytes[self.at..]) {
            self.at += found;
            match bytes[self.at..] {
                [b'\r', b'\n', ..] => {}
                // The LF may be in the next packet: look at this CR again then.
                [b'\r'] => break,
                _ => return Err(Refusal::bad("a line ends in a bare CR or LF")),
            }
            if self.end_line(limits)? {
                self.check_length(self.at, limits)?;
                return Ok(Some(self.head_start..self.at));
            }
        }
        if bytes.last() != Some(&b'\r') {
            self.at = bytes.len();
        }
        // A head that is complete is longer than what has arrived of it.
        self.check_length(bytes.len() + 1, limits)?;
        check_first(bytes.get(self.head_start))?;
        Ok(None)
    }

    /// Takes note of a line whose CR is at `self.at`; true if it ended the head.
    fn end_line(&mut self, limits: &Limits) -> Result<bool, Refusal> {
        let is_empty = self.at == self.line_start;
        self.at += 2;
        self.line_start = self.at;
        if !is_empty {
            self.lines += 1;
            // The request line is not a header field.
            if self.lines - 1 > limits.headers {
                return Err(Refusal::HEAD_TOO_LARGE);
            }
            return Ok(false);
        }
        if self.lines > 0 {
            return Ok(true);
        }
        self.head_start = self.at;
        self.empty_lines += 1;
        if self.empty_lines > EMPTY_LINES_MAX {
            return Err(Refusal::bad("too many empty lines before the request"));
        }
        Ok(false)
    }

    /// Refuses a head that reaches to `end` or beyond, if that is over the limit.
    fn check_length(&self, end: usize, limits: &Limits) -> Result<(), Refusal> {
        if end.saturating_sub(self.head_start) <= limits.head_bytes {
            return Ok(());
        }
        Err(if self.lines == 0 {
            Refusal::TARGET_TOO_LONG
        } else {
            Refusal::HEAD_TOO_LARGE
        })
    }
}

/// Refuses a request whose first byte cannot begin a method.
///
/// The usual culprit is a TLS client: its greeting may hold no line ending at all, and
/// would otherwise sit in the buffer until the head timeout.
fn check_first(first: Option<&u8>) -> Result<(), Refusal> {
    match first {
        None | Some(b'\r' | b'!'..=b'~') => Ok(()),
        Some(_) => Err(Refusal::bad("this is not HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8]) -> Result<Option<Range<usize>>, Refusal> {
        Scan::default().advance(bytes, &Limits::default())
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        assert_eq!(scan(b"GET / HTTP/1.1\r\nA: b\r\n\r\nmore"), Ok(Some(0..24)));
        assert_eq!(scan(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"), Ok(Some(4..22)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\n\r"), Ok(None));
    }

    #[test]
    fn a_bare_cr_or_lf_is_refused_wherever_it_is() {
        for head in [
            &b"\nGET"[..],
            b"G\rET",
            b"GET / HTTP/1.1\n",
            b"GET / HTTP/1.1\r\nA: b\n",
            b"GET / HTTP/1.1\r\nA: b\r\r\n",
            b"GET / HTTP/1.1\r\nA: b\r\n\n",
            b"\r\r\n",
        ] {
            assert_eq!(
                scan(head).unwrap_err().status,
                400,
                "{}",
                head.escape_ascii()
            );
        }
    }

    #[test]
    fn one_byte_at_a_time_finds_the_same_end() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n";
        let mut scan = Scan::default();
        for end in 0..bytes.len() {
            assert_eq!(
                scan.advance(&bytes[..end], &Limits::default()),
                Ok(None),
                "{end}"
            );
        }
        assert_eq!(
            scan.advance(bytes, &Limits::default()),
            Ok(Some(2..bytes.len()))
        );
    }

    #[test]
    fn the_length_limit_is_exact_and_says_which_part_was_too_long() {
        let limits = Limits {
            head_bytes: 24,
            ..Limits::default()
        };
        let at_limit = b"GET / HTTP/1.1\r\nA: b\r\n\r\n";
        assert_eq!(Scan::default().advance(at_limit, &limits), Ok(Some(0..24)));
        for (head, status) in [
            (&b"GET / HTTP/1.1\r\nA: bc\r\n\r\n"[..], 431),
            (b"GET / HTTP/1.1\r\nA: bcdefg", 431),
            (b"GET /0123456789012345678", 414),
        ] {
            let refusal = Scan::default().advance(head, &limits).unwrap_err();
            assert_eq!(refusal.status, status, "{}", head.escape_ascii());
        }
    }
}
