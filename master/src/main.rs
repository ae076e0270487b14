//! maitred.
fn main() {}
