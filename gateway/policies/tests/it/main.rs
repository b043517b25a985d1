//! The policies over real sockets and a real Redis; one file per promise. Not for their logic, which is
//! tested beside the code.

automod::dir!("tests/it");
