//! `maitred bench` as its users have it: a program that is started, watched and interrupted.

#![expect(clippy::unwrap_used, reason = "a test's helpers are part of the test")]

mod commands;
