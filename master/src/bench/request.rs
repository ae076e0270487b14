//! The bytes of a request. All requests of a load are the same.

use std::ops::Range;

use super::options::Options;

/// Most bytes that are written at once, unless a single request is longer: what a socket's
/// buffer takes in one go with Linux's defaults.
const BATCH_MAX: usize = 16 * 1024;

/// As many copies of a request as are ever written at once.
#[derive(Debug)]
pub(super) struct Requests {
    bytes: Vec<u8>,
    /// Length of one of them.
    length: usize,
}

impl Requests {
    /// Puts the request together.
    pub(super) fn new(options: &Options) -> Self {
        let one = request(options);
        let pipelining = usize::try_from(options.pipelining).unwrap_or(1);
        let copies = (BATCH_MAX / one.len()).clamp(1, pipelining);
        Self {
            bytes: one.repeat(copies),
            length: one.len(),
        }
    }

    /// Returns the length of one request.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Returns what to write next when `unwritten` bytes of whole requests are left, which may
    /// be less than all of it.
    pub(super) fn next(&self, unwritten: usize) -> &[u8] {
        &self.bytes[self.next_range(unwritten)]
    }

    fn next_range(&self, unwritten: usize) -> Range<usize> {
        // Every copy is the same, so only the place within a request counts.
        let begin = (self.length - unwritten % self.length) % self.length;
        begin..self.bytes.len().min(begin + unwritten)
    }
}

fn request(options: &Options) -> Vec<u8> {
    let target = &options.target;
    let mut text = format!("{} {} HTTP/1.1\r\n", options.method, target.path());
    let length = options.body.len().to_string();
    let says_length = !options.body.is_empty() || expects_body(&options.method);
    let own = [
        ("Host", Some(target.authority())),
        ("Connection", options.close.then_some("close")),
        ("Content-Length", says_length.then_some(length.as_str())),
    ];
    for (name, value) in own {
        let is_replaced = |(other, _): &(String, String)| other.eq_ignore_ascii_case(name);
        if let Some(value) = value
            && !options.headers.iter().any(is_replaced)
        {
            text += &format!("{name}: {value}\r\n");
        }
    }
    for (name, value) in &options.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(&options.body);
    bytes
}

/// Whether a request without a body had better say so (RFC 9110, 8.6).
fn expects_body(method: &str) -> bool {
    ["POST", "PUT", "PATCH"].contains(&method)
}

#[cfg(test)]
mod tests {
    use super::super::testing::options;
    use super::*;

    fn text(options: &Options) -> String {
        String::from_utf8(request(options)).unwrap()
    }

    #[test]
    fn a_request_has_what_it_needs_and_no_more() {
        let options = options("http://localhost:81/x?y=z");
        let expected = "GET /x?y=z HTTP/1.1\r\nHost: localhost:81\r\n\r\n";
        assert_eq!(text(&options), expected);
    }

    #[test]
    fn options_show_in_the_request() {
        let options = Options {
            method: "POST".to_owned(),
            body: b"hello".to_vec(),
            close: true,
            headers: vec![("host".into(), "other".into()), ("A".into(), "b".into())],
            ..options("http://localhost/")
        };
        let expected = "POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 5\r\n\
             host: other\r\nA: b\r\n\r\nhello";
        assert_eq!(text(&options), expected);
    }

    #[test]
    fn a_post_says_that_it_has_no_body() {
        let options = Options {
            method: "POST".to_owned(),
            ..options("http://localhost/")
        };
        assert!(text(&options).contains("Content-Length: 0\r\n"));
    }

    /// Whatever the socket takes of each piece, what goes out are whole requests.
    #[test]
    fn partial_writes_add_up_to_whole_requests() {
        for body in [0, 100, 50_000] {
            let options = Options {
                body: vec![b'x'; body],
                pipelining: 7,
                ..options("http://localhost/")
            };
            let requests = Requests::new(&options);
            for taken_max in [1, 3, 1000, 100_000] {
                let (mut written, mut unwritten) = (Vec::new(), 7 * requests.length());
                while unwritten > 0 && written.len() < 200_000 {
                    let next = requests.next(unwritten);
                    let taken = taken_max.min(next.len());
                    written.extend_from_slice(&next[..taken]);
                    unwritten -= taken;
                }
                let expected = request(&options).repeat(7);
                assert!(expected.starts_with(&written), "{body} {taken_max}");
                assert!(unwritten == 0 || written.len() >= 200_000);
            }
        }
    }
}
