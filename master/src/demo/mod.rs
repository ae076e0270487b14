//! The server that `maitred run` runs when it is given no program.
//!
//! It is the lesson's server, with routes to provoke what a cluster is for: a crash, a hang, a
//! long request. A worker is this same file, started with a hidden command; started by hand
//! it serves alone, as worker 0. The runtime has one thread, so that a worker that is stuck
//! looks stuck.

mod address;
mod routes;

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use maitred_worker::http::Server;

pub(crate) use address::Address;

/// The hidden command that starts a worker.
pub(crate) const COMMAND: &str = "demo";

/// What the demo server is told.
#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Where the demo listens: 127.0.0.1:5000, [::1]:5000, or :5000 for every address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5000")]
    pub(crate) listen: Address,

    /// Turns of a busy loop before the demo answers `GET /`
    #[arg(long, value_name = "ITERATIONS", default_value_t = 0)]
    work: u64,
}

impl DemoArguments {
    /// Returns the arguments that make this program a worker that serves as asked.
    pub(crate) fn for_worker(&self) -> [String; 5] {
        let (listen, work) = (self.listen.to_string(), self.work.to_string());
        [
            COMMAND.into(),
            "--listen".into(),
            listen,
            "--work".into(),
            work,
        ]
    }
}

/// Serves until the master says that it is enough; alone, until a signal ends the process.
///
/// # Errors
///
/// Why it cannot listen, or why its listener ended.
pub(crate) fn run(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(arguments))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(arguments: &DemoArguments) -> anyhow::Result<()> {
    let address = arguments.listen;
    let worker = maitred_worker::worker().await.context("greet the master")?;
    let listener = maitred_worker::listen(address.to_string())
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let demo = routes::Demo::new(worker.map_or(0, |worker| worker.id().0), arguments.work);
    let server = Server::new(|request, response| demo.answer(request, response));
    server.serve(listener).await.context("accept connections")
}
