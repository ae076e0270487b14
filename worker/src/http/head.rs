//! A request head: httparse's work, kept in buffers that serve the next request again.

use std::{mem::MaybeUninit, ops::Range};

use super::{Limits, Version, framing::Framing, refusal::Refusal};

/// Most header fields there is room for, whatever the limits say.
///
/// The room is on the stack and costs nothing until it is used.
const FIELDS_MAX: usize = 256;

/// One request's method, target, version and header fields.
///
/// The bytes are copied out of the connection's read buffer, so that the handler can own
/// them while the buffer takes in the body. When the handler is done the head goes back to
/// its connection, and its two vectors are filled again: no allocation per request.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    method: Range<usize>,
    target: Range<usize>,
    fields: Vec<Field>,
    version: Version,
}

/// Where a header field's name and value lie in [`Head::bytes`].
#[derive(Debug)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Head {
    /// Takes in a complete head and returns what it says about body and connection.
    ///
    /// `bytes` is exactly one head, from the request line to the empty line, whose line
    /// endings [`Scan`](super::scan::Scan) has found sound.
    pub(super) fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<Framing, Refusal> {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.fields.clear();

        let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let most = limits.headers.min(FIELDS_MAX);
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(&self.bytes, &mut room[..most]) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            // The scan saw the end of the head; a parser that sees another one is an
            // ambiguity, whoever is right.
            Ok(_) => return Err(Refusal::bad("the request head is ambiguous")),
            Err(error) => return Err(refusal_for(error, bytes)),
        }
        let (Some(method), Some(target), Some(minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Refusal::bad("the request line is incomplete"));
        };
        check_target(method, target)?;
        self.version = if minor == 0 {
            Version::Http10
        } else {
            Version::Http11
        };
        self.method = place_of(method.as_bytes(), &self.bytes);
        self.target = place_of(target.as_bytes(), &self.bytes);
        for field in parsed.headers.iter() {
            self.fields.push(Field {
                name: place_of(field.name.as_bytes(), &self.bytes),
                value: place_of(field.value, &self.bytes),
            });
        }
        Framing::of(self)
    }

    /// How much memory the bytes of this head take.
    pub(super) fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// The method, for instance `GET`.
    pub(super) fn method(&self) -> &str {
        text(&self.bytes[self.method.clone()])
    }

    /// The request target as the client sent it.
    pub(super) fn target(&self) -> &str {
        text(&self.bytes[self.target.clone()])
    }

    /// The protocol version.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Name and value of each header field, in the client's order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let bytes = &self.bytes;
        self.fields.iter().map(move |field| {
            (
                text(&bytes[field.name.clone()]),
                &bytes[field.value.clone()],
            )
        })
    }
}

/// The text of a part that httparse has already found to be ASCII.
fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}

/// Where `part`, a slice of `whole`, lies in it.
fn place_of(part: &[u8], whole: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// Which refusal httparse's complaint about this head becomes.
fn refusal_for(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::HEAD_TOO_LARGE,
        httparse::Error::Version if names_a_version(head) => Refusal::VERSION,
        httparse::Error::Version => Refusal::bad("the request line has no HTTP version"),
        httparse::Error::HeaderName => Refusal::bad("a header field's name is malformed"),
        httparse::Error::HeaderValue => Refusal::bad("a header field's value is malformed"),
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => {
            Refusal::bad("the request line is malformed")
        }
    }
}

/// Whether the request line has three parts, the last a version by the grammar (RFC 9112,
/// 2.3): one that we might have spoken, as opposed to nonsense.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|&byte| byte == b' ').skip(2);
    let version = parts.next().and_then(|part| part.strip_prefix(b"HTTP/"));
    let is_version = matches!(
        version,
        Some([major, b'.', minor]) if major.is_ascii_digit() && minor.is_ascii_digit()
    );
    is_version && parts.next().is_none()
}

/// Accepts the forms a target can have at an origin server (RFC 9112, 3.2): a path, a
/// whole URI, or `*` for `OPTIONS`.
fn check_target(method: &str, target: &str) -> Result<(), Refusal> {
    if method == "CONNECT" {
        return Err(Refusal::TUNNEL);
    }
    let is_sound = target.starts_with('/')
        || (target == "*" && method == "OPTIONS")
        || target.split_once("://").is_some_and(|(scheme, rest)| {
            !rest.is_empty() && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        });
    if is_sound && target.is_ascii() {
        Ok(())
    } else {
        Err(Refusal::bad("the request target is malformed"))
    }
}
