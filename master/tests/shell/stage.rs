//! What every test here stands on: a cluster of puppets, and the check that nothing is left.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use maitred::{Cluster, Event, Events, Limits, Outcome, Output, Settings, Worker};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::puppet;

/// Far longer than anything here takes on a loaded machine; only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Plays one test, and then checks that no descriptor and no child is left.
pub(crate) fn play<F: Future>(scene: impl FnOnce() -> F) {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // The first runtime of a process opens two descriptors for signals, for good.
    drop(runtime());
    let before = open_descriptors();
    let runtime = runtime();
    runtime.block_on(async { timeout(2 * PATIENCE, scene()).await.unwrap() });
    drop(runtime);
    // The dispatch thread says how it ended, and ends a moment later.
    let deadline = Instant::now() + PATIENCE;
    while open_descriptors() != before || has_children() {
        let left = (open_descriptors(), before, has_children());
        assert!(Instant::now() < deadline, "left over: {left:?}");
        thread::yield_now();
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn has_children() -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    !matches!(waitid(WaitId::All, look), Err(Errno::CHILD))
}

/// Settings for puppets; a test changes what it is about.
pub(crate) fn settings() -> Settings {
    Settings::new()
        .args(puppet::ARGUMENTS)
        .exec(std::env::current_exe().unwrap())
        .output(Output::Discard)
}

pub(crate) fn impatient() -> Limits {
    Limits {
        drain_timeout: Duration::from_millis(300),
        kill_timeout: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// A cluster, and all that happened in it.
pub(crate) struct Stage {
    pub(crate) cluster: Arc<Cluster>,
    events: Events,
    /// Events that nobody has waited for yet.
    waiting: Vec<Event>,
    pub(crate) history: Vec<Event>,
}

impl Stage {
    pub(crate) fn new(settings: Settings) -> Self {
        let cluster = Arc::new(Cluster::setup_primary(settings).unwrap());
        let events = cluster.events();
        Self {
            cluster,
            events,
            waiting: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Starts a puppet and waits until it can be told things.
    pub(crate) async fn fork(&mut self) -> Worker {
        let worker = self.cluster.fork_with([("PART", "puppet")]).await.unwrap();
        let id = worker.id();
        self.until(|event| matches!(event, Event::Online { worker, .. } if *worker == id))
            .await;
        worker
    }

    /// Waits until one more puppet, whoever wanted it, can be told things.
    pub(crate) async fn newcomer(&mut self) -> Worker {
        let online = self.until(|event| event.name() == "online").await;
        let (id, _) = online.process().unwrap();
        self.cluster.workers().await.unwrap()[&id].clone()
    }

    /// Starts a puppet that listens; returns it with the address.
    pub(crate) async fn fork_listening(&mut self, on: &str) -> (Worker, SocketAddr) {
        let worker = self.fork().await;
        let address = self.ask(&worker, on, "bound ").await;
        (worker, address.parse().unwrap())
    }

    /// Tells a puppet something.
    pub(crate) async fn tell(&self, worker: &Worker, order: &str) {
        worker.send(&order).await.unwrap();
    }

    /// Tells a puppet something, and waits for an answer that begins so; returns its rest.
    pub(crate) async fn ask(&mut self, worker: &Worker, order: &str, answer: &str) -> String {
        self.tell(worker, order).await;
        self.heard(worker, answer).await
    }

    /// Waits until a puppet says something that begins so; returns the rest.
    pub(crate) async fn heard(&mut self, from: &Worker, beginning: &str) -> String {
        let text = |event: &Event| {
            let Event::Message {
                worker, message, ..
            } = event
            else {
                return None;
            };
            let said = message.as_str().filter(|_| *worker == from.id())?;
            said.strip_prefix(beginning).map(str::to_owned)
        };
        let event = self.until(|event| text(event).is_some()).await;
        text(&event).unwrap()
    }

    /// Waits for an event, or finds it among those that nobody has waited for.
    pub(crate) async fn until(&mut self, is_it: impl Fn(&Event) -> bool) -> Event {
        if let Some(place) = self.waiting.iter().position(&is_it) {
            return self.waiting.remove(place);
        }
        loop {
            let next = timeout(PATIENCE, self.events.next()).await;
            let event = next.unwrap_or_else(|_| panic!("nothing came after {:#?}", self.history));
            let event = event.unwrap_or_else(|| panic!("it ended with {:#?}", self.history));
            self.history.push(event.clone());
            if is_it(&event) {
                return event;
            }
            self.waiting.push(event);
        }
    }

    /// Waits for the end of a worker.
    pub(crate) async fn exit(&mut self, of: &Worker) -> Event {
        self.until(|event| matches!(event, Event::Exit { worker, .. } if *worker == of.id()))
            .await
    }

    /// Ends the cluster, and expects it to end like this.
    pub(crate) async fn end(self, expected: Outcome) {
        let outcome = timeout(PATIENCE, self.cluster.shutdown()).await.unwrap();
        assert_eq!(outcome, expected);
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.history.iter().map(Event::name).collect()
    }
}

/// Connects, says something and returns the connection.
pub(crate) async fn call(address: SocketAddr, word: &str) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(word.as_bytes()).await.unwrap();
    connection
}

/// Reads all that comes until the end.
pub(crate) async fn hear(connection: &mut TcpStream) -> String {
    let mut said = String::new();
    let read = timeout(PATIENCE, connection.read_to_string(&mut said)).await;
    read.expect("the connection was not closed").unwrap();
    said
}

/// One client from connect to end of file.
pub(crate) async fn visit(address: SocketAddr, word: &str) -> String {
    hear(&mut call(address, word).await).await
}
