//! Tests of the server as a whole, over in-memory streams.
