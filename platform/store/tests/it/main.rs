//! The store through its public door, on SQLite and on PostgreSQL. Not for logic that a unit test
//! beside the code can reach.

mod backup;
mod database;
#[cfg(target_os = "linux")]
mod disk;
mod faults;
mod figures;
mod going_away;
mod ground;
mod idempotency;
mod lane;
mod positions;
#[cfg(target_os = "linux")]
mod power_cut;
mod proxy;
mod roles;
mod round_trips;
mod scope;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod shim;
mod shop;
mod transfer;
mod unfinished;
#[cfg(target_os = "linux")]
mod unsynced;
mod versions;
mod writer;
