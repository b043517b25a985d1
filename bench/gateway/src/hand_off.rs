//! Portico beside itself: what handing a request to a service of its own costs, and how long proxied requests
//! take while a large export runs. Not for peers.

use measure::Outcome;
use measure::report::Table;

use crate::Extent;
use crate::ground::Ground;
use crate::peers::Peer;
use crate::rungs::Rung;

/// Measures the hand-off.
pub fn hand_off(_: Rung, _: &[Peer], _: &Ground, _: Extent) -> Outcome<Vec<Table>> {
    Err("not written yet".into())
}

/// Measures proxying beside an export.
pub fn export(_: Rung, _: &[Peer], _: &Ground, _: Extent) -> Outcome<Vec<Table>> {
    Err("not written yet".into())
}
