//! The record: one line of JSON for each connection and each request.
//!
//! It is for a checker that joins it with what the master wrote down: by local port and the
//! n-th use of that port, since a load opens more connections than there are ports. Times are
//! nanoseconds of `CLOCK_MONOTONIC`, which only mean something on the machine that ran the load.
//!
//! A thread of its own writes. If the disk cannot keep up, the load waits for it, which shows
//! in the figures: a record that lacks lines would prove nothing. One that ends without its
//! last line is incomplete.

mod line;
mod recorder;

pub(super) use line::{ConnectionLine, End, Line, RequestLine, Start};
pub(super) use recorder::Recorder;
