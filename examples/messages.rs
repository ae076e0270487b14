//! You will learn how workers, which share no memory, tell each other something: each sends it
//! to the primary, which alone knows them all, and the primary sends it on.
//! Run `cargo run -p maitred-examples --example messages`, then
//! `curl 127.0.0.1:5000/good-morning`.

#![expect(clippy::print_stdout, reason = "the printed messages are the lesson")]

use std::error::Error;
use std::io;

use maitred::{Cluster, Event, Settings, WorkerId};
use maitred_examples::{address, asked_to_stop};
use maitred_worker::Worker;
use maitred_worker::http::{Request, Response, Server};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Another way to tell the two apart: who has a `Worker` is one.
    match maitred_worker::worker().await? {
        Some(worker) => Ok(serve(worker).await?),
        None => primary().await,
    }
}

async fn primary() -> Result<(), Box<dyn Error>> {
    let stop = asked_to_stop()?;
    let cluster = Cluster::setup_primary(Settings::new())?;
    for _ in 0..3 {
        cluster.fork().await?;
    }
    tokio::select! {
        failed = pass_on(&cluster) => failed?,
        () = stop => {}
    }
    cluster.shutdown().await;
    Ok(())
}

/// Sends each worker's messages to all the others.
async fn pass_on(cluster: &Cluster) -> Result<(), Box<dyn Error>> {
    let mut events = cluster.events();
    while let Some(event) = events.next().await {
        let Event::Message {
            worker, message, ..
        } = event
        else {
            continue;
        };
        // A message is any JSON value. The primary adds who said it, so nobody can lie.
        let message = json!({ "from": worker, "text": message });
        for (id, other) in cluster.workers().await? {
            if id != worker {
                send(&other, id, &message).await;
            }
        }
    }
    Ok(())
}

async fn send(other: &maitred::Worker, id: WorkerId, message: &Value) {
    // It may be gone by now, or reads too slowly: no reason to leave out the rest.
    if let Err(error) = other.send(message).await {
        println!("{id} does not hear it: failed to {error}");
    }
}

async fn serve(worker: Worker) -> io::Result<()> {
    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    println!("{} listens on {}", worker.id(), listener.local_addr()?);
    tokio::spawn(hear(worker));
    let server = Server::new(|request: Request, response: Response| async move {
        let text = request.path().trim_start_matches('/');
        match worker.send(&text) {
            Ok(()) => response.end(format!("{} said {text}\n", worker.id())).await,
            Err(error) => {
                response
                    .status(503)
                    .end(format!("failed to {error}\n"))
                    .await
            }
        }
    });
    server.serve(listener).await
}

/// Prints what comes from the primary, until there is none.
async fn hear(worker: Worker) {
    // Messages wait for the first who asks, so those that came before are heard as well.
    let Some(mut messages) = worker.messages() else {
        return;
    };
    while let Some(message) = messages.recv().await {
        let (from, text) = (&message["from"], &message["text"]);
        println!("{} heard {text} from w{from}", worker.id());
    }
}

// Something to try: let each worker keep a count of its requests, and answer `/total` with the
// sum of all. Who must ask whom, and how does the handler that waits get its answer?
