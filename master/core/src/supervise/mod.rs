//! Decides which worker process should be alive.
