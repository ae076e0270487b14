//! Runs every lesson as a reader would, over real sockets, and checks what it claims.
//!
//! Each test starts a built example on a port of the kernel's choice, uses it, stops it with
//! a signal, and makes sure that it ended well and that no process of its is left. Lessons
//! that are workers run twice: alone, and under a master that lives in the test.

mod alone;
mod client;
mod cluster;
mod master;
mod program;
mod workers;
