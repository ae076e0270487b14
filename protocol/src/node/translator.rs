//! Between Node's words and ours. Pure: it reads and writes nothing.
//!
//! All that must be remembered about one worker is here, and all of it is bounded: questions
//! by [`QUERIES_MAX`], servers by [`SERVERS_MAX`], lines with descriptors by the window and
//! the questions (one enters only when it is sent, and the master sends no more than that),
//! and one ping at most is owed.

use std::collections::{BTreeMap, VecDeque};

use nix::libc::{EADDRINUSE, EINVAL, EMFILE};
use serde::Serialize;
use serde_json::value::RawValue;

use super::line::{self, Ack, Act, Carries, Handle, Line, Preload, Receipt, Reply};
use super::query::Asked;
use super::word::{self, Word};
use crate::message::{BoundAddress, QueryId, RejectReason, ServerOutcome, UserMessage};
use crate::version::PROTOCOL_VERSION;
use crate::{ChannelError, HandoffId, MasterToWorker, ServerId, WorkerToMaster};

/// Questions that may be unanswered: 64 servers are all that a master grants, and it answers
/// within a turn of its loop. A worker that gets here does not wait for answers.
const QUERIES_MAX: usize = 1024;

/// Servers that a worker may hold or have been granted; the master's own limit is 64.
const SERVERS_MAX: usize = 1024;

/// The version of the preload's words that this master speaks.
const PRELOAD_VERSION: u32 = 1;

/// What a message of ours comes to in Node's words.
#[derive(Debug)]
pub enum Wording {
    /// A line to be sent, in order.
    Line(Line),
    /// Nothing to be sent: the worker's answer is known already, as if it had been heard now.
    Answered(WorkerToMaster),
    /// Nothing to be sent: Node has no word for it, or needs none, or it is said later.
    Nothing,
}

/// What a worker's line means.
#[derive(Debug, Default)]
pub struct Meaning {
    /// What it tells the master, in order.
    pub messages: Vec<WorkerToMaster>,
    /// What it is answered at once, in order, behind the lines that wait already.
    pub answers: Vec<Line>,
}

/// What is remembered about one worker.
#[derive(Debug, Default)]
pub(super) struct Translator {
    /// It has said `online`.
    online: bool,
    /// Counts our lines; Node's primary does, too.
    seq: u64,
    next_query: u32,
    /// Enter with the question, leave with the answer.
    questions: BTreeMap<QueryId, Asked>,
    /// Enter with a good answer, leave when the worker closes the server.
    servers: BTreeMap<ServerId, Granted>,
    /// Oldest first. Enter when sent, leave when answered for good.
    handed: VecDeque<Handed>,
    /// A ping that nobody there can answer. A later one takes its place: what answers it
    /// shows as much.
    ping: Option<u64>,
    preload: Stage,
    /// The worker was told to close its servers.
    disconnecting: bool,
}

/// A server that the worker may listen on.
#[derive(Debug)]
struct Granted {
    asked: Asked,
    bound: BoundAddress,
    listening: bool,
}

/// A line with a descriptor that was sent.
#[derive(Debug)]
struct Handed {
    carries: Carries,
    /// `NODE_HANDLE_ACK` has come for it.
    arrived: bool,
}

/// What the preload, if there is one, has been asked and has said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is none.
    #[default]
    Absent,
    /// It is there.
    Loaded,
    /// It drains, and `disconnect` has to wait for it.
    Draining {
        /// `disconnect` does wait.
        disconnect: bool,
    },
    /// It has drained.
    Drained,
}

impl Translator {
    pub(super) fn encode(&mut self, message: &MasterToWorker) -> Result<Wording, ChannelError> {
        match message {
            MasterToWorker::Welcome(_) => Ok(Wording::Nothing),
            MasterToWorker::ServerReply { query, outcome } => self.reply(*query, outcome),
            MasterToWorker::NewConnection {
                handoff, server, ..
            } => self.new_connection(*handoff, *server).map(Wording::Line),
            MasterToWorker::Drain { grace } => match self.preload {
                Stage::Loaded => {
                    self.preload = Stage::Draining { disconnect: false };
                    self.plain(&Preload::drain(*grace)).map(Wording::Line)
                }
                Stage::Absent | Stage::Draining { .. } | Stage::Drained => Ok(Wording::Nothing),
            },
            MasterToWorker::Disconnect => match &mut self.preload {
                Stage::Draining { disconnect } => {
                    *disconnect = true;
                    Ok(Wording::Nothing)
                }
                Stage::Absent | Stage::Loaded | Stage::Drained => {
                    self.disconnect().map(Wording::Line)
                }
            },
            // It was answered when it was heard: a worker waits for ever for this one.
            MasterToWorker::ExitedAfterDisconnectAck => Ok(Wording::Nothing),
            MasterToWorker::User(message) => self.user(message),
            MasterToWorker::Ping { nonce } => self.ping(*nonce),
        }
    }

