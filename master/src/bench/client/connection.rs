//! One open connection: writes requests, cuts what comes back into answers.
//!
//! It is one hand-written future, so that an exchange costs one write, one read and one
//! wake-up. It reads and writes in turns whatever the socket takes: a client that insisted on
//! writing first would wait for ever for a server that insists on the same.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use maitred::Moment;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::in_flight::{Asked, InFlight};
use super::thinking::Thinking;
use super::{Alarm, Dialled, Place, set};
use crate::bench::answer::{BadAnswer, Head, Label, Parser};
use crate::bench::load::Load;
use crate::bench::outcome::Outcome;
use crate::bench::record::{ConnectionLine, Line, RequestLine};

/// Why a connection came to its end, and what that means for requests without an answer.
#[derive(Debug)]
struct Ending {
    outcome: Outcome,
    reason: Option<String>,
}

impl Ending {
    /// Nothing more is to be asked or to be expected.
    const DONE: Self = Self {
        outcome: Outcome::ClosedBeforeAnswer,
        reason: None,
    };
}

/// A connection on its way through its requests.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    load: &'a Load,
    stream: TcpStream,
    place: Place,
    connected: Moment,
    /// Counted from 1, over all connections of the load.
    number: u64,
    port_use: u32,
    parser: Parser,
    in_flight: InFlight,
    /// The request that this connection was opened for, until it is in flight.
    claimed: u64,
    /// Bytes of requests in flight that the socket has not taken yet.
    unwritten: usize,
    /// Why the socket takes no more. What came before that may still be read.
    write_error: Option<io::Error>,
    /// The worker that answered last.
    worker: Option<Label>,
    answered: u64,
    /// Whether an answer was the last, because it said so or because one was wanted.
    closes: bool,
}

impl<'a> Connection<'a> {
    /// A connection that is to be run for one request, which has been begun, and for more.
    pub(super) fn new(load: &'a Load, dialled: Dialled, number: u64, port_use: u32) -> Self {
        Self {
            load,
            stream: dialled.stream,
            place: dialled.place,
            connected: dialled.connected,
            number,
            port_use,
            parser: Parser::new(load.asked),
            in_flight: InFlight::new(),
            claimed: 1,
            unwritten: 0,
            write_error: None,
            worker: None,
            answered: 0,
            closes: false,
        }
    }

    /// Makes requests until the connection or the load ends.
    pub(super) async fn run(mut self, mut alarm: Alarm<'_>, thinking: &mut Thinking<'_>) {
        let due = self.connected + self.load.timeout;
        set(alarm.as_mut(), self.connected, due);
        let ending = poll_fn(|cx| self.poll(cx, alarm.as_mut(), thinking)).await;
        self.conclude(&ending);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut alarm: Alarm<'_>,
        thinking: &mut Thinking<'_>,
    ) -> Poll<Ending> {
        loop {
            if self.is_idle() {
                if self.is_abandoned(cx) {
                    return Poll::Ready(Ending::DONE);
                }
                ready!(thinking.poll(cx, alarm.as_mut()));
            }
            self.fill();
            self.write(cx);
            if self.closes || self.in_flight.len() == 0 {
                return Poll::Ready(Ending::DONE);
            }
            match self.poll_read(cx) {
                Poll::Ready(Some(ending)) => return Poll::Ready(ending),
                Poll::Ready(None) if self.closes => {}
                Poll::Ready(None) => {
                    // Others first: an answer that has come and lies there while we write
                    // would look slower than it was. A plain wake would let those go first
                    // that are known to be ready; this lets the runtime look at its sockets
                    // before, so that what has come meanwhile is read as well.
                    let _ = pin!(yield_now()).poll(cx);
                    return Poll::Pending;
                }
                Poll::Pending => return self.poll_alarm(cx, alarm),
            }
        }
    }

    /// Whether it has had its answers and thinks about what to ask next.
    fn is_idle(&self) -> bool {
        self.load.thinks() && self.answered > 0 && self.in_flight.len() == 0 && !self.closes
    }

