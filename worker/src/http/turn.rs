//! The circle in which a server goes: accept, a handler or two, accept again.
//!
//! ```text
//!        ┌──────────────► drain? ──► accept ──► connections ──┐
//!        │                                      (≤ 2 answers) │
//!        └── more to do, and the turn is not over ◄───────────┘
//!                                      │ turn over: let the runtime look at its sockets
//! ```
//!
//! Why not a task a connection? A runtime polls its ready tasks in order. With 500 busy
//! connections and a handler of 0.4 ms, 200 ms pass between two polls of the accept, and
//! the accept is what tells the master that a connection was taken. Here the accept is
//! asked after every one or two answers, whatever the load.
//!
//! That rests on two habits of others. A connection gives way after each answer, by waking
//! itself. And `FuturesUnordered` returns once two of its futures have done that (or each
//! was polled once); otherwise it would poll on as long as any future is ready.
//!
//! Asking the accept costs next to nothing, but it can only find what the runtime has
//! noticed, and the runtime looks at its sockets between two polls of this future. So a
//! turn also has an end, by the clock.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use futures_util::{Stream as _, stream::FuturesUnordered, task::AtomicWaker};
use tokio::{
    task::{coop::has_budget_remaining, yield_now},
    time::{Sleep, sleep},
};

use super::{
    accept::{ACCEPT_PAUSE, Accept, Fate, fate_of},
    drain::Drain,
};

/// How long a turn goes on before the runtime may look at its sockets.
///
/// That look is one `epoll_wait`, about a microsecond. So a stream of small requests pays
/// half a percent for it, and one of slow handlers has it after every other answer.
const TURN_TIME: Duration = Duration::from_micros(200);

/// Most connections taken in a row before the ones we have get their turn.
///
/// More than a master hands off unasked (its window), so it only bounds a flood.
const ACCEPTS_MAX: usize = 16;

/// Places for connections that a listener gives at once: twice a worker's default window.
const ACCEPTED_AT_ONCE: usize = 8;

/// Whether more connections are to come.
enum Source {
    Open,
    Paused(Pin<Box<Sleep>>),
    /// No more; carries what `serve` will return.
    Closed(io::Result<()>),
}

/// A server at work: its listener and all of its connections.
pub(super) struct Circle<'a, A, O, C> {
    listener: A,
    source: Source,
    /// Makes a connection's future of a stream.
    open: O,
    connections: FuturesUnordered<C>,
    drain: &'a Drain,
    /// Resolves to the grace when the drain begins; gone after that.
    draining: Option<Pin<Box<dyn Future<Output = Duration> + Send>>>,
    /// Runs from the beginning of the drain to the end of the grace.
    grace: Option<Pin<Box<Sleep>>>,
    bell: Arc<Bell>,
}

