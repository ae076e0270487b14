//! Decides which worker receives each accepted connection.
