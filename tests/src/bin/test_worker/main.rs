//! A worker that does what it is told, by its arguments first and then by messages.
//!
//! `test_worker tcp:127.0.0.1:0 unix:/tmp/a.sock udp:127.0.0.1:0 tcp+ipv6-only:[::]:0` asks for
//! one address after the other (`place.rs` has all that may be wished for). Then it sends the
//! list of the outcomes, each an address or an errno, and serves HTTP on what it got (over UDP
//! its number answers each datagram). It stays when nothing could be bound. An argument `ready`
//! has it say that it is, just then.
//!
//! A message `{"order": "close 127.0.0.1:80", "number": 1}` it obeys, and sends
//! `{"answer": …, "number": 1}` (`orders.rs` has all orders). Every other message it sends back.

mod orders;
mod place;

use std::collections::BTreeMap;
use std::env;
use std::io;

use maitred_worker::{Worker, worker};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

/// What was bound, by address, each with the task that serves it.
type Places = BTreeMap<String, JoinHandle<io::Result<()>>>;

/// This worker.
struct TestWorker {
    worker: Worker,
    places: Places,
    /// It is to kill itself once it has left its master.
    kills: bool,
}

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(work()))
}

async fn work() -> io::Result<()> {
    let Some(worker) = worker().await? else {
        return Err(io::Error::other("this program runs under a master only"));
    };
    let mut this = TestWorker {
        worker,
        places: Places::new(),
        kills: false,
    };
    let mut outcomes = Vec::new();
    for wish in env::args().skip(1) {
        if wish == "ready" {
            this.say(&json!("ready"));
            continue;
        }
        outcomes.push(this.open(&wish).await);
    }
    this.say(&json!({ "outcomes": outcomes }));
    if let Some(mut messages) = worker.messages() {
        while let Some(message) = messages.recv().await {
            this.hear(message).await?;
        }
    }
    worker.disconnected().await;
    this.end()
}

impl TestWorker {
    async fn hear(&mut self, message: Value) -> io::Result<()> {
        match message["order"].as_str() {
            Some(order) => self.obey(order, &message["number"]).await?,
            None => self.say(&json!({ "echo": message })),
        }
        Ok(())
    }

    /// Opens what is wished for and serves it; returns what came of it.
    async fn open(&mut self, wish: &str) -> Value {
        match place::open(wish).await {
            Ok(found) => {
                let serving = spawn_local(place::serve(found.place, self.worker));
                self.places.insert(found.address.clone(), serving);
                match found.data {
                    Some(data) => json!({ "address": found.address, "data": data }),
                    None => json!({ "address": found.address }),
                }
            }
            Err(error) => json!({ "errno": error.raw_os_error(), "text": error.to_string() }),
        }
    }

    fn say(&self, message: &Value) {
        // The master may be gone by now, and then so is the test.
        self.worker.send(message).unwrap_or_default();
    }

    /// The master is left, or gone: what is promised for then must hold, or the exit code
    /// tells.
    fn end(&self) -> io::Result<()> {
        if self.worker.is_connected() {
            return Err(io::Error::other("disconnected, and connected still"));
        }
        if self.kills {
            self.worker.kill();
            return Err(io::Error::other("a worker outlived its own kill"));
        }
        Ok(())
    }
}
