//! A private PostgreSQL server for one test run.
//!
//! For: finding or fetching the server's programs, starting one server on a fresh folder, telling
//! the tests its address, and never leaving it behind. Not for: databases inside it; each test
//! makes its own through the test kit. Not for production: anybody on this machine may log in.

mod account;
mod binaries;
mod server;
mod wheel;

use std::process::Command;

use crate::workspace::Outcome;
pub use server::{GUARD, guard};

/// Tells the tests where PostgreSQL is: an address with a superuser's name in it.
pub const URL_VARIABLE: &str = "PORTICO_TEST_POSTGRES_URL";

/// What the person at the terminal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Use PostgreSQL, and go on without it when it cannot be had.
    Wanted,
    /// Use PostgreSQL or fail; for continuous integration.
    Required,
    /// Do not use it.
    Refused,
}

/// PostgreSQL as the tests will find it; the server ends when this is dropped.
pub enum Postgres {
    /// A server of our own.
    Private(server::Server),
    /// The caller's server, at this address.
    Given(String),
    /// None, for this reason.
    Missing(String),
}

impl Postgres {
    /// Sets or removes the variable that the tests read.
    pub fn export(&self, command: &mut Command) {
        match self {
            Self::Private(server) => command.env(URL_VARIABLE, server.url()),
            Self::Given(url) => command.env(URL_VARIABLE, url),
            Self::Missing(_) => command.env_remove(URL_VARIABLE),
        };
    }

    /// Returns why there is no PostgreSQL, when there is none.
    pub fn missing(&self) -> Option<&str> {
        match self {
            Self::Missing(reason) => Some(reason),
            _ => None,
        }
    }
}

/// Makes PostgreSQL ready for a test run.
pub fn prepare(mode: Mode) -> Outcome<Postgres> {
    if mode == Mode::Refused {
        return Ok(Postgres::Missing("--no-postgres was given".into()));
    }
    if let Ok(url) = std::env::var(URL_VARIABLE) {
        println!("PostgreSQL: the server that {URL_VARIABLE} names");
        return Ok(Postgres::Given(url));
    }
    match start() {
        Ok(server) => Ok(Postgres::Private(server)),
        Err(reason) if mode == Mode::Required => Err(format!("no PostgreSQL: {reason}")),
        Err(reason) => {
            println!("No PostgreSQL: {reason}");
            Ok(Postgres::Missing(reason))
        }
    }
}

fn start() -> Outcome<server::Server> {
    let account = account::Account::for_server()?;
    let binaries = binaries::find_or_fetch(account.as_ref())?;
    println!("PostgreSQL {} from {}", binaries.version, binaries.folder.display());
    let server = server::Server::start(&binaries.folder)?;
    println!("PostgreSQL runs at {}", server.url());
    Ok(server)
}
