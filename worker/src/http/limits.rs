//! How much a client may ask of us before it is refused.
//!
//! Every queue, buffer and wait of this server is bounded by a number in this file or by
//! a constant beside the code that obeys it.

use std::time::Duration;

/// Longest request head (request line and header fields), in bytes.
///
/// Node's and nginx's neighbourhood (16 KiB and 8 KiB): cookies of several kilobytes are
/// real, and a connection may cost us this much memory before it has proved anything.
const HEAD_BYTES: usize = 16 * 1024;

/// Most header fields in one request.
///
/// Browsers send about twenty; apache stops at this number too.
const HEADERS: usize = 100;

/// Longest body that [`Request::bytes`](super::Request::bytes) will hold in memory.
///
/// A form or a JSON document fits; an upload should be streamed.
const BODY_BYTES: u64 = 1024 * 1024;

/// Time for a complete head, counted from its first byte.
///
/// A head is one or two packets. A client on the worst mobile network needs seconds; one
/// that needs longer is most likely holding the connection on purpose ("slowloris").
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may stay open between two requests.
///
/// Node's default. Longer saves handshakes, but each idle connection is one more that a
/// reload has to wait for.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest pause between two pieces of a request body.
///
/// The same patience as for a head: what matters is that it moves.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest pause while the client takes nothing of an answer.
///
/// Longer than the others, since a client may honestly stop reading for a while (a paused
/// download), but an answer nobody reads must not hold memory for ever.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// What one client may ask for; see each field for what happens beyond it.
///
/// # Examples
///
/// ```
/// use maitred_worker::http::Limits;
///
/// let limits = Limits { body_bytes: 8 * 1024 * 1024, ..Limits::default() };
/// assert_eq!(limits.headers, 100);
/// ```
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest request head in bytes, 16 KiB by default. Beyond it the answer is 431, or
    /// 414 if not even the request line ended within it.
    pub head_bytes: usize,
    /// Most header fields in a request, 100 by default and never more than 256. Beyond it
    /// the answer is 431.
    pub headers: usize,
    /// Longest body in bytes that [`Request::bytes`](super::Request::bytes) collects, 1 MiB
    /// by default. Beyond it the answer is 413. Streaming by
    /// [`Request::next_chunk`](super::Request::next_chunk) is not limited.
    pub body_bytes: u64,
    /// Time for a complete head from its first byte, 10 s by default; then 408. Also how
    /// long a new connection may stay silent; then it is closed without a word.
    pub head_timeout: Duration,
    /// How long a connection may be idle between requests, 5 s by default; then it is
    /// closed without a word.
    pub idle_timeout: Duration,
    /// Longest pause within a request body, 10 s by default; then 408.
    pub body_timeout: Duration,
    /// Longest pause while the client reads nothing of an answer, 30 s by default; then
    /// the connection is dropped.
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: HEAD_BYTES,
            headers: HEADERS,
            body_bytes: BODY_BYTES,
            head_timeout: HEAD_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}
