//! What every test here stands on: a server in a home of its own, and clients of all manners.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, broadcast};

use maitred::PolicyName;

use crate::control::api::{ChangedRow, Killed, PolicyRow, ScaledRow, State, Weighed};
use crate::control::client::Client;
use crate::control::home::{Home, Lock};
use crate::control::name::{AppName, Target};
use crate::control::refusal::Refusal;
use crate::control::server::ControlServer;
use crate::control::steward::{App, Bulletin, Change, News, Place, Steward, Whom};

/// Far longer than anything here takes on a loaded machine; only a failure waits so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Events that a follower may be behind before it loses some; few, so that a test soon sees it.
pub(super) const EVENTS_KEPT: usize = 16;

/// A steward that notes what it is asked. A restart waits until the test opens the gate.
#[derive(Debug)]
pub(super) struct Fake {
    pub(super) apps: Mutex<Vec<App>>,
    pub(super) lists: AtomicUsize,
    pub(super) acts: Mutex<Vec<String>>,
    pub(super) waiting: AtomicUsize,
    pub(super) gate: Semaphore,
    pub(super) events: broadcast::Sender<Bulletin>,
}

/// Counts who waits, however the wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Fake {
    fn note(&self, act: String) {
        self.acts.lock().unwrap().push(act);
    }

    pub(super) fn acts(&self) -> Vec<String> {
        self.acts.lock().unwrap().clone()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

impl Steward for Fake {
    type News = Heard;

    async fn apps(&self) -> Result<Vec<App>, Refusal> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        Ok(self.apps.lock().unwrap().clone())
    }

    async fn scale(&self, app: &AppName, to: Target) -> Result<ScaledRow, Refusal> {
        let to = String::from(to);
        self.note(format!("scale {app} to {to}"));
        let name = app.clone();
        Ok(ScaledRow {
            name,
            from: 1,
            to: 2,
        })
    }

    async fn change_policy(&self, app: &AppName, to: PolicyName) -> Result<PolicyRow, Refusal> {
        self.note(format!("spread {app} by {to}"));
        let (name, from) = (app.clone(), PolicyName::Rr);
        Ok(PolicyRow { name, from, to })
    }

    async fn weigh(&self, app: &AppName, slot: u32, to: u32) -> Result<Weighed, Refusal> {
        self.note(format!("weigh {slot} of {app} with {to}"));
        let (name, from) = (app.clone(), 1);
        Ok(Weighed {
            name,
            slot,
            from,
            to,
        })
    }

    async fn change(&self, change: Change, whom: &Whom) -> Result<ChangedRow, Refusal> {
        self.note(format!("{change:?} {} {:?}", whom.app, whom.slot));
        if change == Change::Restart {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let _waiting = Waiting(&self.waiting);
            self.gate.acquire().await.unwrap().forget();
        }
        let (name, slot) = (whom.app.clone(), whom.slot);
        Ok(ChangedRow {
            what_was_cut: Vec::new(),
            name,
            slot,
            workers: 2,
            cut: 0,
        })
    }

    async fn kill(&self) -> Result<Killed, Refusal> {
        self.note("kill".into());
        let pid = std::process::id();
        Ok(Killed {
            pid,
            cut: false,
            what_was_cut: Vec::new(),
        })
    }

    fn events(&self) -> Heard {
        let ring = self.events.subscribe();
        Heard { ring, missed: 0 }
    }
}

/// The events of a fake steward.
pub(super) struct Heard {
    ring: broadcast::Receiver<Bulletin>,
    missed: u64,
}

impl News for Heard {
    async fn next(&mut self) -> Option<Bulletin> {
        loop {
            match self.ring.recv().await {
                Ok(bulletin) => return Some(bulletin),
                Err(broadcast::error::RecvError::Lagged(count)) => self.missed += count,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn missed(&self) -> u64 {
        self.missed
    }
}

/// A server with its home.
pub(super) struct Stage {
    pub(super) fake: Arc<Fake>,
    pub(super) home: Home,
    pub(super) server: Option<ControlServer>,
    _lock: Lock,
    _place: TempDir,
}

impl Stage {
    pub(super) fn new() -> Self {
        let place = TempDir::new().unwrap();
        let home = Home::at(place.path().join("state")).unwrap();
        let lock = home.lock().unwrap();
        let fake = Arc::new(Fake {
            apps: Mutex::new(vec![app("shop", 0, 2), app("blog", 2, 1)]),
            lists: AtomicUsize::new(0),
            acts: Mutex::default(),
            waiting: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            events: broadcast::channel(EVENTS_KEPT).0,
        });
        let socket = lock.open_socket().unwrap();
        let server = ControlServer::start(socket, fake.clone()).unwrap();
        let server = Some(server);
        Self {
            fake,
            home,
            server,
            _lock: lock,
            _place: place,
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.home.socket().unwrap()
    }

    /// Connects, and says this much.
    pub(super) fn connect(&self, words: &[u8]) -> UnixStream {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // If the server has hung up before all was said, the test sees it when it reads.
        stream.write_all(words).unwrap_or_default();
        stream
    }

    /// Sends a request, and returns status and body.
    pub(super) fn ask(&self, method: &str, route: &str, body: &str) -> (u16, Value) {
        answer(self.connect(&request(method, route, body)))
    }

    /// Asserts that a well-behaved client is answered, and soon.
    pub(super) fn assert_serves(&self) {
        let began = Instant::now();
        let (status, pong) = self.ask("GET", "/v1/ping", "");
        assert_eq!((status, &pong["pid"]), (200, &std::process::id().into()));
        // The goal is a tenth of that; the rest is for a loaded machine.
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
    }

    pub(super) fn client(&self) -> Client {
        Client::of(&self.home).unwrap()
    }
}

fn app(name: &str, first_slot: u32, workers: u32) -> App {
    let places = (first_slot..first_slot + workers).map(|slot| place(slot, slot + 1));
    App {
        name: name.parse().unwrap(),
        wanted: workers,
        policy: PolicyName::Rr,
        accept_errors: [("EMFILE".to_owned(), 3)].into(),
        places: places.collect(),
    }
}

/// A worker that is in truth this process, so that it uses something.
pub(super) fn place(slot: u32, worker: u32) -> Place {
    Place {
        slot,
        worker: Some(worker),
        pid: Some(std::process::id()),
        generation: Some(1),
        state: State::Listening,
        program: None,
        restarts: 0,
        open: 0,
        taken: 0,
        requests: 7,
        loop_delay: Some(Duration::from_micros(1500)),
        heap_bytes: Some(1 << 20),
    }
}

/// Writes a request as any client would.
pub(super) fn request(method: &str, route: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {route} HTTP/1.1\r\nhost: m\r\ncontent-length: {length}\r\n\r\n{body}").into()
}

/// Reads an answer to its end.
pub(super) fn answer(stream: UnixStream) -> (u16, Value) {
    let text = String::from_utf8(rest(stream)).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    (
        status.unwrap_or_else(|| panic!("no answer but {text:?}")),
        body,
    )
}

/// Reads until the server hangs up, and panics if it never does.
pub(super) fn rest(mut stream: UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        // Whoever hangs up on a client that has said more than was read resets it.
        Ok(_) => all,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => all,
        Err(error) => panic!("after {} bytes: {error}", all.len()),
    }
}

/// Waits until it is so.
pub(super) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "still not: {what}");
        thread::yield_now();
    }
}
