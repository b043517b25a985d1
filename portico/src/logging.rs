//! Sets up the log of a process: sentences with dotted fields on standard error, as text or JSON.
//! Not for metrics.

use std::io::IsTerminal as _;

use kernel::{Error, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging as configured.
pub fn start(config: &Log) -> Result<()> {
    let wrong = |error| Error::invalid("config.invalid", format!("log.filter is not valid: {error}"));
    let filter: EnvFilter =
        config.filter.parse().map_err(|error: tracing_subscriber::filter::ParseError| wrong(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    let started = match config.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        LogFormat::Text => builder.try_init(),
    };
    started.map_err(|error| wrong(error.to_string()))
}
