//! What crosses a service boundary: the payloads of events, and typed clients by which one service
//! asks another. A service depends on this crate and never on another service; what both sides render
//! and read is the same type. Not for what a service does with it.

pub mod analytics;
mod circuit;
mod day;
pub mod inventory;
mod last_good;
mod peer;

pub use day::Day;
pub use peer::{Answered, Patience};
