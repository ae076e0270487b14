//! This process's tie to its master: one for the whole program.
//!
//! Two parties use it. A task on the program's own runtime ([`serve`](crate::service::serve))
//! reads the channel and keeps the deadlines; the program's calls (accept, send, listen) do
//! their part at once, under the lock. A task and not a thread of ours, so that a program
//! that is stuck looks stuck: no ack, no pong.
//!
//! Reading order: `session` (what to answer), `outbox` (what waits to be said), [`State`]
//! in `state.rs` (what is heard), `service.rs` (the task), `watchdog.rs` (when even that
//! cannot run).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use maitred_protocol::message::Welcome;
use maitred_protocol::native::{MESSAGES_PER_FRAME, WorkerEnd, WorkerInbox};
use maitred_protocol::{ServerId, environment, fd};
use tokio::sync::{Notify, watch};

use crate::gauges::{self, Gauges};
use crate::open_connections::{ListenerTag, SharedTable};
use crate::outbox::Acked;
use crate::service;
use crate::state::State;
use crate::stream::Stream;
use crate::taking::Registered;
use crate::watchdog;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) end: WorkerEnd,
    state: Mutex<State>,
    /// The connections that the program holds. Its lock is inside the state's.
    pub(crate) open: SharedTable,
    /// What this library's servers count, for reports.
    pub(crate) gauges: &'static Gauges,
    /// Rung when the task should look again at what it waits for.
    pub(crate) bell: Notify,
    /// Who we are, once the master has said so; or why it never will.
    pub(crate) identity: watch::Sender<Option<Result<Welcome, String>>>,
    /// The grace, once there is a drain.
    pub(crate) draining: watch::Sender<Option<Duration>>,
    /// Whether it is all over: no connection will come, and none is held.
    pub(crate) finished: watch::Sender<bool>,
    /// Whether the program outlives the channel, for it wanted to part.
    outlives: AtomicBool,
}

/// `None` if there is no master, an error if the channel could not be used.
static LINK: OnceLock<Result<Option<Link>, String>> = OnceLock::new();

/// Returns the link to the master, and makes it at the first call; `None` without a master.
///
/// # Errors
///
/// The channel could not be used. It is the same error at every call.
///
/// # Panics
///
/// At the first call outside a tokio runtime with I/O and time.
pub(crate) fn link() -> io::Result<Option<&'static Link>> {
    let mut first = false;
    let made = LINK.get_or_init(|| {
        first = true;
        connect().map_err(|error| format!("use the channel to the master: {error}"))
    });
    let failed = |reason: &String| io::Error::other(reason.clone());
    let link = made.as_ref().map_err(failed)?.as_ref();
    if let Some(link) = link
        && first
    {
        link.start()?;
    }
    Ok(link)
}

fn connect() -> io::Result<Option<Link>> {
    let Some(number) = environment::channel_number() else {
        return Ok(None);
    };
    let (end, inbox) = WorkerEnd::new(fd::take_inherited(number)?)?;
    end.hello().map_err(io::Error::other)?;
    Ok(Some(Link::new(end, inbox, &gauges::PROCESS)))
}

impl Link {
    pub(crate) fn new(end: WorkerEnd, inbox: WorkerInbox, gauges: &'static Gauges) -> Self {
        Self {
            state: Mutex::new(State::new(end.clone(), inbox)),
            end,
            open: SharedTable::default(),
            gauges,
            bell: Notify::new(),
            identity: watch::Sender::new(None),
            draining: watch::Sender::new(None),
            finished: watch::Sender::new(false),
            outlives: AtomicBool::new(false),
        }
    }

