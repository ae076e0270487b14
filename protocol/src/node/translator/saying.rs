//! What the master says, in Node's words.

use nix::libc::EADDRINUSE;
use serde_json::value::RawValue;

use super::super::line::{Act, Carries, Handle, Line, Preload, Reply};
use super::super::query::Asked;
use super::super::user_line::UserLine;
use super::{Granted, Handed, SHUTDOWN, Stage, Translator, Wording, shared_data};
use crate::message::{BoundAddress, QueryId, ServerOutcome};
use crate::{ChannelError, HandoffId, MasterToWorker, ServerId, WorkerToMaster};

impl Translator {
    pub(in crate::node) fn encode(
        &mut self,
        message: &MasterToWorker,
    ) -> Result<Wording, ChannelError> {
        match message {
            MasterToWorker::Welcome(_) => Ok(Wording::Nothing),
            MasterToWorker::ServerReply { query, outcome } => self.reply(*query, outcome),
            MasterToWorker::NewConnection {
                handoff, server, ..
            } => self.new_connection(*handoff, *server).map(Wording::Line),
            MasterToWorker::Drain { grace } => match self.preload {
                Stage::Loaded => {
                    self.preload = Stage::Draining {
                        disconnect: false,
                        shutdown: false,
                    };
                    self.plain(&Preload::drain(*grace)).map(Wording::Line)
                }
                Stage::Absent | Stage::Draining { .. } | Stage::Drained => Ok(Wording::Nothing),
            },
            MasterToWorker::Disconnect => match &mut self.preload {
                Stage::Draining { disconnect, .. } => {
                    *disconnect = true;
                    Ok(Wording::Nothing)
                }
                Stage::Absent | Stage::Loaded | Stage::Drained => {
                    let line = self.disconnect()?;
                    Ok(line.map_or(Wording::Nothing, Wording::Line))
                }
            },
            // It was answered when it was heard: a worker waits for ever for this one.
            MasterToWorker::ExitedAfterDisconnectAck => Ok(Wording::Nothing),
            MasterToWorker::User(message) => Ok(self.user(UserLine::new(message)?)),
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

    pub(in crate::node) fn user(&mut self, line: UserLine) -> Wording {
        let Some(text) = line.into_text() else {
            return Wording::Nothing;
        };
        // A program that closes its servers at this word would undo the polite drain.
        if let Stage::Draining { shutdown, .. } = &mut self.preload
            && text.trim_ascii() == SHUTDOWN.as_bytes()
        {
            *shutdown = true;
            return Wording::Nothing;
        }
        Wording::Line(self.numbered(text, Carries::Nothing))
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
}
