//! What is known of one connection: what hyper does not tell, and a drain must know.
//!
//! Three see it: the stream (what has the client sent?), the service (what is asked and not
//! answered?) and the connection's task, which decides. They meet here, behind a lock that
//! is held for a few instructions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gauges::{Counted, Gauges, Kind};

/// How a client that knows that we speak HTTP/2 begins (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Life {
    gauges: &'static Gauges,
    facts: Mutex<Facts>,
}

/// Which protocol the client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    /// So many bytes of the preface have come, and nothing else.
    Preface(usize),
    Http1,
    Http2,
}

#[derive(Debug)]
struct Facts {
    speaks: Speaks,
    /// Bytes that the client has sent.
    heard: u64,
    /// Something came while nothing was asked: a request has begun.
    head_has_begun: bool,
    /// Requests without an answer yet: over HTTP/1 one at most.
    waiting: usize,
    /// Answers that have begun and not ended.
    answering: usize,
    is_upgraded: bool,
    /// Gone with the stream.
    counted: Option<Counted>,
}

impl Life {
    pub(super) fn new(gauges: &'static Gauges) -> Arc<Self> {
        Arc::new(Self {
            gauges,
            facts: Mutex::new(Facts {
                speaks: Speaks::Preface(0),
                heard: 0,
                head_has_begun: false,
                waiting: 0,
                answering: 0,
                is_upgraded: false,
                counted: Some(gauges.count()),
            }),
        })
    }

    /// The client has sent this.
    pub(super) fn hear(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut facts = self.lock();
        facts.speaks = facts.speaks.after(bytes);
        facts.heard += bytes.len() as u64;
        facts.head_has_begun |= facts.kind() == Kind::Idle;
    }

    /// How much the client has sent.
    pub(super) fn heard(&self) -> u64 {
        self.lock().heard
    }

    pub(super) fn speaks_http2(&self) -> bool {
        self.lock().speaks == Speaks::Http2
    }

    /// Whether a request over HTTP/1 has begun to arrive that hyper does not know of: to
    /// hyper the connection is idle.
    pub(super) fn is_in_a_head(&self) -> bool {
        let facts = self.lock();
        facts.head_has_begun && facts.speaks != Speaks::Http2
    }

    pub(super) fn is_idle(&self) -> bool {
        self.lock().kind() == Kind::Idle
    }

    /// The stream is closed, whoever still holds what of the connection.
    pub(super) fn end(&self) {
        self.lock().counted = None;
    }

    /// A request has come.
    pub(super) fn ask(self: &Arc<Self>) -> Exchange {
        self.change(|facts| {
            facts.waiting += 1;
            facts.head_has_begun = false;
        });
        Exchange {
            life: Arc::clone(self),
            has_begun: false,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Facts)) {
        let mut facts = self.lock();
        change(&mut facts);
        let kind = facts.kind();
        if let Some(counted) = &mut facts.counted {
            counted.turn(kind);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        // Nothing that is done under it can panic half-way.
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Speaks {
    fn after(self, bytes: &[u8]) -> Self {
        let Self::Preface(seen) = self else {
            return self;
        };
        let rest = &HTTP2_PREFACE[seen..];
        let len = rest.len().min(bytes.len());
        if rest[..len] != bytes[..len] {
            return Self::Http1;
        }
        match seen + len {
            seen if seen < HTTP2_PREFACE.len() => Self::Preface(seen),
            _ => Self::Http2,
        }
    }
}

impl Facts {
    /// What the connection counts as. Over HTTP/2, where it can be several things at once,
    /// the one that loses most when it is cut.
    fn kind(&self) -> Kind {
        if self.is_upgraded {
            Kind::Upgraded
        } else if self.waiting > 0 {
            Kind::Busy
        } else if self.answering > 0 {
            Kind::Streaming
        } else {
            Kind::Idle
        }
    }
}

/// One request and its answer. Over when it is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    life: Arc<Life>,
    has_begun: bool,
}

impl Exchange {
    /// The answer begins, and with it perhaps another protocol.
    pub(super) fn begin_answer(&mut self, upgrades: bool) {
        self.has_begun = true;
        self.life.gauges.add_answer();
        self.life.change(|facts| {
            facts.waiting -= 1;
            facts.answering += 1;
            facts.is_upgraded |= upgrades;
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.life.change(|facts| match self.has_begun {
            true => facts.answering -= 1,
            false => facts.waiting -= 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pieces: &[&str]) -> Arc<Life> {
        let life = Life::new(Gauges::leaked());
        for piece in pieces {
            life.hear(piece.as_bytes());
        }
        life
    }

    #[test]
    fn the_preface_is_known_however_it_is_cut() {
        let preface = std::str::from_utf8(HTTP2_PREFACE).unwrap();
        for cut in 0..=preface.len() {
            let (first, last) = preface.split_at(cut);
            assert!(after(&[first, last]).speaks_http2(), "cut at {cut}");
        }
        assert!(after(&[preface, "more"]).speaks_http2());
        assert!(!after(&["PRI * HTTP/2.0\r\n\r\n"]).speaks_http2());
        assert!(!after(&["P", "OST / HTTP/1.1\r\n"]).speaks_http2());
        assert!(!after(&["GET / HTTP/1.1\r\n\r\n", preface]).speaks_http2());
    }

    #[test]
    fn a_head_has_begun_from_its_first_byte_to_its_request() {
        let life = after(&[]);
        assert!(!life.is_in_a_head());
        life.hear(b"P");
        assert!(life.is_in_a_head());
        let request = life.ask();
        life.hear(b"a body");
        assert!(!life.is_in_a_head());
        drop(request);
        assert!(!life.is_in_a_head());
    }

    #[test]
    fn a_connection_is_what_loses_most_when_it_is_cut() {
        let gauges = Gauges::leaked();
        let life = Life::new(gauges);
        let (mut first, mut second) = (life.ask(), life.ask());
        assert_eq!(gauges.all(), [0, 1, 0, 0]);
        first.begin_answer(false);
        assert_eq!(gauges.all(), [0, 1, 0, 0]);
        second.begin_answer(true);
        drop(second);
        assert_eq!(gauges.all(), [0, 0, 0, 1]);
        life.end();
        drop(first);
        assert_eq!((gauges.all(), gauges.answered()), ([0; 4], 2));
    }
}
