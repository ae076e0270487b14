//! You will learn how processes share a port without any master: each has a listening socket
//! of its own there, and the kernel picks one for each client by a hash of its address.
//! Run `cargo run -p maitred-examples --example reuseport 127.0.0.1:5000 4`, then
//! `for i in 1 2 3 4 5 6; do curl 127.0.0.1:5000/pid; done`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::env;
use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus};

use maitred_examples::{address, asked_to_stop, compute_as_told, monotonic_nanoseconds};
use maitred_worker::http::{Accept, Request, Response, Server};
use tokio::net::{TcpListener, TcpSocket};

/// As long as the kernel allows: it cuts what is more than `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// `/` is as little as can be answered. `/pid` tells who did, `/clock` when, and `/busy` holds up
/// its process first, for as many turns as the environment variable `LESSON_TURNS` says.
async fn answer(request: Request, response: Response) -> io::Result<()> {
    match request.path() {
        "/pid" => response.end(format!("{}\n", std::process::id())).await,
        "/clock" => response.end(format!("{}\n", monotonic_nanoseconds())).await,
        "/busy" => {
            compute_as_told();
            response.end("ok\n").await
        }
        _ => response.end("ok\n").await,
    }
}

/// One of several sockets at the same address. All of them must ask for it, so that nobody
/// takes a share of the clients by accident.
fn listen_beside_others(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    // Accepted sockets inherit it, which spares each of them a system call.
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves in this process until it is asked to stop.
#[tokio::main(flavor = "current_thread")]
async fn serve() -> io::Result<()> {
    let stop = asked_to_stop()?;
    let server = Server::new(answer);
    if env::var_os("MAITRED_CHANNEL_FD").is_some() {
        // The same program under a master, so that the two ways can be compared.
        let listener = maitred_worker::listen(address("127.0.0.1:5000")).await?;
        return server.serve(listener).await;
    }
    let wanted = address("127.0.0.1:5000").parse();
    let wanted = wanted.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let listener = listen_beside_others(wanted)?;
    println!("listening on {}", listener.local_addr()?);
    // What waits in this socket's queue when the process dies is lost with it: no other
    // process can reach that queue. That is the price of having no master.
    server.serve(listener.until(stop)).await
}

/// Starts this program so many times over, and waits for all of them.
#[expect(clippy::disallowed_methods, reason = "it is about having no master")]
fn start(processes: usize) -> io::Result<()> {
    let program = env::current_exe()?;
    let start_one = |_| {
        Command::new(&program)
            .arg(address("127.0.0.1:5000"))
            .spawn()
    };
    let started: Vec<Child> = (0..processes).map(start_one).collect::<io::Result<_>>()?;
    let ended = started.into_iter().map(|mut child| child.wait());
    let ended: Vec<ExitStatus> = ended.collect::<io::Result<_>>()?;
    match ended.iter().find(|status| !status.success()) {
        None => Ok(()),
        Some(status) => Err(io::Error::other(format!("a process ended with {status}"))),
    }
}

fn main() -> io::Result<()> {
    match env::args().nth(2).and_then(|count| count.parse().ok()) {
        Some(processes) => start(processes),
        None => serve(),
    }
}

// Something to try: put it under load (`cargo run -- bench --close http://127.0.0.1:5000`) and
// kill one of the processes meanwhile. Then let a master have the sockets:
// `cargo run -- run -i 4 target/debug/examples/reuseport`, and do it again.
