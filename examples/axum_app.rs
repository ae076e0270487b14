//! You will learn how an axum program becomes a worker: it listens with this library, and
//! tells axum when to drain. Nothing else changes, and it still runs without a master.
//! Run `cargo run -p maitred-examples --example axum_app`, then `curl 127.0.0.1:5000`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use maitred_examples::{address, asked_to_stop};

#[tokio::main]
async fn main() -> io::Result<()> {
    let stop = asked_to_stop()?;
    let app = Router::new()
        .route("/", get(hello))
        .route("/slow/{milliseconds}", get(slow));

    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    println!("listening on {}", listener.local_addr()?);
    // Asked for before axum gets the listener; it does not borrow it.
    let draining = listener.draining();
    let leave = async {
        tokio::select! {
            () = drained(draining) => {}
            () = stop => {}
        }
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(leave)
        .await
}

/// Resolves when this worker drains and nothing is left to lose.
///
/// axum, once it is told, closes at once what is idle, and a connection whose request is still
/// under way looks idle to it. So it is told when the last connection has closed, or when
/// those that remain have had the time that the master grants. No new ones come meanwhile.
async fn drained(draining: impl Future<Output = Duration>) {
    let grace = draining.await;
    if let Ok(Some(worker)) = maitred_worker::worker().await {
        let _too_late = tokio::time::timeout(grace, worker.disconnected()).await;
    }
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
