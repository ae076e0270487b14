//! The channel of Rust workers: `SOCK_SEQPACKET`, one datagram one frame, bincode inside.
//!
//! A frame holds one message, or several that came about together: the connections that one
//! turn of the master has for a worker, the acks of what a worker took at once. Their
//! descriptors come in the order of the messages that have one.
//!
//! A sequenced-packet socket keeps message borders, so a descriptor can only arrive with the
//! frame it was sent with; on a byte stream the kernel joins frames, and "the descriptor that
//! came with this read" may belong to a later one (Node's dialect has to live with that).
//!
//! Each end is a type of its own, and each verb of the protocol a method on the end that may
//! say it: the wrong side cannot say the wrong word.

mod channel;
mod codec;
mod master_end;
#[cfg(test)]
mod tests;
mod worker_end;

pub use channel::{Encoded, pair};
pub use codec::{FRAME_MAX, MESSAGES_PER_FRAME};
pub use master_end::{MasterEnd, MasterInbox};
pub use worker_end::{Frame, Readable, WorkerEnd, WorkerInbox};
