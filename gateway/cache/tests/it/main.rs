//! The cache from outside: requests in, an origin behind, a clock that the test moves.

automod::dir!("tests/it");
