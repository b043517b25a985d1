//! The binary from outside: real processes, real sockets, real signals. Not for what a router in
//! memory can show.

mod client;
mod command_line;
mod crash;
mod data_commands;
mod drain;
mod fresh_database;
mod metrics;
mod process;
mod provision;
mod revocation;
mod secrets_at_rest;
mod split;
mod sweep;
mod sweep_people;
mod sweep_provision;
