//! Upstreams against real sockets: servers of ours, and raw ones that behave badly.

automod::dir!("tests/it");
