//! A master in small: it starts one Node worker, answers what it must, and hands connections
//! over in the order they came.

use std::collections::VecDeque;
use std::future::Future;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use maitred_protocol::binding::{self, Bound};
use maitred_protocol::message::{BoundAddress, QueryId, ServerOutcome, ServerQuery, UserMessage};
use maitred_protocol::node::{self, Line, MasterEnd, MasterInbox, Wording};
use maitred_protocol::{ChannelError, HandoffId, MasterToWorker, ServerId, WorkerToMaster};
use rustix::net::{SocketFlags, accept_with};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// How long anything may take: Node starts in a tenth of a second, and much later where a
/// dozen programs share two processors.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("nothing came for a minute")
}

pub(crate) fn to_program(json: &str) -> MasterToWorker {
    let json = json.to_owned();
    MasterToWorker::User(UserMessage { json })
}

pub(crate) fn user(json: &str) -> WorkerToMaster {
    let json = json.to_owned();
    WorkerToMaster::User(UserMessage { json })
}

/// A master with one worker.
pub(crate) struct Office {
    pub(crate) server: ServerId,
    end: MasterEnd,
    inbox: MasterInbox,
    outbox: VecDeque<(Line, Option<OwnedFd>)>,
    heard: VecDeque<WorkerToMaster>,
    worker: Child,
    bound: Option<Bound>,
    _directory: TempDir,
}

impl Office {
    /// Starts a worker that runs `script`, and hears its greeting.
    pub(crate) async fn open(script: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("worker.js");
        std::fs::write(&path, script).unwrap();
        let (master, worker_end) = node::pair().unwrap();
        let (end, inbox) = MasterEnd::new(master, node::MESSAGE_MAX).unwrap();
        let mut office = Self {
            server: ServerId(3),
            end,
            inbox,
            outbox: VecDeque::new(),
            heard: VecDeque::new(),
            worker: start(&path, worker_end),
            bound: None,
            _directory: directory,
        };
        let hello = office.heard().await;
        assert!(matches!(hello, WorkerToMaster::Hello { .. }), "{hello:?}");
        assert_eq!(office.heard().await, WorkerToMaster::Online);
        office
    }

    /// Puts a message behind those that wait.
    pub(crate) fn say(&mut self, message: &MasterToWorker) {
        self.say_with(message, None);
    }

    fn say_with(&mut self, message: &MasterToWorker, descriptor: Option<OwnedFd>) {
        match self.end.encode(message).unwrap() {
            Wording::Line(line) => self.outbox.push_back((line, descriptor)),
            Wording::Answered(answer) => self.heard.push_back(answer),
            Wording::Nothing => {}
        }
        self.flush();
    }

    /// Sends what it can; returns whether the channel is full.
    fn flush(&mut self) -> bool {
        while let Some((line, descriptor)) = self.outbox.front() {
            let descriptor = descriptor.as_ref().map(AsFd::as_fd);
            match self.end.send(line, descriptor) {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(ChannelError::Full) => return true,
                Err(ChannelError::AwaitingAck) => return false,
                Err(error) => panic!("send {line:?}: {error}"),
            }
        }
        false
    }

    /// Returns the worker's next message; sends what waits meanwhile.
    pub(crate) async fn heard(&mut self) -> WorkerToMaster {
        soon(self.receive()).await.unwrap()
    }

    pub(crate) async fn receive(&mut self) -> Result<WorkerToMaster, ChannelError> {
        loop {
            let full = self.flush();
            if let Some(message) = self.heard.pop_front() {
                return Ok(message);
            }
            let room = self.end.room();
            tokio::select! {
                heard = self.inbox.receive() => {
                    let meaning = self.end.hear(heard?)?;
                    self.heard.extend(meaning.messages);
                    self.outbox.extend(meaning.answers.into_iter().map(|line| (line, None)));
                }
                writable = room.writable(), if full => writable?,
            }
        }
    }

    /// Hears a question.
    pub(crate) async fn asked(&mut self) -> ServerQuery {
        let heard = self.heard().await;
        let WorkerToMaster::QueryServer(query) = heard else {
            panic!("{heard:?}");
        };
        query
    }

