//! A worker that does what it is told, by user messages, and says what happens to it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use maitred_protocol::message::{
    ListenAddress, ListenOptions, QueryId, RejectReason, ServerOutcome, ServerQuery, UserMessage,
};
use maitred_protocol::native::{Frame, WorkerEnd, WorkerInbox};
use maitred_protocol::{
    ChannelError, HandoffId, MasterToWorker, ServerId, WorkerId, WorkerToMaster, environment, fd,
};
use nix::sys::signal::{Signal, raise};

/// How this program is told to be a puppet and nothing else.
pub(crate) const ARGUMENTS: [&str; 3] = ["--exact", "puppet::plays_its_part", "--nocapture"];

/// Does nothing in a test run; in a process that a master started it is the whole program.
#[test]
fn plays_its_part() {
    let Some(number) = environment::channel_number() else {
        return;
    };
    let channel = fd::take_inherited(number).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let code = runtime.block_on(async { Puppet::new(channel).await.play().await });
    std::process::exit(code);
}

struct Puppet {
    end: WorkerEnd,
    inbox: WorkerInbox,
    id: WorkerId,
    server: Option<ServerId>,
    queries: u32,
    /// Connections are kept and not acked.
    holds: bool,
    held: Vec<(HandoffId, Option<OwnedFd>)>,
    /// Sockets of servers whose workers accept for themselves.
    sockets: Vec<OwnedFd>,
}

impl Puppet {
    async fn new(channel: OwnedFd) -> Self {
        let (end, mut inbox) = WorkerEnd::new(channel).unwrap();
        end.hello().unwrap();
        let MasterToWorker::Welcome(welcome) = inbox.receive().await.unwrap().message else {
            panic!("the first word is a welcome");
        };
        end.send(&WorkerToMaster::Online).unwrap();
        Self {
            end,
            inbox,
            id: welcome.worker,
            server: None,
            queries: 0,
            holds: false,
            held: Vec::new(),
            sockets: Vec::new(),
        }
    }

    /// Returns the exit code.
    async fn play(mut self) -> i32 {
        loop {
            let Ok(frame) = self.inbox.receive().await else {
                return 0;
            };
            if let Some(code) = self.take(frame).await {
                return code;
            }
        }
    }

    async fn take(
        &mut self,
        Frame {
            message,
            descriptor,
        }: Frame,
    ) -> Option<i32> {
        match message {
            MasterToWorker::NewConnection { handoff, .. } => {
                let connection = descriptor.unwrap();
                if self.holds {
                    self.held.push((handoff, Some(connection)));
                    self.say("held").await;
                } else {
                    self.end.ack(handoff).unwrap();
                    self.answer(Some(connection));
                }
            }
            MasterToWorker::ServerReply { outcome, .. } => self.bound(outcome, descriptor).await,
            MasterToWorker::User(UserMessage { json }) => {
                let order: String = serde_json::from_str(&json).unwrap();
                return self.obey(&order).await;
            }
            MasterToWorker::Drain { .. } => self.say("drain").await,
            // As a good worker: not before what it holds is done.
            MasterToWorker::Disconnect if self.held.is_empty() => return Some(0),
            MasterToWorker::ExitedAfterDisconnectAck => self.say("may leave").await,
            MasterToWorker::Disconnect | MasterToWorker::Ping { .. } => {}
            MasterToWorker::Welcome(_) => panic!("it was welcomed before"),
        }
        None
    }

    async fn bound(&mut self, outcome: ServerOutcome, socket: Option<OwnedFd>) {
        let (server, word, bound) = match outcome {
            ServerOutcome::HandedOver { server, bound, .. } => (server, "bound", bound),
            ServerOutcome::Shared { server, bound, .. } => (server, "shares", bound),
            ServerOutcome::Refused { errno } => return self.say(&format!("refused {errno}")).await,
        };
        self.sockets.extend(socket);
        self.server = Some(server);
        self.send(&WorkerToMaster::Listening { server }).await;
        self.say(&format!("{word} {bound}")).await;
    }

