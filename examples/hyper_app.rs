//! You will learn how a program that speaks HTTP with hyper becomes a worker, and what it
//! takes to drain without a surprise: finish what is asked, then close what is idle.
//! Run `cargo run -p maitred-examples --example hyper_app`, then `curl 127.0.0.1:5000`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::{future, io};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use maitred_examples::{address, asked_to_stop};
use maitred_worker::Listener;
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> io::Result<()> {
    let stop = asked_to_stop()?;
    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    println!("listening on {}", listener.local_addr()?);
    tokio::select! {
        () = accept(Arc::new(listener)) => {}
        // Without a master nobody waits for us, so what is open is cut.
        () = stop => {}
    }
    Ok(())
}

/// Accepts until this worker has drained: no connection comes any more, and all are closed.
async fn accept(listener: Arc<Listener>) {
    loop {
        match listener.accept().await {
            Ok((stream, _client)) => drop(tokio::spawn(serve(stream, listener.clone()))),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
            // One client gave up while it waited, or descriptors are short.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Serves one connection to its end.
async fn serve(stream: TcpStream, listener: Arc<Listener>) {
    let service = service_fn(|_request| future::ready(answer(&listener)));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
    );
    // The master grants idle connections some time, for their clients cannot know yet: one
    // more request may be under way. `graceful_shutdown` closes at once what is idle.
    let grace_over = async { tokio::time::sleep(listener.draining().await).await };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = grace_over => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        println!("a client left: {error}");
    }
}

fn answer(listener: &Listener) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = format!("hyper in {}\n", std::process::id());
    let mut response = Response::new(Full::from(text));
    if listener.is_draining() {
        // The polite way to lose a client: with its answer it learns that it should connect
        // again, and the master gives it to another worker.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response)
}

// Something to try: run it under a master (`cargo run -- run -i 2 target/debug/examples/hyper_app`)
// and stop that with ctrl-c while `nc 127.0.0.1 5000` is connected: how long does it take, and
// how long if you type `GET / HTTP/1.1`, `Host: x` and an empty line meanwhile? Then leave out
// `grace_over`. Who ends the worker now?
