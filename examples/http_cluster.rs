//! You will learn how one file is both: the primary, which accepts every connection, and the
//! workers, which answer them in turn. It is the `if (cluster.isMaster) … else …` of Node.
//! Run `cargo run -p maitred-examples --example http_cluster`, then `curl 127.0.0.1:5000` a
//! few times: each answer comes from the next process.

#![expect(clippy::print_stdout, reason = "each process says who it is")]

use std::error::Error;
use std::hint::black_box;
use std::process::id;
use std::{io, thread};

use maitred::{Cluster, Settings};
use maitred_examples::{address, asked_to_stop};
use maitred_worker::http::{Request, Response, Server};

/// Turns of the busy loop, as in `http_server`.
const WORK: u32 = 1_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if maitred::is_primary() {
        primary().await
    } else {
        Ok(worker().await?)
    }
}

/// Starts the workers, and waits. Connections are the business of threads of the library's.
async fn primary() -> Result<(), Box<dyn Error>> {
    let stop = asked_to_stop()?;
    // No program is named, so the workers run this one, with the arguments that we got. They
    // come by `main` as we did, but there they are no primary.
    let cluster = Cluster::setup_primary(Settings::new())?;
    // Two at least, or there would be nothing to see on a machine with one processor.
    let workers = thread::available_parallelism()?.get().max(2);
    println!("primary {} starts {workers} workers", id());
    for _ in 0..workers {
        cluster.fork().await?;
    }

    stop.await;
    // No more connections; those that are open are finished; then the workers leave.
    cluster.shutdown().await;
    println!("no worker is left");
    Ok(())
}

/// All workers listen on the same address, and none of them fails: it is the primary that
/// binds it, once, and hands them the connections.
async fn worker() -> io::Result<()> {
    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    println!("worker {} listens on {}", id(), listener.local_addr()?);
    let server = Server::new(|_request: Request, response: Response| async move {
        // A worker that computes holds up its own clients only.
        for turn in 0..WORK {
            black_box(turn);
        }
        response.end(format!("worker {}\n", id())).await
    });
    // Returns when the primary wants this worker to leave and its last client is served. If
    // the primary is killed, the channel to it closes, and that is understood the same way.
    server.serve(listener).await
}

// Something to try: `curl` six times and note the order of the pids. Then keep one worker busy
// (`WORK` a thousand times as large, if the request is for `/slow`) and note who is left out.
// Then kill the primary with SIGKILL, and see what becomes of the workers.
