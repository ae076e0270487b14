//! What a Node worker says: one line of JSON to one [`Word`].
//!
//! A line is Node's own business if it is an object whose `cmd` is a string of more than five
//! characters that begins with `NODE_`; everything else, any JSON value at all, is a message
//! of the user's program and passes through as its text.
//!
//! Lines can be long and deep, so a user's value is checked and never built: a tree of it
//! would take many times its length in memory, and nesting would take the stack.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::query::Asked;
use crate::ChannelError;
use crate::message::Statistics;

/// What the `cmd` of Node's own lines begins with; a bare prefix is no such line.
const INTERNAL: &str = "NODE_";

/// Longest key that a worker may give, in bytes: a path is the longest that Node makes one of
/// (`PATH_MAX`), and ours are a few characters. Keys are sent back, so they must not grow us.
const KEY_MAX: usize = 4096;

/// Longest account of what is wrong with a line, in characters: it may quote the line.
const REASON_MAX: usize = 200;

/// One line, understood.
#[derive(Debug, PartialEq)]
pub(super) enum Word {
    /// `online`: the worker's first.
    Online,
    /// `queryServer`.
    Query(Box<Asked>),
    /// `queryServer` that names nothing which anybody could listen on, with its `seq`.
    Nonsense(u64),
    /// `listening`: the question again, with the real port.
    Listening(Box<Asked>),
    /// `close`, with the server's key.
    Close(String),
    /// The answer to a `newconn`.
    Answer {
        /// The `seq` it answers.
        ack: i64,
        /// The worker has taken the connection.
        accepted: bool,
    },
    /// `exitedAfterDisconnect`, with its `seq`.
    ExitedAfterDisconnect(u64),
    /// The oldest line with a descriptor has arrived whole.
    HandleAck,
    /// The oldest line with a descriptor came without it.
    HandleNack,
    /// The worker sends a descriptor, with a message for the user's program.
    Handle(Option<String>),
    /// A server whose sockets the worker sent is closing.
    SocketsClose(String),
    /// How many sockets of that server are still open?
    SocketsCount(String),
    /// The preload is there, and speaks this version.
    PreloadHello(u32),
    /// The preload's answer to a ping.
    Pong(u64),
    /// What the preload counts.
    Statistics(Statistics),
    /// The preload has nothing left to wait for.
    Drained,
    /// A message of the user's program.
    User(String),
    /// Something of Node's, or of a newer preload's, that we need not know.
    Unknown,
}

/// Understands one line, without its newline.
///
/// # Errors
///
/// [`ChannelError::Malformed`].
pub(super) fn parse(line: Vec<u8>) -> Result<Word, ChannelError> {
    let len = line.len();
    let text = String::from_utf8(line).map_err(|error| malformed(len, &error))?;
    let understood = match command_of(&text) {
        Ok(Some(command)) => internal(&command, &text),
        Ok(None) => return Ok(Word::User(text)),
        Err(error) => Err(error),
    };
    understood.map_err(|error| malformed(len, &error))
}

/// Returns whether a text is one JSON value, and Node's own business.
///
/// # Errors
///
/// What is wrong if it is not JSON.
pub(super) fn is_internal(text: &str) -> Result<bool, ChannelError> {
    let command = command_of(text).map_err(|error| malformed(text.len(), &error))?;
    Ok(command.is_some())
}

fn malformed(len: usize, error: &impl fmt::Display) -> ChannelError {
    let reason = error.to_string().chars().take(REASON_MAX).collect();
    ChannelError::Malformed { len, reason }
}

/// Returns the `cmd` of a line that is Node's own, after checking all of the line.
fn command_of(text: &str) -> serde_json::Result<Option<Cow<'_, str>>> {
    if !text.trim_ascii_start().starts_with('{') {
        return serde_json::from_str(text).map(|IgnoredAny| None);
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let command = reader.deserialize_map(CommandVisitor)?;
    reader.end()?;
    // A text that is no Unicode (half a surrogate pair) cannot be one of Node's words.
    let command = command.and_then(|raw| serde_json::from_str::<Text<'_>>(raw.get()).ok());
    let is_nodes = |command: &Cow<'_, str>| {
        command.starts_with(INTERNAL) && command.encode_utf16().count() > INTERNAL.len()
    };
    Ok(command.map(|Text(command)| command).filter(is_nodes))
}

/// A string that is borrowed where it can be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Finds the last `cmd` among an object's members, as JavaScript does, and skips the others.
struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut command = None;
        while let Some(is_command) = members.next_key_seed(IsCommand)? {
            if is_command {
                command = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(command)
    }
}

/// Reads a member's name as bytes: a name need not be Unicode to be JSON.
struct IsCommand;

impl<'de> DeserializeSeed<'de> for IsCommand {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<bool, D::Error> {
        name.deserialize_bytes(self)
    }
}

