//! The rows that the figures are made of. Not for how they are filled: see `project`.

pub(crate) mod day;
pub(crate) mod item;
pub(crate) mod progress;
