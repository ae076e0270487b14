//! You will learn how to answer HTTP requests with the worker library: one process, no
//! master. It is where everybody starts: `http.createServer((req, res) => …).listen(5000)`.
//! Run `cargo run -p maitred-examples --example http_server`, then `curl 127.0.0.1:5000`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::hint::black_box;
use std::io;

use maitred_examples::{address, asked_to_stop};
use maitred_worker::http::{Request, Response, Server};

/// Turns of the busy loop: enough to be felt, and not so many that nobody waits for it.
const WORK: u32 = 1_000_000;

/// A handler owns its request and its response. The answer is sent, and its connection kept
/// for the next request, when `end` is called.
async fn answer(request: Request, response: Response) -> io::Result<()> {
    // Stands for work. While it turns, this process can do nothing else: every other client
    // waits, and so does every processor but one. That is what a cluster is for.
    for turn in 0..WORK {
        black_box(turn);
    }
    let pid = std::process::id();
    let text = format!("{} {}, says {pid}\n", request.method(), request.path());
    response.end(text).await
}

// One thread is enough: the server is one task anyway, as in Node.
#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let stop = asked_to_stop()?;
    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    println!("listening on {}", listener.local_addr()?);

    let server = Server::new(answer);
    tokio::select! {
        // It ends when a master says so. Here is none, so it would serve for ever.
        served = server.serve(listener) => served,
        // What is being served is cut: nobody else is there to take over.
        () = stop => Ok(()),
    }
}

// Something to try: measure it with `npx autocannon -c 100 http://127.0.0.1:5000`, then do the
// same with the lesson `http_cluster`. Then run this very file as the workers of a master:
// `cargo build -p maitred-examples --examples`,
// `cargo run -- run -i 4 target/debug/examples/http_server`, and see the pid change.
