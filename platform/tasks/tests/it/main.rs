//! Tasks, schedules and sagas on every engine that is there, with a clock that the tests move; one file
//! per subject, found by itself.

#[path = "../../../store/tests/it/database.rs"]
#[allow(dead_code, reason = "the store's tests need more of it")]
mod database;

automod::dir!("tests/it");
