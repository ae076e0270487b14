//! Every change of the wire format, newest first.
//!
//! A worker links its copy of this crate, and may be rebuilt at another time than its
//! master. So each side says its version in its first frame ([`Hello`], [`Welcome`]), and
//! a mismatch is an error that names both. The test `wire_format_is_the_recorded_one` in
//! `native/tests/wire.rs` hashes one value of every message: when the hash changes, this list
//! needs a line and [`PROTOCOL_VERSION`] a new number.
//!
//! | version | change |
//! |---|---|
//! | 3 | a frame may hold several messages; `Statistics` has the event loop's delay and the heap, where there are such |
//! | 2 | `Statistics` counts connections by kind: idle, busy, streaming, upgraded |
//! | 1 | first version |
//!
//! [`Hello`]: crate::WorkerToMaster::Hello
//! [`Welcome`]: crate::message::Welcome

/// The version that this build speaks.
pub const PROTOCOL_VERSION: u16 = 3;
