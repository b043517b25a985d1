//! The tests of the crate: one binary.

automod::dir!("tests/it");
