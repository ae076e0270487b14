//! The server as its clients meet it: real sockets, and a steward that does as it is told.

mod acts;
mod clients;
mod stage;
mod streams;