    fn reply(&mut self, query: QueryId, outcome: &ServerOutcome) -> Result<Wording, ChannelError> {
        let Some(asked) = self.questions.remove(&query) else {
            return Ok(Wording::Nothing);
        };
        let line = match outcome {
            ServerOutcome::Refused { errno } => self.refuse(&asked, *errno)?,
            ServerOutcome::HandedOver { server, .. } | ServerOutcome::Shared { server, .. }
                if self.servers.contains_key(server) =>
            {
                // Two live listens of one key would make the worker crash.
                self.refuse(&asked, EADDRINUSE)?
            }
            ServerOutcome::HandedOver {
                server,
                bound,
                data,
            } => {
                let data = shared_data(data.as_deref(), &asked);
                let reply = Reply::granted(*server, bound, self.seq);
                let line = self.plain(&reply.answering(asked.seq, data.as_deref()))?;
                self.grant(*server, asked, bound.clone());
                line
            }
            ServerOutcome::Shared {
                server,
                bound,
                data,
            } => {
                let data = shared_data(data.as_deref(), &asked);
                let line = self.share(query, *server, &asked, data.as_deref())?;
                self.grant(*server, asked, bound.clone());
                line
            }
        };
        Ok(Wording::Line(line))
    }

    fn refuse(&mut self, asked: &Asked, errno: i32) -> Result<Line, ChannelError> {
        // The worker's own data goes back to it even so: Node sets TLS ticket keys before it
        // looks at the errno, and throws where there are none.
        let data = shared_data(None, asked);
        let errno = if errno == 0 { EINVAL } else { errno };
        let reply = Reply::refused(errno, self.seq);
        self.plain(&reply.answering(asked.seq, data.as_deref()))
    }

    fn share(
        &mut self,
        query: QueryId,
        server: ServerId,
        asked: &Asked,
        data: Option<&RawValue>,
    ) -> Result<Line, ChannelError> {
        let ack = asked.seq;
        let carries = Carries::Shared { query, ack, server };
        let reply = Reply::shared(server, self.seq).answering(ack, data);
        if asked.is_udp() {
            self.line(&Handle::datagrams(reply), carries)
        } else {
            self.line(&Handle::stream(reply), carries)
        }
    }

    fn grant(&mut self, server: ServerId, asked: Asked, bound: BoundAddress) {
        let granted = Granted {
            asked,
            bound,
            listening: false,
        };
        self.servers.insert(server, granted);
    }

    fn new_connection(
        &mut self,
        handoff: HandoffId,
        server: ServerId,
    ) -> Result<Line, ChannelError> {
        let seq = self.seq;
        let carries = Carries::Connection {
            seq,
            handoff,
            server,
        };
        self.line(&Handle::stream(Act::new_connection(server, seq)), carries)
    }

    fn disconnect(&mut self) -> Result<Line, ChannelError> {
        self.disconnecting = true;
        self.plain(&Act::disconnect(self.seq))
    }

    fn user(&mut self, message: &UserMessage) -> Result<Wording, ChannelError> {
        // Node swallows these as well. Some of them would make the worker crash.
        if word::is_internal(&message.json)? {
            return Ok(Wording::Nothing);
        }
        let text = line::on_one_line(&message.json);
        Ok(Wording::Line(self.numbered(text, Carries::Nothing)))
    }

    fn ping(&mut self, nonce: u64) -> Result<Wording, ChannelError> {
        if self.preload != Stage::Absent {
            return self.plain(&Preload::ping(nonce)).map(Wording::Line);
        }
        let is_connection = |handed: &Handed| matches!(handed.carries, Carries::Connection { .. });
        if self.handed.iter().any(is_connection) {
            self.ping = Some(nonce);
            return Ok(Wording::Nothing);
        }
        // Nothing is asked of it, so there is nothing that it could be late with.
        Ok(Wording::Answered(WorkerToMaster::Pong { nonce }))
    }

    fn plain<T: Serialize>(&mut self, word: &T) -> Result<Line, ChannelError> {
        self.line(word, Carries::Nothing)
    }

