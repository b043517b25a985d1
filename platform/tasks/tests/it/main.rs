//! Tasks, schedules and sagas on every engine that is there, with a clock that the tests move; one file
//! per subject, found by itself.

automod::dir!("tests/it");
