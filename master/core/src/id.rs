//! Names for the things that travel between the parts: never bare integers, so that
//! `hand_off(connection, worker)` cannot be called the wrong way round.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $letter:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($letter, "{}"), self.0)
            }
        }
    };
}

id!(
    /// One worker process, numbered 1, 2, 3 … and never reused: Node's `worker.id`.
    WorkerId(u32),
    "w"
);
id!(
    /// A worker's place, 0, 1, 2 …, kept when a successor takes it: what pm2 shows as id.
    SlotId(u32),
    "s"
);
id!(
    /// Which set of workers a worker belongs to; each reload begins a new one.
    Generation(u32),
    "g"
);
id!(
    /// One accepted client socket, from accept to release.
    ConnectionId(u64),
    "c"
);
id!(
    /// One attempt to give one connection to one worker.
    ///
    /// A connection that is requeued gets a new handoff each time, so an ack that arrives
    /// late can never be taken for the ack of a later attempt.
    HandoffId(u64),
    "h"
);
id!(
    /// One listening socket that the master owns.
    ServerId(u32),
    "l"
);
