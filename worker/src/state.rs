//! What a worker hears from its master, and what it does about it.
//!
//! All of it runs under the link's lock and none of it waits. What can be decided without
//! I/O is decided in `session.rs`; here the sockets, queues and wakers are kept in step.
//! The way out is in `leaving.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use maitred_protocol::message::{
    ListenAddress, ListenOptions, QueryId, RejectReason, ServerOutcome, ServerQuery, Statistics,
    Welcome,
};
use maitred_protocol::native::{Frame, WorkerEnd, WorkerInbox};
use maitred_protocol::{HandoffId, MasterToWorker, ServerId, WorkerToMaster};
use tokio::sync::oneshot;

use crate::indexes::Indexes;
use crate::link::Link;
use crate::messages::Received;
use crate::open_connections::ListenerTag;
use crate::outbox::Outbox;
use crate::session::{Session, Wish};

/// Frames read in one go: several windows, so that it only bounds a flood of messages.
const FRAMES_MAX: usize = 64;

/// A connection that the program has not taken yet.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) handoff: HandoffId,
    pub(crate) socket: OwnedFd,
    pub(crate) client: Option<SocketAddr>,
}

/// One listener's connections, in order. `Session` bounds them by the window.
#[derive(Debug)]
pub(crate) struct Queue {
    tag: ListenerTag,
    pub(crate) waiting: VecDeque<Queued>,
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
    pub(crate) queries: BTreeMap<QueryId, oneshot::Sender<Answer>>,
    queries_made: u32,
    listeners_made: u32,
    pub(crate) queues: BTreeMap<ServerId, Queue>,
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
        self.session.is_connected() && self.outbox.has_room()
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
                self.session.parted();
                self.progress(link);
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

    pub(crate) fn reject(&mut self, handoff: HandoffId, reason: RejectReason) {
        self.outbox.say(WorkerToMaster::Reject { handoff, reason });
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
