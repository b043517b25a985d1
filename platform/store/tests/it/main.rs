//! The store through its public door, on SQLite and on PostgreSQL. Not for logic that a unit test
//! beside the code can reach.

#![allow(missing_docs)]

mod backup;
mod database;
mod ground;
mod shop;
mod transfer;
mod unfinished;
mod writer;
