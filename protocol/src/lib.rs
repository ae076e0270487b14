//! The words that a maitred master and its workers share.
