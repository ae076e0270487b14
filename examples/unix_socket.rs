//! You will learn how workers serve a Unix socket: a path instead of a port, for clients on
//! the same machine, such as a proxy in front. The rest is as with TCP.
//! Run `cargo run -p maitred-examples --example unix_socket`, then
//! `curl --unix-socket /tmp/maitred-example.sock http://localhost/`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::io;

use maitred_examples::{address, asked_to_stop};
use maitred_worker::http::{Request, Response, Server};

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let stop = asked_to_stop()?;
    let path = address("/tmp/maitred-example.sock");
    // A socket that a dead program has left there is replaced; one that answers is not. To
    // let other users of this machine connect, too, say
    // `Listen::unix(&path).writable_all(true).open_unix()`.
    let listener = maitred_worker::listen_unix(&path).await?;
    println!("listening on {path}");

    let server = Server::new(|request: Request, response: Response| async move {
        // Clients of a Unix socket have no address.
        let client = match request.remote() {
            Some(address) => address.to_string(),
            None => "a neighbour".to_owned(),
        };
        let pid = std::process::id();
        response.end(format!("{pid} greets {client}\n")).await
    });
    tokio::select! {
        served = server.serve(listener) => served,
        // The listener is dropped, and takes its file with it.
        () = stop => Ok(()),
    }
}

// Something to try: run it under a master
// (`cargo run -- run -i 2 target/debug/examples/unix_socket`) and kill a worker: the file stays,
// for it is the master's. Then give it a path of 200 letters, more than a socket's address
// holds, and look with `ss -xl` at what was bound.
