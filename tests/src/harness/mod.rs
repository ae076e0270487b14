//! Real clusters for tests: started, watched, and ended without a trace.
//!
//! [`TestCluster`] is the `maitred` program in a process of its own, [`LibraryCluster`] the
//! library in the test's process. Either way the workers are real processes and the clients
//! ([`client`]) real sockets. Both write what happens into a [`Log`], on which a test waits;
//! nothing here ever sleeps for a time and hopes.
//!
//! Each cluster has a mark in its environment that all its offspring inherit, so that after
//! the end whatever still runs is found, whoever its parent is by then. The end of every
//! cluster also compares descriptors with the beginning, looks for children that nobody has
//! reaped, and asks whether what the master said of its connections adds up (`ledger`).

mod bench;
pub mod client;
mod cluster;
pub mod elsewhere;
mod home;
mod kernel;
mod ledger;
mod length;
mod library;
mod load;
mod log;
mod outputs;
pub mod processes;
mod programs;
mod strace;
mod torment;
mod wait;

use std::time::Duration;

pub use bench::{Bench, Record};
pub use cluster::{Finished, Launch, TestCluster};
pub use home::Home;
pub use kernel::{KERNEL, assert_refused, holdings, kernel};
pub use length::{Progress, is_long, short_or_long, tell};
pub use library::{Kind, LibraryCluster};
pub use load::Load;
pub use log::{Log, address, number, text, worker};
pub use programs::{Changing, node_program, program};
pub use strace::Strace;
pub use torment::torment;
pub use wait::{Beat, wait_for, wait_until, wait_within};

/// How long anything may take that a test waits for, before it counts as never.
///
/// Nothing here takes a second on an idle machine. The rest is for one on which many tests
/// run at once; only a test that fails waits so long.
pub const DEADLINE: Duration = Duration::from_secs(20);
