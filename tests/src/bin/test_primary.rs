//! A program that is primary and workers in one file, and ends in a bad way.
//!
//! `test_primary panic` and `test_primary exit` start two workers and name no program, so
//! each is this very file with the same arguments, which it sends. Then the primary panics,
//! or exits with code 7, with both workers alive. What it hears it prints, as JSON.

use std::env;
use std::error::Error;
use std::process;

use maitred::{Cluster, Event, Settings};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match maitred::is_worker() {
            true => work().await,
            false => lead().await,
        }
    })
}

async fn work() -> Outcome {
    let worker = maitred_worker::worker().await?.ok_or("no master")?;
    let args: Vec<String> = env::args().skip(1).collect();
    worker.send(&args)?;
    worker.disconnected().await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the test reads the events there")]
async fn lead() -> Outcome {
    let cluster = Cluster::setup_primary(Settings::new())?;
    let mut events = cluster.events();
    for _ in 0..2 {
        cluster.fork().await?;
    }
    let mut heard = 0;
    while heard < 2 {
        let event = events.next().await.ok_or("the master ended")?;
        println!("{}", serde_json::to_string(&event)?);
        heard += i32::from(matches!(event, Event::Message { .. }));
    }
    if env::args().nth(1).as_deref() == Some("exit") {
        process::exit(7);
    }
    panic!("this is what it was told to do");
}
