//! Understands answers, a piece at a time.
//!
//! Plain state machines over bytes, without I/O: it does not matter how the network cut them.
//! Bodies are counted and dropped. What a server must not send is refused with a reason, but
//! only where the end of an answer would otherwise be in doubt: this is a load client, not a
//! validator.

mod chunks;
mod head;
mod label;
mod parser;

#[cfg(test)]
mod tests;

pub(super) use head::Head;
pub(super) use label::Label;
pub(super) use parser::{Asked, Parser};

/// Why what came is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadAnswer(pub(super) &'static str);
