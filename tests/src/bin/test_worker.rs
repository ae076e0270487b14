//! A worker that listens wherever it is told to, and tells its master what came of it.
//!
//! `test_worker tcp:127.0.0.1:0 unix:/tmp/a.sock udp:127.0.0.1:0 ipv6-only:[::]:0` asks for
//! one address after the other. Then it sends the list of the outcomes, each an address or
//! an errno; serves HTTP on what it got (over UDP its number answers each datagram); and
//! sends every message back that it is sent. It stays when nothing could be bound.

use std::env;
use std::io;
use std::rc::Rc;

use maitred_worker::http::{Request, Response, Server};
use maitred_worker::{Listen, Listener, UdpSocket, Worker, bind_udp, worker};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};

/// What was bound.
enum Place {
    Tcp(Listener),
    Unix(Listener<UnixStream>),
    Udp(UdpSocket),
}

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(work()))
}

async fn work() -> io::Result<()> {
    let Some(worker) = worker().await? else {
        return Err(io::Error::other("this program runs under a master only"));
    };
    let (mut places, mut outcomes) = (Vec::new(), Vec::new());
    for wish in env::args().skip(1) {
        match open(&wish).await {
            Ok((place, address)) => {
                places.push(place);
                outcomes.push(json!({ "address": address }));
            }
            Err(error) => {
                outcomes.push(json!({ "errno": error.raw_os_error(), "text": error.to_string() }))
            }
        }
    }
    say(worker, &json!({ "outcomes": outcomes }));
    for place in places {
        spawn_local(serve(place, worker));
    }
    if let Some(mut messages) = worker.messages() {
        while let Some(message) = messages.recv().await {
            say(worker, &json!({ "echo": message }));
        }
    }
    worker.disconnected().await;
    Ok(())
}

fn say(worker: Worker, message: &Value) {
    // The master may be gone by now, and then so is the test.
    worker.send(message).unwrap_or_default();
}

async fn open(wish: &str) -> io::Result<(Place, String)> {
    let (kind, address) = wish.split_once(':').ok_or(io::ErrorKind::InvalidInput)?;
    match kind {
        "tcp" => tcp(Listen::from(address)).await,
        "ipv6-only" => tcp(Listen::from(address).ipv6_only(true)).await,
        "unix" => {
            let listener = Listen::unix(address).open_unix().await?;
            Ok((Place::Unix(listener), address.to_owned()))
        }
        "udp" => {
            let socket = bind_udp(address).await?;
            let bound = socket.local_addr()?.to_string();
            Ok((Place::Udp(socket), bound))
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

async fn tcp(listen: Listen) -> io::Result<(Place, String)> {
    let listener = listen.open().await?;
    let bound = listener.local_addr()?.to_string();
    Ok((Place::Tcp(listener), bound))
}

async fn serve(place: Place, worker: Worker) -> io::Result<()> {
    let id = Rc::from(worker.id().0.to_string());
    let answer = move |_request: Request, response: Response| {
        let id: Rc<str> = Rc::clone(&id);
        async move { response.header("x-worker-id", &*id).end("here\n").await }
    };
    match place {
        Place::Tcp(listener) => Server::new(answer).serve(listener).await,
        Place::Unix(listener) => Server::new(answer).serve(listener).await,
        Place::Udp(socket) => echo(&socket, worker).await,
    }
}

async fn echo(socket: &UdpSocket, worker: Worker) -> io::Result<()> {
    let mut datagram = [0; 64];
    loop {
        let (len, sender) = socket.recv_from(&mut datagram).await?;
        let answer = [&datagram[..len], b" ", worker.id().0.to_string().as_bytes()].concat();
        socket.send_to(&answer, sender).await?;
    }
}
