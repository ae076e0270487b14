//! What a worker hears from its master, and what it does about it.
//!
//! All of it runs under the link's lock and none of it waits. What can be decided without
//! I/O is decided in `session.rs`; here the sockets, queues and wakers are kept in step.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use maitred_protocol::message::{
    ListenAddress, ListenOptions, QueryId, RejectReason, ServerOutcome, ServerQuery, Statistics,
    Welcome,
};
use maitred_protocol::native::{Frame, WorkerEnd, WorkerInbox};
use maitred_protocol::{ChannelError, HandoffId, MasterToWorker, ServerId, WorkerToMaster};
use tokio::sync::oneshot;

use crate::indexes::Indexes;
use crate::link::Link;
use crate::messages::Received;
use crate::open_connections::ListenerTag;
use crate::outbox::Outbox;
use crate::session::{Phase, Session, Step, Wish};
use crate::stream::Stream;

/// Frames read in one go: several windows, so that it only bounds a flood of messages.
const FRAMES_MAX: usize = 64;

/// How long idle connections may stay when it is not the master who says so: it has gone, or
/// the program leaves by itself. Shorter than the master's patience with an orphan's like.
const OWN_GRACE: Duration = Duration::from_secs(1);

/// A connection that the program has not taken yet.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) handoff: HandoffId,
    pub(crate) socket: OwnedFd,
    pub(crate) client: Option<SocketAddr>,
}

/// One listener's connections, in order. `Session` bounds them by the window.
#[derive(Debug)]
struct Queue {
    tag: ListenerTag,
    waiting: VecDeque<Queued>,
    /// Who waits for one: a waker for each task, so few.
    wakers: Vec<Waker>,
}

/// An answer to a query, with the socket if it is a shared one.
pub(crate) type Answer = (ServerOutcome, Option<OwnedFd>);

/// What the channel's task and the program's calls share.
#[derive(Debug)]
pub(crate) struct State {
    inbox: WorkerInbox,
    pub(crate) outbox: Outbox,
    pub(crate) session: Session,
    pub(crate) indexes: Indexes,
    pub(crate) received: Received,
    /// Questions without an answer yet. One for each call of the program that waits.
    queries: BTreeMap<QueryId, oneshot::Sender<Answer>>,
    queries_made: u32,
    listeners_made: u32,
    queues: BTreeMap<ServerId, Queue>,
    /// Who accepts from a socket of its own, and wants to know when to stop.
    watchers: BTreeMap<ListenerTag, Waker>,
    /// What the master was told last, and when.
    pub(crate) reported: (Statistics, Option<Instant>),
    /// When the task looks again by itself.
    pub(crate) look_at: Option<Instant>,
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// Nothing is left for now.
    Drained,
    /// More may be there.
    More,
}

impl State {
    pub(crate) fn new(end: WorkerEnd, inbox: WorkerInbox) -> Self {
        Self {
            inbox,
            outbox: Outbox::new(end),
            session: Session::new(),
            indexes: Indexes::default(),
            received: Received::new(),
            queries: BTreeMap::new(),
            queries_made: 0,
            listeners_made: 0,
            queues: BTreeMap::new(),
            watchers: BTreeMap::new(),
            reported: (Statistics::default(), None),
            look_at: None,
        }
    }

    /// Returns whether the channel is to be read: there is a master, and room for answers.
    pub(crate) fn reads(&self) -> bool {
        !matches!(self.session.phase(), Phase::Orphaned | Phase::Closed) && self.outbox.has_room()
    }

    /// Reads what is there, if the runtime has noticed anything, and has `context` woken
    /// when there is more. So an accept between two handlers needs no turn of the task.
    pub(crate) fn poll_read(&mut self, link: &'static Link, context: &mut Context<'_>) {
        while self.reads() {
            match link.end.poll_readable(context) {
                Poll::Pending => return,
                Poll::Ready(Err(error)) => return self.master_gone(link, &error.into()),
                Poll::Ready(Ok(readable)) => match self.pump(link) {
                    Pumped::Drained => readable.clear(),
                    Pumped::More => {
                        link.bell.notify_one();
                        return;
                    }
                },
            }
        }
    }