    async fn obey(&mut self, order: &str) -> Option<i32> {
        let (verb, object) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "tcp" => {
                self.query(ListenAddress::Tcp(object.parse().unwrap()))
                    .await
            }
            "any" => {
                let port = object.parse().unwrap();
                self.query(ListenAddress::TcpAny { port }).await;
            }
            "udp" => {
                self.query(ListenAddress::Udp(object.parse().unwrap()))
                    .await
            }
            "unix" => self.query(ListenAddress::Unix(object.into())).await,
            "hold" => self.holds = true,
            "ack" => {
                for (handoff, connection) in std::mem::take(&mut self.held) {
                    self.end.ack(handoff).unwrap();
                    self.answer(connection);
                }
            }
            "reject" => {
                for (handoff, _) in std::mem::take(&mut self.held) {
                    self.end.reject(handoff, RejectReason::Full).unwrap();
                }
            }
            "ready" => self.send(&WorkerToMaster::Ready).await,
            // Serves what is held without having acked it, which no good worker does.
            "answer" => {
                let held = std::mem::take(&mut self.held);
                for (handoff, connection) in held {
                    self.answer(connection);
                    self.held.push((handoff, None));
                }
                self.say("answered").await;
            }
            // The last thing that the master reads of it is the ack, after its death.
            "ack-and-die" => {
                for (handoff, connection) in std::mem::take(&mut self.held) {
                    self.answer(connection);
                    self.end.ack(handoff).unwrap();
                }
                raise(Signal::SIGKILL).unwrap();
            }
            "accept" => self.accept(),
            "close" => {
                let server = self.server.unwrap();
                self.send(&WorkerToMaster::Close { server }).await;
            }
            "leave" => self.send(&WorkerToMaster::ExitedAfterDisconnect).await,
            "start" => self.start_a_child().await,
            "exit" => return Some(object.parse().unwrap()),
            "misbehave" => self.misbehave(object).await,
            "echo" => self.say(object).await,
            "flood" => self.flood(object.parse().unwrap()).await,
            "deaf" => std::future::pending().await,
            other => panic!("nobody taught it {other}"),
        }
        None
    }

    async fn query(&mut self, address: ListenAddress) {
        let query = ServerQuery {
            query: QueryId(self.queries),
            address,
            index: 0,
            options: ListenOptions::default(),
            data: None,
        };
        self.queries += 1;
        self.send(&WorkerToMaster::QueryServer(query)).await;
    }

    /// Reads what the client said and says it again, with its own name. It does not shut the
    /// connection down: the client sees the end only when the master's copy is closed, too.
    fn answer(&self, connection: Option<OwnedFd>) {
        let Some(connection) = connection else {
            return;
        };
        let mut connection = TcpStream::from(connection);
        connection.set_nonblocking(false).unwrap();
        connection
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let mut said = [0; 64];
        let count = connection.read(&mut said).unwrap();
        let name = format!("{} heard ", self.id);
        connection.write_all(name.as_bytes()).unwrap();
        connection.write_all(&said[..count]).unwrap();
    }

    fn accept(&mut self) {
        let listener = TcpListener::from(self.sockets.pop().unwrap());
        listener.set_nonblocking(false).unwrap();
        let (connection, _) = listener.accept().unwrap();
        self.answer(Some(connection.into()));
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it is the worker's child that is to be killed with it"
    )]
    #[expect(clippy::zombie_processes, reason = "the worker ends before it")]
    async fn start_a_child(&mut self) {
        let child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        self.say(&format!("started {}", child.id())).await;
    }

    /// Breaks the protocol in one way or another.
    async fn misbehave(&mut self, how: &str) {
        match how {
            "garbage" => self.send_raw(b"\xff\xff\xff no message at all", None),
            "hello" => self.end.hello().unwrap(),
            "descriptor" => {
                // The kernel refuses, or the master does.
                let (ours, _) = UnixStream::pair().unwrap();
                self.send_raw(&[1], Some(&ours));
            }
            "ack" => self.end.ack(HandoffId(u64::MAX)).unwrap(),
            "listening" => {
                let server = ServerId(77);
                self.send(&WorkerToMaster::Listening { server }).await;
            }
            "grab" => {
                let any = "127.0.0.1:0".parse().unwrap();
                // Servers are numbered, and number 1 is the one that all listen on.
                for server in 2..1000 {
                    self.query(ListenAddress::Udp(any)).await;
                    let server = ServerId(server);
                    self.send(&WorkerToMaster::Close { server }).await;
                }
            }
            other => panic!("nobody taught it {other}"),
        }
    }

    fn send_raw(&self, bytes: &[u8], descriptor: Option<&UnixStream>) {
        use sendfd::SendWithFd;
        use std::os::fd::{AsFd, AsRawFd};
        let channel = UnixStream::from(self.end.as_fd().try_clone_to_owned().unwrap());
        let descriptors: Vec<_> = descriptor.iter().map(|fd| fd.as_raw_fd()).collect();
        if let Err(error) = channel.send_with_fd(bytes, &descriptors) {
            // Said in the way of the protocol: Linux 6.16 and later.
            assert_eq!(error.raw_os_error(), Some(nix::libc::EPERM));
            self.end.hello().unwrap();
        }
    }

    /// Says very much, as fast as the master reads.
    async fn flood(&mut self, messages: usize) {
        let text = "flood ".repeat(9_000);
        for _ in 0..messages {
            self.say(&text).await;
        }
    }

    async fn say(&self, text: &str) {
        let json = serde_json::to_string(text).unwrap();
        self.send(&WorkerToMaster::User(UserMessage { json })).await;
    }

    async fn send(&self, message: &WorkerToMaster) {
        loop {
            match self.end.send(message) {
                Err(ChannelError::Full) => self.end.writable().await.unwrap(),
                // The master is gone: the next receive will say so.
                _ => return,
            }
        }
    }
}
