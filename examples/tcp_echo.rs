//! You will learn how any TCP protocol is served by workers: a loop of accepts, as with
//! tokio's own listener, and a task for each connection.
//! Run `cargo run -p maitred-examples --example tcp_echo`, then `nc 127.0.0.1 5000`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::io;

use maitred_examples::{address, asked_to_stop};
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::TcpStream;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let stop = asked_to_stop()?;
    let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
    println!("listening on {}", listener.local_addr()?);

    let accepts = async {
        loop {
            match listener.accept().await {
                Ok((stream, _client)) => drop(tokio::spawn(echo(stream))),
                // Only a worker is told this: it drains, and the last connection it had is
                // closed. So a plain loop like this one drains by itself.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return,
                // One client gave up while it waited, or descriptors are short: try again,
                // but let others run first, since they may be about to close theirs.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::select! {
        () = accepts => {}
        () = stop => {}
    }
    Ok(())
}

async fn echo(mut stream: TcpStream) {
    if let Err(error) = speak(&mut stream).await {
        // The client has gone. There is nobody left to tell.
        println!("a client left: {error}");
    }
}

/// Greets, so that the client sees which process it has got, then sends back what it hears.
async fn speak(stream: &mut TcpStream) -> io::Result<()> {
    let hello = format!("echo by {}\n", std::process::id());
    stream.write_all(hello.as_bytes()).await?;
    let (mut from, mut to) = stream.split();
    copy(&mut from, &mut to).await?;
    to.shutdown().await
}

// Something to try: run it under a master (`cargo run -- run -i 2 target/debug/examples/tcp_echo`),
// open two `nc`, and stop the master with ctrl-c: it waits for both, up to the drain timeout.
// Have `echo` wait for `listener.draining()` as well, and say goodbye.
