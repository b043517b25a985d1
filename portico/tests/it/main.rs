//! The binary from outside: real processes, real sockets, real signals. Not for what a router in
//! memory can show.

mod client;
mod command_line;
mod crash;
mod data_commands;
mod drain;
mod fault_matrix;
mod fresh_database;
mod metrics;
mod notifications;
mod operator_events;
mod operator_tasks;
mod process;
mod provision;
mod resume;
mod revocation;
mod secrets_at_rest;
mod split;
mod stream;
mod sweep;
mod sweep_events;
mod sweep_live;
mod sweep_notifications;
mod sweep_people;
mod sweep_provision;
mod sweep_tasks;
mod sweep_webhooks;
