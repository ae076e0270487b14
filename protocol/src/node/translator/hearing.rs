//! What the worker says, in our words.

use nix::libc::{EINVAL, EMFILE};

use super::super::line::{self, Ack, Carries, Line, Receipt, Reply};
use super::super::query::Asked;
use super::super::word::Word;
use super::{Granted, Handed, Meaning, SHUTDOWN, Stage, Translator, shared_data};
use crate::message::{QueryId, RejectReason, UserMessage};
use crate::version::PROTOCOL_VERSION;
use crate::{ChannelError, WorkerToMaster};

/// Questions that may be unanswered: 64 servers are all that a master grants, and it answers
/// within a turn of its loop. A worker that gets here does not wait for answers.
const QUERIES_MAX: usize = 1024;

/// Servers that a worker may hold or have been granted; the master's own limit is 64.
const SERVERS_MAX: usize = 1024;

/// The version of the preload's words that this master speaks.
const PRELOAD_VERSION: u32 = 1;

impl Translator {
    pub(in crate::node) fn hear(&mut self, word: Word) -> Result<Meaning, ChannelError> {
        self.greet(&word)?;
        let mut meaning = Meaning::default();
        if let Some(nonce) = self.ping.take() {
            meaning.messages.push(WorkerToMaster::Pong { nonce });
        }
        match word {
            Word::Online => meaning.messages.extend(hello()),
            Word::Query(asked) => self.asked(*asked, &mut meaning)?,
            Word::Nonsense(seq) => {
                let reply = Reply::refused(EINVAL, self.seq).answering(seq, None);
                meaning.answers.push(self.plain(&reply)?);
            }
            Word::Listening(asked) => meaning.messages.extend(self.listening(&asked)),
            Word::Close(key) => meaning.messages.extend(self.closed(&key)),
            Word::Answer { ack, accepted } => {
                meaning.messages.extend(self.answered(ack, accepted)?);
            }
            Word::ExitedAfterDisconnect(seq) => {
                self.leaves = true;
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

    /// Says what has waited for this, in the order in which the master says it.
    fn drained(&mut self) -> Result<Vec<Line>, ChannelError> {
        let Stage::Draining {
            disconnect,
            shutdown,
        } = self.preload
        else {
            return Ok(Vec::new());
        };
        self.preload = Stage::Drained;
        let mut lines = Vec::new();
        if shutdown {
            lines.push(self.numbered(SHUTDOWN.into(), Carries::Nothing));
        }
        if disconnect {
            lines.extend(self.disconnect()?);
        }
        Ok(lines)
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

fn breach(reason: &str) -> ChannelError {
    ChannelError::Malformed {
        len: 0,
        reason: reason.to_owned(),
    }
}
