//! Between Node's words and ours. Pure: it reads and writes nothing.
//!
//! [`hearing`] is told what the worker said, [`saying`] what the master says. All that must be
//! remembered about one worker is here, and all of it is bounded: questions and servers by
//! limits of their own, lines with descriptors by the window and the questions (one enters
//! only when it is sent, and the master sends no more than that), and one ping at most is owed.

mod hearing;
mod saying;

use std::collections::{BTreeMap, VecDeque};

use nix::libc::{EACCES, EINVAL, ENOENT};
use serde::Serialize;
use serde_json::value::RawValue;

use super::line::{self, Act, Carries, Line, Reply};
use super::query::Asked;
use crate::message::{BoundAddress, QueryId};
use crate::{ChannelError, ServerId, WorkerToMaster};

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
    /// The worker has said that it leaves by itself.
    leaves: bool,
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

/// What programs are told that end themselves when they hear it: pm2's word.
const SHUTDOWN: &str = "\"shutdown\"";

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
        /// So does [`SHUTDOWN`], at which programs close their servers.
        shutdown: bool,
    },
    /// It has drained.
    Drained,
}

impl Translator {
    fn refuse(&mut self, asked: &Asked, errno: i32) -> Result<Line, ChannelError> {
        // The worker's own data goes back to it even so: Node sets TLS ticket keys before it
        // looks at the errno, and throws where there are none.
        let data = shared_data(None, asked);
        let errno = match errno {
            0 => EINVAL,
            // libuv's word for a path that cannot be, so that programs look for that one.
            ENOENT if asked.is_path() => EACCES,
            errno => errno,
        };
        let reply = Reply::refused(errno, self.seq);
        self.plain(&reply.answering(asked.seq, data.as_deref()))
    }

    pub(in crate::node) fn forget(&mut self, query: QueryId) {
        self.questions.remove(&query);
    }

    /// Tells the worker to leave, unless it was told or leaves by itself: Node cuts the channel
    /// each time that it has a reason to, and dies of cutting it twice.
    fn disconnect(&mut self) -> Result<Option<Line>, ChannelError> {
        let is_news = !self.disconnecting && !self.leaves;
        self.disconnecting = true;
        is_news
            .then(|| self.plain(&Act::disconnect(self.seq)))
            .transpose()
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
    pub(in crate::node) fn sent(&mut self, carries: Carries) {
        if carries != Carries::Nothing {
            self.handed.push_back(Handed {
                carries,
                arrived: false,
            });
        }
    }

    /// Returns how many lines with descriptors were sent and have not been acked as such.
    pub(in crate::node) fn unacked(&self) -> usize {
        self.handed.iter().filter(|handed| !handed.arrived).count()
    }
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