    fn line<T: Serialize>(&mut self, word: &T, carries: Carries) -> Result<Line, ChannelError> {
        let text = line::text(word)?;
        Ok(self.numbered(text, carries))
    }

    fn numbered(&mut self, mut text: Vec<u8>, carries: Carries) -> Line {
        text.push(b'\n');
        let number = self.seq;
        self.seq += 1;
        Line {
            bytes: text,
            number,
            carries,
        }
    }

    /// Notes that the descriptor of a line is on its way.
    pub(super) fn sent(&mut self, carries: Carries) {
        if carries != Carries::Nothing {
            self.handed.push_back(Handed {
                carries,
                arrived: false,
            });
        }
    }

    /// Returns how many lines with descriptors were sent and have not been acked as such.
    pub(super) fn unacked(&self) -> usize {
        self.handed.iter().filter(|handed| !handed.arrived).count()
    }
}

impl Translator {
    pub(super) fn hear(&mut self, word: Word) -> Result<Meaning, ChannelError> {
        self.greet(&word)?;
        let mut meaning = Meaning::default();
        if let Some(nonce) = self.ping.take() {
            meaning.messages.push(WorkerToMaster::Pong { nonce });
        }
        match word {
            Word::Online => meaning.messages.extend(hello()),
            Word::Query(asked) => self.asked(*asked, &mut meaning)?,
            Word::Listening(asked) => meaning.messages.extend(self.listening(&asked)),
            Word::Close(key) => meaning.messages.extend(self.closed(&key)),
            Word::Answer { ack, accepted } => {
                meaning.messages.extend(self.answered(ack, accepted)?);
            }
            Word::ExitedAfterDisconnect(seq) => {
                meaning.messages.push(WorkerToMaster::ExitedAfterDisconnect);
                meaning.answers.push(self.plain(&Ack::new(seq, self.seq))?);
            }
            Word::HandleAck => self.arrived()?,
            Word::HandleNack => self.not_arrived(&mut meaning)?,
            Word::Handle(message) => {
                meaning.answers.push(self.plain(&Receipt::handle())?);
                meaning.messages.extend(message.map(user));
            }
            Word::SocketsClose(key) => {
                meaning.answers.push(self.plain(&Receipt::all_closed(key))?);
            }
            Word::SocketsCount(key) => {
                meaning.answers.push(self.plain(&Receipt::none_open(key))?);
            }
            Word::PreloadHello(version) => self.loaded(version),
            Word::Pong(nonce) => meaning.messages.push(WorkerToMaster::Pong { nonce }),
            Word::Statistics(statistics) => {
                meaning
                    .messages
                    .push(WorkerToMaster::Statistics(statistics));
            }
            Word::Drained => meaning.answers.extend(self.drained()?),
            Word::User(json) => meaning.messages.push(user(json)),
            Word::Unknown => {}
        }
        Ok(meaning)
    }

    /// `online` comes first, once; only what tells the master nothing may come before it.
    fn greet(&mut self, word: &Word) -> Result<(), ChannelError> {
        match (word, self.online) {
            (Word::Online, true) => Err(ChannelError::Greeting("online was said before")),
            (Word::Online, false) => {
                self.online = true;
                Ok(())
            }
            (_, true) | (Word::PreloadHello(_) | Word::Unknown, false) => Ok(()),
            (_, false) => Err(ChannelError::Greeting("the first line is not online")),
        }
    }

    fn asked(&mut self, asked: Asked, meaning: &mut Meaning) -> Result<(), ChannelError> {
        if self.questions.len() >= QUERIES_MAX || self.servers.len() >= SERVERS_MAX {
            return Err(breach("it asks for more servers than any master grants"));
        }
        let query = QueryId(self.next_query);
        let Some(question) = asked.query(query) else {
            meaning.answers.push(self.refuse(&asked, EINVAL)?);
            return Ok(());
        };
        self.next_query = self.next_query.wrapping_add(1);
        self.questions.insert(query, asked);
        meaning.messages.push(WorkerToMaster::QueryServer(question));
        Ok(())
    }

    /// A server that was closed before it was announced is not found, and need not be.
    fn listening(&mut self, listening: &Asked) -> Option<WorkerToMaster> {
        let is_it = |granted: &Granted| {
            !granted.listening && granted.asked.is_heard_in(listening, &granted.bound)
        };
        let (server, granted) = self
            .servers
            .iter_mut()
            .find(|(_, granted)| is_it(granted))?;
        granted.listening = true;
        Some(WorkerToMaster::Listening { server: *server })
    }

