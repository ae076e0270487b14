//! You will learn what a primary hears of its workers: `online` when one has come up, and
//! `exit` when one has ended, with how it ended. It is Node's `cluster.on('online', …)`.
//! Run `cargo run -p maitred-examples --example cluster_events`, then `kill` a worker.

#![expect(clippy::print_stdout, reason = "the printed events are the lesson")]

use std::error::Error;
use std::io;
use std::process::id;

use maitred::{Cluster, Event, Events, Settings};
use maitred_examples::{address, asked_to_stop};
use maitred_worker::http::{Request, Response, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if maitred::is_worker() {
        return Ok(worker().await?);
    }
    let stop = asked_to_stop()?;
    let cluster = Cluster::setup_primary(Settings::new())?;
    // The first who asks gets all events since the start, so none can be missed.
    let events = cluster.events();
    for _ in 0..2 {
        cluster.fork().await?;
    }

    let end = async {
        stop.await;
        cluster.shutdown().await
    };
    // The events end with the cluster: the last we hear is the exit of the last worker.
    tokio::join!(tell(events), end);
    Ok(())
}

/// Prints each event that this lesson is about.
async fn tell(mut events: Events) {
    while let Some(event) = events.next().await {
        // Node calls one function for each kind of event; here all of them come one by one,
        // in the order in which they happened, and those of no interest are passed over.
        if let Event::Online { worker, pid } = event {
            println!("{worker} is online, pid {pid}");
        } else if let Event::Listening {
            worker, address, ..
        } = event
        {
            println!("{worker} listens on {address}");
        } else if let Event::Exit {
            worker,
            pid,
            status,
            exited_after_disconnect,
        } = event
        {
            // `exited_after_disconnect` tells a worker that was asked to leave, or wanted to,
            // from one that died. The next lesson makes use of it.
            let how = match exited_after_disconnect {
                true => "left",
                false => "died",
            };
            println!("{worker} {how}, pid {pid}, {status}");
        }
    }
}

async fn worker() -> io::Result<()> {
    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    let server = Server::new(|_request: Request, response: Response| async move {
        response.end(format!("worker {}\n", id())).await
    });
    server.serve(listener).await
}

// Something to try: `kill -KILL` one worker and see `signal 9`; the other one serves on alone,
// for nobody forks a new one. Kill that too, and `curl`: the client waits, since the address
// is the primary's, not the workers'. Then print every event with `println!("{event:?}")`.