    fn start(&'static self) -> io::Result<()> {
        tokio::spawn(service::serve(self));
        watchdog::start(self)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it is held is a bug of ours; the process is better off if its other
        // connections are still served.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the master has said who we are.
    ///
    /// # Errors
    ///
    /// The master is gone, or speaks another version.
    pub(crate) async fn identity(&self) -> io::Result<Welcome> {
        let mut identity = self.identity.subscribe();
        let known = identity.wait_for(Option::is_some).await;
        let known = known.expect("the link is never dropped").clone();
        known
            .expect("it was waited for")
            .map_err(|reason| io::Error::new(io::ErrorKind::NotConnected, reason))
    }

    /// Gives the program the connection that waits the longest, acked; or has it woken.
    pub(crate) fn poll_take<S: Stream>(
        &'static self,
        context: &mut Context<'_>,
        (server, tag): (ServerId, ListenerTag),
    ) -> Poll<io::Result<Taken<S>>> {
        let mut taken = [const { None }];
        let noted = |stream: S, address| {
            self.open.lock().note(&stream, tag);
            (stream, address)
        };
        ready!(self.poll_take_some(context, server, &mut taken, noted))?;
        let [taken] = taken;
        Poll::Ready(taken.ok_or_else(over))
    }

    /// Fills the places of `taken` with what waits, all of it acked in one frame; or has the
    /// program woken. There are at most [`MESSAGES_PER_FRAME`] places.
    ///
    /// `count` makes of each what the program gets, and sees to it that it counts as open: at
    /// once, for a worker that leaves goes when nothing is.
    pub(crate) fn poll_take_some<S: Stream, T>(
        &'static self,
        context: &mut Context<'_>,
        server: ServerId,
        taken: &mut [Option<T>],
        count: impl Fn(S, S::Address) -> T,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        state.poll_read(self, context);
        let mut registered = [const { None }; MESSAGES_PER_FRAME];
        let places = registered.iter_mut().take(taken.len());
        let number = state.register_next::<S>(server, places);
        let ready = &mut registered[..number];
        if number > 0 {
            match state
                .outbox
                .ack(ready.iter().flatten().map(|ready| ready.handoff))
            {
                Acked::Yes => {
                    for (place, ready) in taken.iter_mut().zip(ready) {
                        *place = ready.take().map(|Registered { stream, client, .. }| {
                            let address = stream.peer(client);
                            count(stream, address)
                        });
                    }
                    state.took(self, server, number);
                    return Poll::Ready(Ok(number));
                }
                Acked::Blocked => {
                    for ready in ready.iter_mut().rev().filter_map(Option::take) {
                        state.put_back(server, ready);
                    }
                    self.bell.notify_one();
                }
            }
        }
        if state.is_over_for(server) {
            return Poll::Ready(Err(over()));
        }
        state.wake_later(server, context.waker());
        Poll::Pending
    }

    /// Tells whether a socket of our own is to be accepted from; has the listener's task
    /// woken when that changes.
    ///
    /// # Errors
    ///
    /// All is over.
    pub(crate) fn poll_accepting(
        &self,
        context: &Context<'_>,
        tag: ListenerTag,
    ) -> io::Result<bool> {
        let mut state = self.lock();
        if state.session.is_over() {
            return Err(over());
        }
        state.watch(tag, context.waker());
        Ok(state.session.is_accepting())
    }

    /// Waits until this worker drains; returns the grace. Cancel safe.
    pub(crate) async fn drained(&self) -> Duration {
        let mut draining = self.draining.subscribe();
        // The link is never dropped, so there is always an answer.
        let grace = draining.wait_for(Option::is_some).await.map(|grace| *grace);
        grace.ok().flatten().unwrap_or_default()
    }

    /// Says something and has the task see to it if the channel is full.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.lock());
        self.bell.notify_one();
        result
    }

    /// The program goes on when the channel is closed.
    pub(crate) fn set_outlives(&self) {
        self.outlives.store(true, Ordering::Release);
    }

    pub(crate) fn outlives(&self) -> bool {
        self.outlives.load(Ordering::Acquire)
    }
}

/// A connection of the program's, and where its client is.
pub(crate) type Taken<S> = (S, <S as Stream>::Address);

/// What an accept says that has nothing to wait for any more.
pub(crate) fn over() -> io::Error {
    let text = "this worker has left: no more connections come, and it holds none";
    io::Error::new(io::ErrorKind::NotConnected, text)
}

#[cfg(test)]
pub(crate) mod tests;
