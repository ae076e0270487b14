//! maitred.