    /// Reads what is there, up to a bound.
    pub(crate) fn pump(&mut self, link: &'static Link) -> Pumped {
        for _ in 0..FRAMES_MAX {
            if !self.reads() {
                return Pumped::More;
            }
            match self.inbox.try_receive() {
                Ok(Some(frame)) => self.hear(link, frame),
                Ok(None) => return Pumped::Drained,
                Err(error) => {
                    self.master_gone(link, &error);
                    return Pumped::Drained;
                }
            }
        }
        Pumped::More
    }

    fn hear(&mut self, link: &'static Link, frame: Frame) {
        match frame.message {
            MasterToWorker::Welcome(welcome) => self.welcomed(link, welcome),
            MasterToWorker::ServerReply { query, outcome } => {
                self.answered(query, (outcome, frame.descriptor));
            }
            MasterToWorker::NewConnection {
                handoff,
                server,
                client,
            } => self.offered(link, server, (handoff, client, frame.descriptor)),
            MasterToWorker::Drain { grace } => self.drain(link, grace),
            MasterToWorker::Disconnect => self.leave(link, Wish::Master),
            MasterToWorker::ExitedAfterDisconnectAck => {
                if let Some(step) = self.session.parted() {
                    self.take_step(link, step);
                }
            }
            MasterToWorker::User(message) => self.received.put(message),
            MasterToWorker::Ping { nonce } => self.outbox.say(WorkerToMaster::Pong { nonce }),
        }
    }

    fn welcomed(&mut self, link: &Link, welcome: Welcome) {
        self.session.welcome(welcome.window);
        self.outbox.say(WorkerToMaster::Online);
        link.identity.send_replace(Some(Ok(welcome)));
    }

    /// Asks for a server; the answer comes through the receiver, or its end without one.
    pub(crate) fn query(
        &mut self,
        address: ListenAddress,
        options: ListenOptions,
        data: Option<Vec<u8>>,
    ) -> (u32, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let index = self.indexes.take(&address);
        if self.session.is_accepting() {
            let query = QueryId(self.queries_made);
            self.queries_made = self.queries_made.wrapping_add(1);
            self.queries.insert(query, sender);
            self.outbox.say(WorkerToMaster::QueryServer(ServerQuery {
                query,
                address,
                index,
                options,
                data,
            }));
        }
        (index, receiver)
    }

    fn answered(&mut self, query: QueryId, answer: Answer) {
        let asker = self.queries.remove(&query);
        let unwanted = match asker {
            Some(asker) => asker.send(answer).err(),
            None => Some(answer),
        };
        // Whoever asked has given up meanwhile: the master must not count on us.
        if let Some((
            ServerOutcome::HandedOver { server, .. } | ServerOutcome::Shared { server, .. },
            _,
        )) = unwanted
        {
            self.outbox.say(WorkerToMaster::Close { server });
        }
    }

    /// A listener is ready for connections of this server.
    pub(crate) fn open_server(
        &mut self,
        server: ServerId,
        connections_max: Option<usize>,
    ) -> ListenerTag {
        let tag = self.new_tag();
        let queue = Queue {
            tag,
            waiting: VecDeque::new(),
            wakers: Vec::new(),
        };
        self.queues.insert(server, queue);
        if self.session.is_accepting() {
            self.session.open_server(server, connections_max);
            self.outbox.say(WorkerToMaster::Listening { server });
        }
        tag
    }

    pub(crate) fn new_tag(&mut self) -> ListenerTag {
        self.listeners_made += 1;
        ListenerTag(self.listeners_made)
    }