    fn closed(&mut self, key: &str) -> Option<WorkerToMaster> {
        let server = self
            .servers
            .keys()
            .copied()
            .find(|server| line::key(*server) == key)?;
        self.servers.remove(&server);
        Some(WorkerToMaster::Close { server })
    }

    fn answered(
        &mut self,
        ack: i64,
        accepted: bool,
    ) -> Result<Option<WorkerToMaster>, ChannelError> {
        let named = |handed: &Handed| match handed.carries {
            Carries::Connection { seq, .. } => i64::try_from(seq) == Ok(ack),
            Carries::Nothing | Carries::Shared { .. } => false,
        };
        let Some(place) = self.handed.iter().position(named) else {
            return Ok(None);
        };
        if !self.handed[place].arrived {
            return Err(breach("it answers a connection that has not arrived"));
        }
        let Some(Handed {
            carries: Carries::Connection {
                handoff, server, ..
            },
            ..
        }) = self.handed.remove(place)
        else {
            return Ok(None);
        };
        if accepted {
            return Ok(Some(WorkerToMaster::Ack { handoff }));
        }
        let leaves = self.disconnecting || !self.servers.contains_key(&server);
        let reason = if leaves {
            RejectReason::Draining
        } else {
            RejectReason::Full
        };
        Ok(Some(WorkerToMaster::Reject { handoff, reason }))
    }

    /// Acks come in the order of the lines, and name none.
    fn oldest_unacked(&self) -> Result<usize, ChannelError> {
        self.handed
            .iter()
            .position(|handed| !handed.arrived)
            .ok_or_else(|| breach("it acks a descriptor that it was not sent"))
    }

    fn arrived(&mut self) -> Result<(), ChannelError> {
        let place = self.oldest_unacked()?;
        match self.handed[place].carries {
            Carries::Connection { .. } => self.handed[place].arrived = true,
            Carries::Shared { .. } | Carries::Nothing => drop(self.handed.remove(place)),
        }
        Ok(())
    }

    /// The worker could not take the descriptor, and forgets the line it belonged to.
    fn not_arrived(&mut self, meaning: &mut Meaning) -> Result<(), ChannelError> {
        let place = self.oldest_unacked()?;
        match self.handed.remove(place).map(|handed| handed.carries) {
            Some(Carries::Connection { handoff, .. }) => {
                let reason = RejectReason::NoDescriptor;
                meaning
                    .messages
                    .push(WorkerToMaster::Reject { handoff, reason });
            }
            Some(Carries::Shared { ack, server, .. }) => {
                // The question is still open there. The server is given back here.
                let asked = self.servers.remove(&server).map(|granted| granted.asked);
                let data = asked.as_ref().and_then(|asked| shared_data(None, asked));
                let reply = Reply::refused(EMFILE, self.seq).answering(ack, data.as_deref());
                meaning.answers.push(self.plain(&reply)?);
                meaning.messages.push(WorkerToMaster::Close { server });
            }
            Some(Carries::Nothing) | None => {}
        }
        Ok(())
    }

    fn loaded(&mut self, version: u32) {
        if version == PRELOAD_VERSION && self.preload == Stage::Absent {
            self.preload = Stage::Loaded;
        }
    }

    fn drained(&mut self) -> Result<Option<Line>, ChannelError> {
        let Stage::Draining { disconnect } = self.preload else {
            return Ok(None);
        };
        self.preload = Stage::Drained;
        disconnect.then(|| self.disconnect()).transpose()
    }
}

fn hello() -> [WorkerToMaster; 2] {
    // The dialect has no version of its own, and the master knows the pid.
    let hello = WorkerToMaster::Hello {
        version: PROTOCOL_VERSION,
        pid: 0,
    };
    [hello, WorkerToMaster::Online]
}

fn user(json: String) -> WorkerToMaster {
    WorkerToMaster::User(UserMessage { json })
}

/// Returns what goes into a reply's `data`: what the server's first worker gave, or if that is
/// none, or nothing that Node could read, what this worker gave itself.
fn shared_data(first: Option<&[u8]>, asked: &Asked) -> Option<Box<RawValue>> {
    let value = |bytes: &[u8]| {
        let text = line::on_one_line(std::str::from_utf8(bytes).ok()?);
        serde_json::from_slice(&text).ok()
    };
    let own = || asked.data.as_ref().and_then(|text| value(text.as_bytes()));
    first.and_then(value).or_else(own)
}

fn breach(reason: &str) -> ChannelError {
    ChannelError::Malformed {
        len: 0,
        reason: reason.to_owned(),
    }
}
