//! You will learn how a cluster survives its workers: the primary forks again whenever one
//! dies, unless the worker left because it wanted to, or was asked to.
//! Run `cargo run -p maitred-examples --example crash_and_respawn`, then
//! `curl 127.0.0.1:5000/crash` and `curl 127.0.0.1:5000/leave`.

#![expect(
    clippy::print_stdout,
    reason = "the printed lives and deaths are the lesson"
)]

use std::error::Error;
use std::io;
use std::process::id;

use maitred::{Cluster, ClusterError, Event, Settings};
use maitred_examples::{address, asked_to_stop};
use maitred_worker::http::{Request, Response, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if maitred::is_worker() {
        return Ok(worker().await?);
    }
    let stop = asked_to_stop()?;
    let cluster = Cluster::setup_primary(Settings::new())?;
    for _ in 0..2 {
        cluster.fork().await?;
    }
    tokio::select! {
        failed = keep_up(&cluster) => failed?,
        () = stop => {}
    }
    // Workers that exit from here on were asked to.
    cluster.shutdown().await;
    Ok(())
}

/// Forks a worker for each one that died.
async fn keep_up(cluster: &Cluster) -> Result<(), ClusterError> {
    let mut events = cluster.events();
    while let Some(event) = events.next().await {
        let Event::Exit {
            worker,
            pid,
            status,
            exited_after_disconnect,
        } = event
        else {
            continue;
        };
        if exited_after_disconnect {
            println!("{worker} left, pid {pid}: it is not replaced");
        } else {
            // A crash costs the clients of that worker their answers, but nobody else: who
            // was not yet handed to it for good is handed to another.
            let successor = cluster.fork().await?;
            println!(
                "{worker} died, pid {pid}, {status}: {} follows",
                successor.id()
            );
        }
    }
    Ok(())
}

async fn worker() -> io::Result<()> {
    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    println!("worker {} listens on {}", id(), listener.local_addr()?);
    Server::new(answer).serve(listener).await?;
    // All is served, but is it also said that we leave? Without that it would look like a death.
    if let Some(worker) = maitred_worker::worker().await? {
        worker.disconnected().await;
    }
    Ok(())
}

async fn answer(request: Request, response: Response) -> io::Result<()> {
    match request.path() {
        // As a panic, an `abort` or the kernel's out-of-memory killer would: without an answer.
        "/crash" => std::process::exit(1),
        "/leave" => {
            if let Some(worker) = maitred_worker::worker().await? {
                // No new connections; `serve` returns once this one is answered.
                worker.disconnect();
            }
            response.end(format!("worker {} leaves\n", id())).await
        }
        _ => response.end(format!("worker {}\n", id())).await,
    }
}

// Something to try: what becomes of a program that dies at once, when `worker` begins with
// `panic!("no configuration")`? `Cluster::scale(2)` in place of `fork` and `keep_up` replaces
// workers, too, and knows when to wait and when to give up.
