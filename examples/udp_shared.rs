//! You will learn how workers share a UDP socket. There is no connection to hand over: all
//! of them read from the same socket, and the kernel gives each datagram to who is first.
//! Run `cargo run -p maitred-examples --example udp_shared`, then
//! `echo hello | nc -u -w1 127.0.0.1 5000`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::future::pending;
use std::io;

use maitred_examples::{address, asked_to_stop};
use maitred_worker::UdpSocket;

/// Longest datagram that is read whole: what fits into UDP's 16-bit length.
const DATAGRAM_MAX: usize = 65_535;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let stop = asked_to_stop()?;
    let socket = maitred_worker::bind_udp(address("127.0.0.1:5000")).await?;
    println!("listening on {}", socket.local_addr()?);
    tokio::select! {
        failed = answer(&socket) => failed,
        () = stop => Ok(()),
        left = asked_to_leave() => left,
    }
}

/// Answers each datagram with its text and this process's pid.
async fn answer(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        // A worker that is busy reads nothing, so it gets nothing: fair by itself, but in no
        // order. Several who wait may all be woken for one datagram; tokio lets the late ones
        // go on waiting.
        let (length, client) = socket.recv_from(&mut buffer).await?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let answer = format!("{} says {}\n", std::process::id(), text.trim_end());
        // Nobody answers for a datagram that is lost, nor for one that cannot be sent.
        drop(socket.send_to(answer.as_bytes(), client).await);
    }
}

/// Returns when the master wants this worker to leave; never without a master.
async fn asked_to_leave() -> io::Result<()> {
    match maitred_worker::worker().await? {
        Some(worker) => worker.draining().await,
        None => pending().await,
    };
    Ok(())
}

// Something to try: run it under a master (`cargo run -- run -i 4 target/debug/examples/udp_shared`)
// and count who answers how often, one datagram after another and many at once. Compare with
// the strict turns of `http_cluster`.
