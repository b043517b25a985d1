//! The issuers as the door uses them: real tokens, real servers on sockets.

automod::dir!("tests/it");
