//! The binary's own parts: the one list of all services, configuration, wiring, health, documents
//! and the command line. The only crate that names every service. Not for anything a service does.

pub mod cli;
pub mod config;
pub mod data_folder;
pub mod docs;
pub mod documents;
pub mod health;
pub mod logging;
pub mod mail;
pub mod operator;
pub mod serve;
pub mod services;
pub mod usage_ledger;

mod admin;
mod certificates;
mod counts;
mod data;
mod declared_sagas;
mod doctor;
mod doors;
mod events_command;
#[cfg(target_os = "linux")]
mod footing;
mod gateway_command;
mod http_client;
mod inventory_command;
mod kept_answers;
mod openapi_command;
mod operator_events;
mod operator_tasks;
mod people;
mod plain_upstreams;
mod tasks_command;
mod upstream_documents;
mod work;
