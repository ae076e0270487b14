//! You will learn how an axum program becomes a worker: its router is served by this library,
//! which knows when to drain. Nothing else changes, and it still runs without a master.
//! Run `cargo run -p maitred-examples --example axum_app`, then `curl 127.0.0.1:5000`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use maitred_examples::{address, asked_to_stop};
use maitred_worker::http::Accept;
use maitred_worker::hyper::serve;

#[tokio::main]
async fn main() -> io::Result<()> {
    let stop = asked_to_stop()?;
    let app = Router::new()
        .route("/", get(hello))
        .route("/slow/{milliseconds}", get(slow));

    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    println!("listening on {}", listener.local_addr()?);
    // It drains when its master says so, or when somebody asks it to stop: no new connections
    // come, requests are answered, and each answer tells its client to connect again.
    serve(listener.until(stop), app).await
}

async fn hello() -> String {
    format!("axum in {}\n", std::process::id())
}

/// Takes its time, and is answered all the same if the worker is told to drain meanwhile.
async fn slow(Path(milliseconds): Path<u64>) -> String {
    println!("a slow request has begun");
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    format!("axum in {}, after {milliseconds} ms\n", std::process::id())
}

// Something to try: run it under a master (`cargo run -- run -i 2 target/debug/examples/axum_app`),
// ask for `/slow/3000` and stop the master with ctrl-c at once: the answer still comes. Then
// kill that worker instead: the answer is lost, since only the worker had the connection.
