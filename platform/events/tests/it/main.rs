//! Subscriptions, sinks and the doorbell over a real log, on every engine that is there; one file per
//! promise, found by itself. Not for live streams through the door: those are their services'.

#[path = "../../../store/tests/it/database.rs"]
#[allow(dead_code, reason = "the store's tests need more of it")]
mod database;

automod::dir!("tests/it");
