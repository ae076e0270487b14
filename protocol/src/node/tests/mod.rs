//! Tests of Node's dialect: the pure parts by themselves, and the ends against bare sockets.