    /// Whether the server has closed this connection, which lies idle. What it may have said
    /// before, such as that it got tired of waiting, answers no request.
    fn is_abandoned(&mut self, cx: &mut Context<'_>) -> bool {
        let mut scratch = self.load.scratch.borrow_mut();
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut scratch));
        let is_abandoned = read.is_ready();
        self.load.tally.borrow_mut().closed_idle += u64::from(is_abandoned);
        is_abandoned
    }

    /// Begins as many requests as there is room for, once those before are written; if the
    /// load thinks, once those before are answered.
    fn fill(&mut self) {
        if self.closes || self.unwritten > 0 || self.write_error.is_some() {
            return;
        }
        if self.load.thinks() && self.in_flight.len() > 0 {
            return;
        }
        let room = self.load.pipelining - self.in_flight.len();
        let mut count = std::mem::take(&mut self.claimed);
        while count < room as u64 && self.load.begin_request() {
            count += 1;
        }
        if count > 0 {
            self.in_flight.begin(count, Moment::now());
            self.unwritten = count as usize * self.load.requests.length();
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        while self.unwritten > 0 && self.write_error.is_none() {
            let bytes = self.load.requests.next(self.unwritten);
            match Pin::new(&mut self.stream).poll_write(cx, bytes) {
                Poll::Ready(Ok(taken)) => {
                    self.unwritten -= taken;
                    self.load.tally.borrow_mut().sent_bytes += taken as u64;
                }
                Poll::Ready(Err(error)) => self.write_error = Some(error),
                Poll::Pending => break,
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ending>> {
        let load = self.load;
        let mut scratch = load.scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        Poll::Ready(match read {
            Ok(()) if buffer.filled().is_empty() => Some(self.closed()),
            Ok(()) => self.understand(buffer.filled()),
            Err(error) => Some(broken(&error)),
        })
    }

    /// Rings only for the oldest request: the alarm may have been set for one before it.
    fn poll_alarm(&self, cx: &mut Context<'_>, mut alarm: Alarm<'_>) -> Poll<Ending> {
        loop {
            ready!(alarm.as_mut().poll(cx));
            let now = Moment::now();
            let due = self
                .in_flight
                .oldest()
                .map(|asked| asked.sent + self.load.timeout);
            match due {
                Some(due) if due > now => set(alarm.as_mut(), now, due),
                _ => {
                    return Poll::Ready(Ending {
                        outcome: Outcome::Timeout,
                        reason: None,
                    });
                }
            }
        }
    }

    fn closed(&mut self) -> Ending {
        let now = Moment::now();
        if let Some(head) = self.parser.close() {
            self.answer(&head, now);
        }
        match &self.write_error {
            Some(error) => broken(error),
            None => Ending {
                outcome: Outcome::ClosedBeforeAnswer,
                reason: None,
            },
        }
    }

    /// Cuts what came into answers. Returns an ending if something is no answer.
    fn understand(&mut self, bytes: &[u8]) -> Option<Ending> {
        let now = Moment::now();
        self.load.tally.borrow_mut().received_bytes += bytes.len() as u64;
        let mut rest = bytes;
        // What follows an answer that is to be the last is of no concern.
        while !rest.is_empty() && !self.closes {
            self.in_flight.hear(now);
            let (taken, answer) = match self.parser.feed(rest) {
                Ok(fed) => fed,
                Err(bad) => return Some(bad_answer(bad)),
            };
            rest = &rest[taken..];
            if let Some(head) = answer {
                let is_last = self.in_flight.len() == 1;
                if is_last && !rest.is_empty() && !head.closes && !self.load.close {
                    return Some(bad_answer(BadAnswer("more came than was asked for")));
                }
                self.answer(&head, now);
            }
        }
        None
    }

    /// Ends the oldest request with its answer.
    fn answer(&mut self, head: &Head, now: Moment) {
        let Some(asked) = self.in_flight.end() else {
            return;
        };
        let latency = now.since(asked.sent);
        let mut tally = self.load.tally.borrow_mut();
        tally.answered(head, latency, self.answered == 0);
        self.answered += 1;
        self.worker = head.worker.or(self.worker);
        let outcome = Outcome::Ok;
        self.load.record(|| {
            Line::Request(RequestLine {
                status: Some(head.status),
                ..self.line(&asked, now, outcome)
            })
        });
        self.closes |= head.closes || self.load.close;
    }

    /// Ends the requests that have no answer, and the connection.
    fn conclude(mut self, ending: &Ending) {
        let now = Moment::now();
        let unsent = self.unwritten / self.load.requests.length();
        let has_failed = self.in_flight.len() > 0;
        while let Some(asked) = self.in_flight.end() {
            let reason = ending.reason.as_deref();
            self.load.fail(ending.outcome, self.closes, reason);
            let is_sent = self.in_flight.len() >= unsent;
            self.load.record(|| {
                Line::Request(RequestLine {
                    sent_ns: is_sent.then_some(asked.sent),
                    announced: self.closes,
                    reason: ending.reason.clone(),
                    ..self.line(&asked, now, ending.outcome)
                })
            });
        }
        let outcome = if has_failed {
            ending.outcome
        } else {
            Outcome::Ok
        };
        self.load.record(|| {
            Line::Connection(ConnectionLine {
                connection: self.number,
                port: self.place.port,
                port_use: self.port_use,
                connect_ns: self.place.began,
                connected_ns: Some(self.connected),
                end_ns: now,
                worker: self.worker,
                requests: self.in_flight.begun(),
                outcome,
            })
        });
    }

    fn line(&self, asked: &Asked, now: Moment, outcome: Outcome) -> RequestLine {
        RequestLine {
            connection: self.number,
            port: self.place.port,
            port_use: self.port_use,
            number: asked.number,
            reused: asked.reused,
            sent_ns: Some(asked.sent),
            first_byte_ns: asked.first_byte,
            end_ns: now,
            worker: self.worker,
            status: None,
            outcome,
            announced: false,
            reason: None,
        }
    }
}

fn bad_answer(BadAnswer(reason): BadAnswer) -> Ending {
    Ending {
        outcome: Outcome::BadAnswer,
        reason: Some(format!("bad answer: {reason}")),
    }
}

/// What an error of reading or writing means.
fn broken(error: &io::Error) -> Ending {
    let kind = error.kind();
    let outcome = if kind == io::ErrorKind::BrokenPipe {
        // The other side had closed, and then answered a write with a reset.
        Outcome::ClosedBeforeAnswer
    } else if kind == io::ErrorKind::TimedOut {
        Outcome::Timeout
    } else {
        Outcome::ResetBeforeAnswer
    };
    Ending {
        outcome,
        reason: None,
    }
}
