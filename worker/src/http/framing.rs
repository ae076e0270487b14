//! What a head says about its body and its connection, and every doubt about it refused.
//!
//! Two readers of one byte stream must agree where each request ends. Wherever the fields
//! that say so are doubled, contradict each other, or stray from the grammar, some proxy
//! out there reads them in another way than we do. The only safe answer is 400 and an end
//! (RFC 9112, 6.3 and 11.2).

use super::{Version, head::Head, refusal::Refusal};

/// How a request's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// After so many bytes; 0 if there is no body.
    Known(u64),
    /// With the last chunk.
    Chunked,
}

/// Everything that a head decides for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Framing {
    /// How the body ends.
    pub(super) body: BodyLength,
    /// Whether the client would send another request after this one.
    pub(super) keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// Whether the client speaks HTTP/1.1, and so understands chunks.
    pub(super) is_http11: bool,
    /// Whether the answer must have no body, because the method is `HEAD`.
    pub(super) is_head: bool,
}

/// The fields that matter here, gathered in one pass.
#[derive(Debug, Default)]
struct Gathered {
    hosts: usize,
    content_length: Option<u64>,
    /// Number of `chunked` codings seen, over all fields.
    chunked: usize,
    /// Whether the coding seen last was `chunked`.
    chunked_is_last: bool,
    /// Whether there was a transfer coding at all, and one that we do not know.
    has_coding: bool,
    has_unknown_coding: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl Framing {
    /// What holds while no head has been understood: answer in HTTP/1.1, and close.
    pub(super) const UNKNOWN: Self = Self {
        body: BodyLength::Known(0),
        keep_alive: false,
        expects_continue: false,
        is_http11: true,
        is_head: false,
    };

    /// Reads the framing out of a head.
    ///
    /// # Errors
    ///
    /// 400 for anything ambiguous, 417 for an unknown expectation, 501 for an unknown
    /// transfer coding.
    pub(super) fn of(head: &Head) -> Result<Self, Refusal> {
        let mut gathered = Gathered::default();
        for (name, value) in head.fields() {
            gathered.take(name, value)?;
        }
        let is_http11 = head.version() == Version::Http11;
        gathered.check_host(is_http11)?;
        let body = gathered.body_length(is_http11)?;
        let has_body = body != BodyLength::Known(0);
        Ok(Self {
            body,
            keep_alive: !gathered.close && (is_http11 || gathered.keep_alive),
            // A 1.0 client cannot be waiting (RFC 9110, 10.1.1).
            expects_continue: gathered.expects_continue && has_body && is_http11,
            is_http11,
            is_head: head.method() == "HEAD",
        })
    }
}

impl Gathered {
    /// Takes one header field into account. The length tells most names apart at once.
    fn take(&mut self, name: &str, value: &[u8]) -> Result<(), Refusal> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is("host") => self.take_host(value),
            6 if is("expect") => self.take_expect(value),
            10 if is("connection") => {
                self.take_connection(value);
                Ok(())
            }
            14 if is("content-length") => self.take_content_length(value),
            17 if is("transfer-encoding") => self.take_transfer_encoding(value),
            _ => Ok(()),
        }
    }

    /// `Host`: counted, and refused if it holds what no host and port can hold.
    fn take_host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.hosts += 1;
        let is_host_byte =
            |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte);
        if value.iter().all(is_host_byte) {
            Ok(())
        } else {
            Err(Refusal::bad("the host is malformed"))
        }
    }

    fn take_expect(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::EXPECTATION);
        }
        self.expects_continue = true;
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// `Content-Length`: once, and nothing but digits. A sign, a list of equal numbers or
    /// a number over 64 bits is read differently by different programs.
    fn take_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.content_length.is_some() {
            return Err(Refusal::bad("more than one content-length"));
        }
        let length = decimal(value).ok_or(Refusal::bad("the content-length is malformed"))?;
        self.content_length = Some(length);
        Ok(())
    }

    fn take_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.has_coding = true;
        for coding in list(value) {
            if coding.is_empty() {
                return Err(Refusal::bad("the transfer coding is malformed"));
            }
            self.chunked_is_last = coding.eq_ignore_ascii_case(b"chunked");
            self.chunked += usize::from(self.chunked_is_last);
            self.has_unknown_coding |= !self.chunked_is_last;
        }
        Ok(())
    }

    /// Exactly one `Host` in HTTP/1.1 (RFC 9112, 3.2); at most one before it existed.
    fn check_host(&self, is_http11: bool) -> Result<(), Refusal> {
        match self.hosts {
            1 => Ok(()),
            0 if !is_http11 => Ok(()),
            0 => Err(Refusal::bad("the host is missing")),
            _ => Err(Refusal::bad("more than one host")),
        }
    }

    /// How the body ends, if the fields leave no doubt about it (RFC 9112, 6.3).
    fn body_length(&self, is_http11: bool) -> Result<BodyLength, Refusal> {
        if !self.has_coding {
            return Ok(BodyLength::Known(self.content_length.unwrap_or(0)));
        }
        if self.content_length.is_some() {
            return Err(Refusal::bad("both content-length and transfer-encoding"));
        }
        if !is_http11 {
            return Err(Refusal::bad("transfer-encoding before HTTP/1.1"));
        }
        if self.chunked > 1 || (self.chunked == 1 && !self.chunked_is_last) {
            return Err(Refusal::bad(
                "chunked must be the last coding, and only once",
            ));
        }
        if self.has_unknown_coding {
            return Err(Refusal::UNKNOWN_CODING);
        }
        Ok(BodyLength::Chunked)
    }
}

/// The members of a comma-separated list, without the white space around them.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// A number of decimal digits only; `None` if it is empty, odd, or over 64 bits.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        let value = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(value)
    })
}
