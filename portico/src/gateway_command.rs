//! What the command line says of the gateway: whether its file is sound, what a request would walk
//! through, and an example of everything that the file may hold. Not for serving.

use clap::Subcommand;
use gateway::Explained;
use http::Method;
use kernel::{Error, Result};

use crate::config::Config;
use crate::doors;

/// What can be asked of the gateway.
#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    /// Check gateway.toml and the route table; says where a mistake is
    Check,
    /// Print what a request would walk through
    Explain {
        /// The method, such as GET
        method: String,
        /// The path, such as /api/inventory
        path: String,
        /// The host that the request is for
        #[arg(long)]
        host: Option<String>,
    },
    /// Print every route: method, path, who answers
    Routes,
    /// Print a commented gateway.toml with everything that it may hold
    Example,
}

/// Does it, and returns what to print.
pub(crate) fn run(config: &Config, command: &Gateway) -> Result<String> {
    match command {
        Gateway::Example => Ok(gateway::EXAMPLE.to_owned()),
        Gateway::Check => {
            let plan = doors::described_plan(config)?;
            let file = config.gateway.path().map_or("no gateway.toml".to_owned(), |path| path.display().to_string());
            Ok(format!("{file} is sound: {} routes, {} of them declared\n", plan.len(), plan.declared_len()))
        }
        Gateway::Routes => {
            let mut lines: Vec<String> = doors::described_plan(config)?.list();
            lines.push(String::new());
            Ok(lines.join("\n"))
        }
        Gateway::Explain { method, path, host } => {
            let wrong = || Error::invalid("gateway.no_method", format!("{method} is no HTTP method"));
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).map_err(|_| wrong())?;
            let explained: Explained = doors::described_plan(config)?.explain(host.as_deref(), &method, path)?;
            Ok(explained.to_string())
        }
    }
}