    /// A listener is closed: what it has not given out goes back.
    pub(crate) fn close_server(&mut self, server: ServerId) {
        let was_open = self.session.close_server(server);
        if let Some(queue) = self.queues.remove(&server) {
            self.unwatch(queue.tag);
            for queued in queue.waiting {
                self.reject(queued.handoff, RejectReason::Draining);
            }
        }
        if was_open {
            self.outbox.say(WorkerToMaster::Close { server });
        }
    }

    fn offered(
        &mut self,
        link: &Link,
        server: ServerId,
        (handoff, client, socket): (HandoffId, Option<SocketAddr>, Option<OwnedFd>),
    ) {
        let tag = self.queues.get(&server).map(|queue| queue.tag);
        let open = || tag.map_or(0, |tag| link.open.lock().count_of(tag));
        let decision = self.session.offer(server, socket.is_some(), open);
        match (decision, socket, self.queues.get_mut(&server)) {
            (Ok(()), Some(socket), Some(queue)) => {
                queue.waiting.push_back(Queued {
                    handoff,
                    socket,
                    client,
                });
                queue.wakers.drain(..).for_each(Waker::wake);
            }
            // The descriptor closes here, unread; the master has its own.
            (decision, _, _) => {
                self.reject(handoff, decision.err().unwrap_or(RejectReason::Draining));
            }
        }
    }

    fn reject(&mut self, handoff: HandoffId, reason: RejectReason) {
        self.outbox.say(WorkerToMaster::Reject { handoff, reason });
    }

    /// Takes the connection that the program is to get next.
    pub(crate) fn take_next(&mut self, server: ServerId) -> Option<Queued> {
        if !self.session.hands_out() {
            return None;
        }
        self.queues.get_mut(&server)?.waiting.pop_front()
    }

    /// The runtime did not take a connection (no memory for it, most likely).
    pub(crate) fn reject_unregistered(&mut self, handoff: HandoffId, server: ServerId) {
        self.session.gave_back(server);
        self.reject(handoff, RejectReason::NoDescriptor);
    }

    /// The ack did not go out, so the connection is not the program's yet.
    pub(crate) fn put_back<S: Stream>(
        &mut self,
        server: ServerId,
        handoff: HandoffId,
        stream: S,
        client: Option<SocketAddr>,
    ) {
        match (stream.unregister(), self.queues.get_mut(&server)) {
            (Ok(socket), Some(queue)) => queue.waiting.push_front(Queued {
                handoff,
                socket,
                client,
            }),
            _ => self.reject_unregistered(handoff, server),
        }
    }

    /// The program has a connection, and it is acked.
    pub(crate) fn took(&mut self, link: &Link, server: ServerId) {
        self.session.took(server);
        if self.look_at.is_none() {
            // Something is to be counted: the task sets itself an hour.
            link.bell.notify_one();
        }
    }

    /// Tells whether an accept on this server has nothing to wait for.
    pub(crate) fn is_over_for(&self, server: ServerId) -> bool {
        let waiting = self.queues.get(&server).map(|queue| queue.waiting.len());
        self.session.is_over() && waiting.unwrap_or(0) == 0
    }

    /// Has a task woken when something changes for its listener.
    pub(crate) fn wake_later(&mut self, server: ServerId, waker: &Waker) {
        let Some(queue) = self.queues.get_mut(&server) else {
            return;
        };
        if !queue.wakers.iter().any(|known| known.will_wake(waker)) {
            queue.wakers.push(waker.clone());
        }
    }

    /// Has a task woken when its own socket must not be accepted from any more.
    pub(crate) fn watch(&mut self, tag: ListenerTag, waker: &Waker) {
        self.watchers
            .entry(tag)
            .and_modify(|known| known.clone_from(waker))
            .or_insert_with(|| waker.clone());
    }

    pub(crate) fn unwatch(&mut self, tag: ListenerTag) {
        self.watchers.remove(&tag);
    }

