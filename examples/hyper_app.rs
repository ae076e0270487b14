//! You will learn how a program that speaks HTTP with hyper becomes a worker, and how a handler
//! hears that it drains. HTTP/2 and WebSockets come with it.
//! Run `cargo run -p maitred-examples --example hyper_app`, then `curl 127.0.0.1:5000`, or
//! `curl --http2-prior-knowledge 127.0.0.1:5000`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::convert::Infallible;
use std::io;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use maitred_examples::{address, asked_to_stop};
use maitred_worker::http::Accept;
use maitred_worker::hyper::{Draining, serve};

#[tokio::main]
async fn main() -> io::Result<()> {
    let stop = asked_to_stop()?;
    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    println!("listening on {}", listener.local_addr()?);
    // Any service of hyper's or of tower's will do.
    serve(listener.until(stop), service_fn(answer)).await
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let pid = std::process::id();
    let draining = request.extensions().get::<Draining>();
    // A WebSocket or an event stream would wait for `begun` instead, and say goodbye: it has
    // no next answer that could carry `Connection: close`, as this one has by itself.
    let text = match draining.is_some_and(Draining::has_begun) {
        true => format!("hyper in {pid}, which is about to leave\n"),
        false => format!("hyper in {pid}\n"),
    };
    Ok(Response::new(text))
}

// Something to try: run it under a master (`cargo run -- run -i 2 target/debug/examples/hyper_app`)
// and stop that with ctrl-c while `nc 127.0.0.1 5000` is connected: how long does it take, and
// how long if you type `GET / HTTP/1.1`, `Host: x` and an empty line meanwhile? The client did
// not know yet. What would have happened to its request if the worker had just closed?
