//! What a Rust worker of maitred links.
pub mod http;