impl Visitor<'_> for IsCommand {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<bool, E> {
        Ok(name == b"cmd")
    }
}

fn internal(command: &str, text: &str) -> serde_json::Result<Word> {
    match command {
        "NODE_CLUSTER" => cluster(text),
        "NODE_HANDLE_ACK" => Ok(Word::HandleAck),
        "NODE_HANDLE_NACK" => Ok(Word::HandleNack),
        "NODE_HANDLE" => handle(text),
        "NODE_SOCKET_NOTIFY_CLOSE" => Ok(Word::SocketsClose(key(text)?)),
        "NODE_SOCKET_GET_COUNT" => Ok(Word::SocketsCount(key(text)?)),
        "NODE_MAITRED" => preload(text),
        _ => Ok(Word::Unknown),
    }
}

#[derive(Deserialize)]
struct Cluster<'a> {
    #[serde(borrow)]
    act: Option<Cow<'a, str>>,
    ack: Option<i64>,
    accepted: Option<bool>,
    seq: Option<u64>,
}

fn cluster(text: &str) -> serde_json::Result<Word> {
    let line: Cluster<'_> = serde_json::from_str(text)?;
    // An answer names no act, and an act is never an answer (Node's order of looking, too).
    if let Some(ack) = line.ack {
        let accepted = line.accepted.unwrap_or(false);
        return Ok(Word::Answer { ack, accepted });
    }
    Ok(match line.act.as_deref() {
        Some("online") => Word::Online,
        // A program may have asked for anything. That is an error of its own, and no breach.
        Some("queryServer") => match (Asked::parse(text), line.seq) {
            (Ok(asked), _) => Word::Query(Box::new(asked)),
            (Err(_), Some(seq)) => Word::Nonsense(seq),
            (Err(error), None) => return Err(error),
        },
        // What cannot be read was never granted.
        Some("listening") => {
            Asked::parse(text).map_or(Word::Unknown, |asked| Word::Listening(Box::new(asked)))
        }
        Some("close") => Word::Close(key(text)?),
        Some("exitedAfterDisconnect") => {
            let missing = || serde::de::Error::missing_field("seq");
            Word::ExitedAfterDisconnect(line.seq.ok_or_else(missing)?)
        }
        _ => Word::Unknown,
    })
}

#[derive(Deserialize)]
struct Keyed {
    key: String,
}

fn key(text: &str) -> serde_json::Result<String> {
    let Keyed { key } = serde_json::from_str(text)?;
    if key.len() > KEY_MAX {
        let len = key.len();
        let problem = format!("a key of {len} bytes, and {KEY_MAX} is the longest");
        return Err(serde::de::Error::custom(problem));
    }
    Ok(key)
}

#[derive(Deserialize)]
struct Handle<'a> {
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
}

fn handle(text: &str) -> serde_json::Result<Word> {
    let line: Handle<'_> = serde_json::from_str(text)?;
    let message = line.msg.map(RawValue::get);
    // What is Node's own inside is nothing for the user's program, and nothing that we know.
    let message = match message {
        Some(message) if command_of(message)?.is_none() => Some(message.to_owned()),
        _ => None,
    };
    Ok(Word::Handle(message))
}

#[derive(Deserialize)]
struct Preload<'a> {
    #[serde(borrow)]
    act: Cow<'a, str>,
}

#[derive(Deserialize)]
struct PreloadHello {
    version: u32,
}

#[derive(Deserialize)]
struct Pong {
    nonce: u64,
}

fn preload(text: &str) -> serde_json::Result<Word> {
    let Preload { act } = serde_json::from_str(text)?;
    Ok(match &*act {
        "hello" => {
            let PreloadHello { version } = serde_json::from_str(text)?;
            Word::PreloadHello(version)
        }
        "pong" => {
            let Pong { nonce } = serde_json::from_str(text)?;
            Word::Pong(nonce)
        }
        "statistics" => Word::Statistics(counted(text)?),
        "drained" => Word::Drained,
        _ => Word::Unknown,
    })
}

/// What the preload counts, in its names. What a newer one adds is left out.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Counted {
    open: u32,
    taken: u64,
    requests: u64,
    idle: u32,
    busy: u32,
    streaming: u32,
    upgraded: u32,
    // As wide as can be: a process that was stopped for an hour is that late.
    loop_delay_micros: Option<u64>,
    heap_bytes: Option<u64>,
}

fn counted(text: &str) -> serde_json::Result<Statistics> {
    let counted: Counted = serde_json::from_str(text)?;
    Ok(Statistics {
        open: counted.open,
        taken: counted.taken,
        requests: counted.requests,
        idle: counted.idle,
        busy: counted.busy,
        streaming: counted.streaming,
        upgraded: counted.upgraded,
        loop_delay: counted.loop_delay_micros.map(Duration::from_micros),
        heap_bytes: counted.heap_bytes,
    })
}
