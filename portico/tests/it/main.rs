//! The binary from outside: real processes, real sockets, real signals. Not for what a router in
//! memory can show.

automod::dir!("tests/it");
