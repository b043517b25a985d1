//! What an installation may set of the way it calls its tenants' systems. Not for what a tenant sets
//! of an endpoint: that is a row.

use std::path::PathBuf;
use std::time::Duration;

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

/// The settings of the webhooks service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether endpoints may be reached without TLS; for trials and closed networks.
    pub allow_http: bool,
    /// Networks that endpoints may be in although they are not public, such as `10.1.0.0/16`.
    pub allow_networks: Vec<String>,
    /// The ports that endpoints may have; empty means any.
    pub ports: Vec<u16>,
    /// A PEM file with certificate authorities to trust beside those of the system; empty means none.
    pub certificate_file: PathBuf,
    /// How long one attempt may take in all, in milliseconds.
    pub timeout_ms: u64,
    /// How many endpoints a tenant may have.
    pub endpoints_per_tenant: u64,
    /// For how many days deliveries that have ended stay in the log.
    pub keep_days: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_http: false,
            allow_networks: Vec::new(),
            ports: Vec::new(),
            certificate_file: PathBuf::new(),
            timeout_ms: 15_000,
            endpoints_per_tenant: 50,
            keep_days: 30,
        }
    }
}

impl Settings {
    /// Refuses what would be unsafe or cannot work.
    pub fn check(&self) -> Result<()> {
        let within = |key: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::invalid("config.invalid", format!("webhooks.{key} must be from {least} to {most}")))
        };
        // A lease of a task is 30 s; an attempt has to end well before.
        within("timeout_ms", self.timeout_ms, 100, 20_000)?;
        within("endpoints_per_tenant", self.endpoints_per_tenant, 1, 1_000)?;
        within("keep_days", self.keep_days, 1, 365)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(crate) fn kept(&self) -> Duration {
        Duration::from_secs(self.keep_days * 24 * 3600)
    }
}