    pub(crate) fn wake_all(&mut self) {
        self.watchers.values().for_each(Waker::wake_by_ref);
        for queue in self.queues.values_mut() {
            queue.wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// No more connections: what is queued goes back, and the program is told.
    fn drain(&mut self, link: &Link, grace: Duration) {
        if self.session.drain() {
            self.clear_out(link, grace);
        }
    }

    /// Begins to leave, at whoever's wish.
    pub(crate) fn leave(&mut self, link: &'static Link, wish: Wish) {
        if self.session.leave(wish) {
            self.clear_out(link, OWN_GRACE);
            self.progress(link);
        }
    }

    fn clear_out(&mut self, link: &Link, grace: Duration) {
        let queued: Vec<Queued> = self
            .queues
            .values_mut()
            .flat_map(|queue| queue.waiting.drain(..))
            .collect();
        for queued in queued {
            self.reject(queued.handoff, RejectReason::Draining);
        }
        announce_drain(link, grace);
        self.wake_all();
    }

    /// The channel is at its end, or cannot be trusted: there is no master any more.
    fn master_gone(&mut self, link: &'static Link, error: &ChannelError) {
        if !self.session.orphan() {
            return;
        }
        // Said to the other side too, which may live on after a breach.
        link.end.shut_down();
        link.identity
            .send_if_modified(|identity| match identity.is_none() {
                true => {
                    *identity = Some(Err(error.to_string()));
                    true
                }
                false => false,
            });
        self.forget_master();
        self.progress(link);
    }

    fn forget_master(&mut self) {
        self.received.close();
        self.queries.clear();
        self.outbox.clear();
        self.wake_all();
    }

    /// Goes on with leaving, as far as it can go now.
    pub(crate) fn progress(&mut self, link: &'static Link) {
        if self.session.phase() == Phase::Orphaned {
            return self.progress_orphan(link);
        }
        while self.outbox.is_empty() {
            let Some(step) = self.session.next_step(|| link.open.lock().any()) else {
                return;
            };
            self.take_step(link, step);
        }
    }

    fn take_step(&mut self, link: &'static Link, step: Step) {
        match step {
            Step::SayExited => self.outbox.say(WorkerToMaster::ExitedAfterDisconnect),
            Step::Close(wish) => {
                if wish == Wish::Kill {
                    std::process::exit(0);
                }
                if wish == Wish::Own {
                    link.set_outlives();
                }
                link.end.shut_down();
                self.forget_master();
                link.finished.send_replace(true);
            }
        }
    }

    /// Without a master its copies are gone as well: what is queued can be served by nobody
    /// else. So the program gets that first, and hears of the drain only afterwards.
    fn progress_orphan(&mut self, link: &Link) {
        if self.queues.values().any(|queue| !queue.waiting.is_empty()) {
            return;
        }
        announce_drain(link, OWN_GRACE);
        if self.session.end_orphan(|| link.open.lock().any()) {
            link.finished.send_replace(true);
            self.wake_all();
        }
    }

    /// Says `Ready` if it is owed and there is room.
    pub(crate) fn say_ready_if_due(&mut self, link: &Link) {
        let queues = &self.queues;
        let open = |server: ServerId| {
            let tag = queues.get(&server).map(|queue| queue.tag);
            tag.map_or(0, |tag| link.open.lock().count_of(tag))
        };
        if self.session.ready_due(open) {
            self.outbox.say(WorkerToMaster::Ready);
        }
    }
}

/// Tells the program, once, that it drains.
fn announce_drain(link: &Link, grace: Duration) {
    link.draining.send_if_modified(|draining| {
        let first = draining.is_none();
        draining.get_or_insert(grace);
        first
    });
}

/// Turns what a query led to into what the program gets.
///
/// # Errors
///
/// The errno that the master met; `NotConnected` when it is gone or this worker leaves.
pub(crate) fn granted(answer: Option<Answer>) -> io::Result<Answer> {
    match answer {
        Some((ServerOutcome::Refused { errno }, _)) => Err(io::Error::from_raw_os_error(errno)),
        Some(answer) => Ok(answer),
        None => Err(crate::link::over()),
    }
}
