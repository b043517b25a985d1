//! Questions over real sockets.

automod::dir!("tests/it");
