//! Decides which worker process should be alive.

#[cfg(test)]
mod behaviour;
mod exit;
mod fact;
mod limits;
mod order;
mod record;
mod refill;
mod restart;
mod shutdown;
mod slot;
mod supervisor;
mod worker_state;

pub use exit::ExitStatus;
pub use fact::Fact;
pub use limits::{Limits, SIGKILL, SIGTERM};
pub use order::{Announcement, Order, Outcome};
pub use record::Record;
pub use supervisor::Supervisor;
pub use worker_state::{SlotState, WorkerEvent, WorkerState};
