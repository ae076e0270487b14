//! Tests of Node's dialect: the pure parts by themselves, and the ends against bare sockets.
//! `protocol/tests/node_worker.rs` has the ends speak with a real Node.

mod conversation;
mod ends;
mod framing;
mod hostile;
mod listening;
mod writer;

use super::line::Line;
use super::translator::{Meaning, Translator, Wording};
use super::word;
use crate::message::{BoundAddress, QueryId, ServerOutcome};
use crate::{ChannelError, HandoffId, MasterToWorker, ServerId, WorkerToMaster};

const ONLINE: &str = r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#;
const QUERY: &str = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":"127.0.0.1","port":0,"addressType":4,"flags":0,"backlog":0,"seq":1}"#;
const LISTENING: &str = r#"{"cmd":"NODE_CLUSTER","act":"listening","index":0,"data":null,"address":"127.0.0.1","port":35967,"addressType":4,"flags":0,"backlog":0,"seq":2}"#;
const HANDLE_ACK: &str = r#"{"cmd":"NODE_HANDLE_ACK"}"#;
const NOT_ARRIVED: &str = r#"{"cmd":"NODE_HANDLE_NACK"}"#;
const PRELOAD: &str = r#"{"cmd":"NODE_MAITRED","act":"hello","version":1}"#;

/// Takes in one line of the worker's.
fn try_hear(translator: &mut Translator, line: &str) -> Result<Meaning, ChannelError> {
    translator.hear(word::parse(line.as_bytes().to_vec())?)
}

fn hear(translator: &mut Translator, line: &str) -> Meaning {
    try_hear(translator, line).unwrap()
}

/// Takes in a line that is not to be answered.
fn messages(translator: &mut Translator, line: &str) -> Vec<WorkerToMaster> {
    let meaning = hear(translator, line);
    assert!(meaning.answers.is_empty(), "{:?}", meaning.answers);
    meaning.messages
}

/// Takes in a line that means nothing to the master; returns what it is answered.
fn answers(translator: &mut Translator, line: &str) -> Vec<String> {
    let meaning = hear(translator, line);
    assert_eq!(meaning.messages, []);
    meaning.answers.iter().map(text).collect()
}

fn text(line: &Line) -> String {
    let text = std::str::from_utf8(&line.bytes).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

/// Says a message; returns the line it comes to.
fn say(translator: &mut Translator, message: &MasterToWorker) -> Line {
    let wording = translator.encode(message).unwrap();
    let Wording::Line(line) = wording else {
        panic!("{message:?} comes to {wording:?}");
    };
    line
}

/// Says a message that comes to no line and has no answer.
fn says_nothing(translator: &mut Translator, message: &MasterToWorker) {
    let wording = translator.encode(message).unwrap();
    assert!(matches!(wording, Wording::Nothing), "{wording:?}");
}

fn online() -> Translator {
    let mut translator = Translator::default();
    hear(&mut translator, ONLINE);
    translator
}

/// A worker that listens on server 3, 127.0.0.1:35967.
fn listening() -> Translator {
    let mut translator = online();
    hear(&mut translator, QUERY);
    say(&mut translator, &handed_over(0, "127.0.0.1:35967"));
    let heard = messages(&mut translator, LISTENING);
    assert_eq!(heard, [WorkerToMaster::Listening { server: SERVER }]);
    translator
}

const SERVER: ServerId = ServerId(3);

fn ip(address: &str) -> BoundAddress {
    BoundAddress::Ip(address.parse().unwrap())
}

fn reply(query: u32, outcome: ServerOutcome) -> MasterToWorker {
    let query = QueryId(query);
    MasterToWorker::ServerReply { query, outcome }
}

fn handed_over(query: u32, bound: &str) -> MasterToWorker {
    let outcome = ServerOutcome::HandedOver {
        server: SERVER,
        bound: ip(bound),
        data: None,
    };
    reply(query, outcome)
}

fn shared(query: u32, bound: &str) -> MasterToWorker {
    let outcome = ServerOutcome::Shared {
        server: SERVER,
        bound: ip(bound),
        data: None,
    };
    reply(query, outcome)
}

fn new_connection(handoff: u64) -> MasterToWorker {
    MasterToWorker::NewConnection {
        handoff: HandoffId(handoff),
        server: SERVER,
        client: None,
    }
}

/// Says a connection and sends it; returns its `seq`.
fn hand_off(translator: &mut Translator, handoff: u64) -> u64 {
    let line = say(translator, &new_connection(handoff));
    assert_eq!(line.handoff(), Some(HandoffId(handoff)));
    assert!(line.descriptor());
    translator.sent(line.carries);
    line.number
}

fn answer(seq: u64, accepted: bool) -> String {
    format!(r#"{{"cmd":"NODE_CLUSTER","ack":{seq},"accepted":{accepted},"seq":3}}"#)
}

fn user(json: &str) -> WorkerToMaster {
    let json = json.to_owned();
    WorkerToMaster::User(crate::message::UserMessage { json })
}

fn is_breach<T: std::fmt::Debug>(outcome: Result<T, ChannelError>) {
    let error = outcome.unwrap_err();
    assert!(error.is_breach(), "{error}");
    assert!(error.to_string().len() < 500, "the error quotes all of it");
}