impl<'a, A, O, C> Circle<'a, A, O, C>
where
    A: Accept,
    O: Fn(A::Stream, Option<SocketAddr>) -> C,
    C: Future<Output = ()>,
{
    /// A server that has no connections yet.
    pub(super) fn new(listener: A, open: O, drain: &'a Drain) -> Self {
        Self {
            draining: Some(Box::pin(listener.draining())),
            listener,
            source: Source::Open,
            open,
            connections: FuturesUnordered::new(),
            drain,
            grace: None,
            bell: Arc::default(),
        }
    }

    /// One turn. Ready when there is nothing left to serve and nothing more will come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut inner = Context::from_waker(&waker);
        self.bell.begin_turn(cx.waker());
        let began = Instant::now();
        loop {
            // The accept comes first: a client that waits for it has had nothing yet.
            self.poll_accepts(&mut inner);
            self.poll_drain(&mut inner);
            let progress = Pin::new(&mut self.connections).poll_next(&mut inner);
            if let (Poll::Ready(None), Source::Closed(_)) = (&progress, &self.source) {
                return Poll::Ready(self.result());
            }
            // One connection ended, and others may be ready: that is not announced.
            let ended = matches!(progress, Poll::Ready(Some(())));
            if !self.bell.has_rung() && !ended {
                break;
            }
            if began.elapsed() >= TURN_TIME || !has_budget_remaining() {
                self.bell.ring();
                break;
            }
        }
        if self.bell.end_turn() {
            // Not a plain wake: tokio would poll us again before it looks at its sockets.
            let _ = pin!(yield_now()).poll(cx);
        }
        Poll::Pending
    }

    /// Takes what connections there are, up to a bound.
    fn poll_accepts(&mut self, cx: &mut Context<'_>) {
        let mut count = 0;
        while count < ACCEPTS_MAX {
            match &mut self.source {
                Source::Closed(_) => return,
                Source::Paused(pause) => {
                    if pause.as_mut().poll(cx).is_pending() {
                        return;
                    }
                    self.source = Source::Open;
                }
                Source::Open => {}
            }
            let mut accepted = [const { None }; ACCEPTED_AT_ONCE];
            match self.listener.poll_accept_some(cx, &mut accepted) {
                Poll::Pending => return,
                Poll::Ready(Ok(more)) => {
                    count += more;
                    for (stream, remote) in accepted.into_iter().flatten() {
                        self.connections.push((self.open)(stream, remote));
                    }
                }
                Poll::Ready(Err(error)) => {
                    count += 1;
                    self.note_failure(error);
                }
            }
        }
        // There may be more; nothing else would bring us back for it.
        self.bell.ring();
    }

    fn note_failure(&mut self, error: io::Error) {
        match fate_of(&error) {
            Fate::NextAtOnce => {}
            Fate::Pause => self.source = Source::Paused(Box::pin(sleep(ACCEPT_PAUSE))),
            Fate::Finished => self.finish(error),
        }
    }

    /// The listener is finished: serve what there is, without waiting for idle clients.
    fn finish(&mut self, error: io::Error) {
        self.source = Source::Closed(Err(error));
        self.draining = None;
        self.drain.begin();
        self.drain.end_grace();
    }

    /// Begins the drain when asked, and ends the grace when that is over.
    fn poll_drain(&mut self, cx: &mut Context<'_>) {
        if let Some(draining) = &mut self.draining
            && let Poll::Ready(grace) = draining.as_mut().poll(cx)
        {
            self.draining = None;
            self.source = Source::Closed(Ok(()));
            self.drain.begin();
            self.grace = Some(Box::pin(sleep(grace)));
        }
        if let Some(grace) = &mut self.grace
            && grace.as_mut().poll(cx).is_ready()
        {
            self.grace = None;
            self.drain.end_grace();
        }
    }

    /// What `serve` returns, once.
    fn result(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.source, Source::Closed(Ok(()))) {
            Source::Closed(result) => result,
            Source::Open | Source::Paused(_) => Ok(()),
        }
    }
}

/// Rung by whatever has something to do for a server.
///
/// During a turn that just means "once more round"; only outside of one is the runtime
/// troubled, for whom a wake can be a system call.
#[derive(Debug, Default)]
struct Bell {
    outer: AtomicWaker,
    in_turn: AtomicBool,
    rung: AtomicBool,
}

impl Bell {
    fn begin_turn(&self, outer: &Waker) {
        self.outer.register(outer);
        self.in_turn.store(true, SeqCst);
        self.rung.store(false, SeqCst);
    }

    /// Whether it was rung since the last time of asking.
    fn has_rung(&self) -> bool {
        self.rung.swap(false, SeqCst)
    }

    fn ring(&self) {
        self.rung.store(true, SeqCst);
        if !self.in_turn.load(SeqCst) {
            self.outer.wake();
        }
    }

    /// True if there is still something to do.
    ///
    /// Of this and a ring on another thread at least one sees the other's store: no ring
    /// goes unheard.
    fn end_turn(&self) -> bool {
        self.in_turn.store(false, SeqCst);
        self.has_rung()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
