//! What a handler is asked.

use std::{fmt, future::poll_fn, io, net::SocketAddr};

use super::{exchange::Shared, head::Head, refusal::Refusal};

/// The protocol version of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    /// HTTP/1.0: one request a connection unless both sides say otherwise, no chunks.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// One request: its head, which has arrived, and its body, which may not have.
///
/// Belongs to the handler, who may keep it as long as it likes; the connection reads its
/// next request only when both this and its [`Response`](super::Response) are gone. What
/// is left of the body then is read and dropped if it is short, else the connection ends.
pub struct Request {
    head: Head,
    remote: Option<SocketAddr>,
    shared: Shared,
    /// The piece of the body that was handed out last.
    piece: Vec<u8>,
}

impl Request {
    /// A request whose body, if any, comes by way of `shared`.
    pub(super) fn new(head: Head, remote: Option<SocketAddr>, shared: Shared) -> Self {
        Self {
            head,
            remote,
            shared,
            piece: Vec::new(),
        }
    }

    /// Returns the method as the client wrote it, for instance `GET`. Methods are
    /// case-sensitive (RFC 9110, 9.1).
    pub fn method(&self) -> &str {
        self.head.method()
    }

    /// Returns the request target as the client wrote it (RFC 9112, 3.2): a path with its
    /// query, now and then a whole URI, or `*` with `OPTIONS`.
    pub fn target(&self) -> &str {
        self.head.target()
    }

    /// Returns the path of the target, not decoded; `*` stays as it is.
    pub fn path(&self) -> &str {
        self.path_and_query().0
    }

    /// Returns what follows the first `?` of the target, not decoded.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().1
    }

    /// Returns the protocol version.
    pub fn version(&self) -> Version {
        self.head.version()
    }

    /// Returns the client's address, if the listener knew it.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Returns the value of the first header field of this name, in whatever case it is
    /// written; `None` if there is none, or if its value is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header_bytes(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Returns the value of the first header field of this name as it came, without the
    /// white space around it (RFC 9110, 5.5: bytes over 127 are allowed, and mean nothing).
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.headers()
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Returns name and value of every header field, in the client's order and spelling.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.fields()
    }

    /// Reads the whole body.
    ///
    /// A client that waits for `100 Continue` is told to go on by the first read.
    ///
    /// # Errors
    ///
    /// [`FileTooLarge`](io::ErrorKind::FileTooLarge) if the body is longer than
    /// [`Limits::body_bytes`](super::Limits::body_bytes), before reading anything where
    /// the head says so; otherwise as [`Request::next_chunk`]. A handler that returns
    /// these errors without having answered leaves the fitting answer to the server.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: what was read is lost.
    pub async fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let mut whole = {
            let mut exchange = self.shared.lock();
            let announced = exchange.body.missing().unwrap_or(0);
            if announced > exchange.common.limits.body_bytes {
                return Err(exchange.fail(Refusal::BODY_TOO_LARGE));
            }
            // The client's word alone gets it no more memory than a small body needs.
            Vec::with_capacity(usize::try_from(announced).unwrap_or(0).min(TRUSTED))
        };
        loop {
            let has_more = poll_fn(|cx| self.shared.lock().poll_body(cx, &mut whole)).await?;
            if !has_more {
                return Ok(whole);
            }
            let mut exchange = self.shared.lock();
            if whole.len() as u64 > exchange.common.limits.body_bytes {
                return Err(exchange.fail(Refusal::BODY_TOO_LARGE));
            }
        }
    }

    /// Reads the next piece of the body, as large as it happened to arrive; `None` after
    /// the last. The pieces are not the client's chunks.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) for a malformed chunked body (RFC 9112,
    /// 7.1), [`TimedOut`](io::ErrorKind::TimedOut) after a pause of
    /// [`Limits::body_timeout`](super::Limits::body_timeout),
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the client left, or what the
    /// stream reports.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a piece is either returned or still there for the next call.
    pub async fn next_chunk(&mut self) -> io::Result<Option<&[u8]>> {
        self.piece.clear();
        let has_more = poll_fn(|cx| self.shared.lock().poll_body(cx, &mut self.piece)).await?;
        Ok(has_more.then_some(&self.piece[..]))
    }

    /// The target without scheme and authority, which only proxies need to send.
    fn path_and_query(&self) -> (&str, Option<&str>) {
        let target = self.target();
        let rest = match target.split_once("://") {
            Some((_, rest)) if !target.starts_with('/') => {
                rest.find(['/', '?']).map_or("", |start| &rest[start..])
            }
            _ => target,
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        // A URI without a path means the root (RFC 9110, 4.2.3).
        (if path.is_empty() { "/" } else { path }, query)
    }
}

/// Most memory that is set aside for a body because its head announces one.
const TRUSTED: usize = 64 * 1024;

impl Drop for Request {
    fn drop(&mut self) {
        let mut exchange = self.shared.lock();
        exchange.spare_head = std::mem::take(&mut self.head);
        exchange.release();
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method())
            .field("target", &self.target())
            .field("version", &self.version())
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}