    /// Hears a question, binds what it asks for, and hears that the worker listens.
    pub(crate) async fn listening(&mut self) {
        let query = self.asked().await;
        let bound = binding::open(&query.address, query.options, &[]).unwrap();
        let outcome = ServerOutcome::HandedOver {
            server: self.server,
            bound: bound.address.clone(),
            data: query.data,
        };
        self.bound = Some(bound);
        let query = query.query;
        self.say(&MasterToWorker::ServerReply { query, outcome });
        self.listens().await;
    }

    pub(crate) async fn listens(&mut self) {
        let server = self.server;
        assert_eq!(self.heard().await, WorkerToMaster::Listening { server });
    }

    pub(crate) fn refuse(&mut self, query: QueryId, errno: i32) {
        let outcome = ServerOutcome::Refused { errno };
        self.say(&MasterToWorker::ServerReply { query, outcome });
    }

    /// Binds what was asked for and gives it away; returns where it is.
    pub(crate) fn share(&mut self, query: &ServerQuery) -> BoundAddress {
        let bound = binding::open(&query.address, query.options, &[]).unwrap();
        let outcome = ServerOutcome::Shared {
            server: self.server,
            bound: bound.address.clone(),
            data: None,
        };
        let query = query.query;
        let reply = MasterToWorker::ServerReply { query, outcome };
        self.say_with(&reply, Some(bound.socket));
        bound.address
    }

    /// Accepts the next connection and hands it over.
    pub(crate) fn hand_off(&mut self, handoff: u64) {
        let listener = &self.bound.as_ref().unwrap().socket;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let connection = accept_with(listener, flags).expect("a client has connected");
        let message = MasterToWorker::NewConnection {
            handoff: HandoffId(handoff),
            server: self.server,
            client: None,
        };
        self.say_with(&message, Some(connection));
    }

    /// Tells a worker that listens to leave, and sees it out.
    pub(crate) async fn disconnects(mut self) {
        self.say(&MasterToWorker::Disconnect);
        let server = self.server;
        assert_eq!(self.heard().await, WorkerToMaster::Close { server });
        self.ends().await;
    }

    /// Tells a worker without servers to leave, and sees it out.
    pub(crate) async fn disconnects_at_once(mut self) {
        self.say(&MasterToWorker::Disconnect);
        self.ends().await;
    }

    /// Sees the end of the channel, and a worker that has exited well.
    pub(crate) async fn ends(mut self) {
        let ended = soon(self.receive()).await.unwrap_err();
        assert!(matches!(ended, ChannelError::PeerGone), "{ended}");
        assert_eq!(self.status().await.code(), Some(0));
    }

    pub(crate) async fn status(&mut self) -> ExitStatus {
        soon(self.worker.wait()).await.unwrap()
    }
}

/// Where a Node worker finds its channel: any number will do.
const CHANNEL: i32 = 3;

#[expect(
    clippy::disallowed_methods,
    reason = "this test's worker is no program that a master could start yet"
)]
fn start(script: &std::path::Path, worker_end: OwnedFd) -> Child {
    let mut command = std::process::Command::new("node");
    command
        .arg(script)
        .env("NODE_CHANNEL_FD", CHANNEL.to_string())
        .env("NODE_UNIQUE_ID", "1")
        .stdin(Stdio::null());
    let mapping = FdMapping {
        parent_fd: worker_end,
        child_fd: CHANNEL,
    };
    command.fd_mappings(vec![mapping]).unwrap();
    match Command::from(command).kill_on_drop(true).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => panic!(
            "this test needs Node 18 or later as `node` on the PATH: \
             `apt-get install nodejs`, or https://nodejs.org/en/download"
        ),
        Err(error) => panic!("start node: {error}"),
    }
}

/// A client that has connected and asked for the path `/n`.
pub(crate) struct Client(JoinHandle<String>);

impl Client {
    pub(crate) fn ask(office: &Office, n: u64) -> Self {
        let BoundAddress::Ip(address) = office.bound.as_ref().unwrap().address else {
            panic!("a client needs an address");
        };
        // It is in the listener's queue when this returns.
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self(tokio::spawn(async move {
            let mut stream = TcpStream::from_std(stream).unwrap();
            let request = format!("GET /{n} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }))
    }

    /// Returns the body of the answer: what is between brackets.
    pub(crate) async fn answer(self) -> String {
        let answer = soon(self.0).await.unwrap();
        let from = answer.find('[').expect("an answer in brackets");
        let to = answer.rfind(']').expect("an answer in brackets");
        answer[from..=to].to_owned()
    }
}
