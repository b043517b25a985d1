//! The policies over real sockets and a real Redis; one file per promise. Not for their logic, which is
//! tested beside the code.

#[path = "../../../../platform/store/tests/it/eventually.rs"]
mod eventually;

automod::dir!("tests/it");
