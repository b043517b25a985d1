//! What an operator says of traces. Not for log and metrics.

use std::time::Duration;

use http::Uri;
use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

/// Whose word counts at a public door that a request is to be recorded. Between the installation's own processes the
/// gateway's counts always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustParent {
    /// That of callers whose credential was checked. A stranger's request is as one without a trace.
    #[default]
    SignedIn,
    /// Everybody's.
    Always,
    /// Nobody's: only the share is recorded.
    Never,
}

/// Where traces go, and how many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The collector, OTLP over HTTP: `http://127.0.0.1:4318`; empty means no traces. Without a path, `/v1/traces`.
    pub endpoint: String,
    /// What this process calls itself.
    pub service_name: String,
    /// The share of requests that are recorded although nobody asked: 0 means only those whose `traceparent` says so.
    pub traces_sampled: f64,
    /// Whose `traceparent` may have a request recorded: `signed-in`, `always`, `never`.
    pub trust_parent: TrustParent,
    /// How long an export may take, with its retries, in milliseconds.
    pub timeout_ms: u64,
    /// How many spans may wait for the export; more are dropped, and counted.
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            service_name: "portico".to_owned(),
            traces_sampled: 0.0,
            trust_parent: TrustParent::default(),
            timeout_ms: 10_000,
            queue: 8_192,
        }
    }
}

impl Config {
    /// Says what is wrong, if anything.
    pub fn check(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::invalid("config.invalid", what));
        if !(0.0..=1.0).contains(&self.traces_sampled) {
            return wrong(format!("telemetry.traces_sampled must be from 0.0 to 1.0, not {}", self.traces_sampled));
        }
        if self.timeout_ms == 0 || self.queue == 0 {
            return wrong("telemetry.timeout_ms and telemetry.queue must be at least 1".to_owned());
        }
        if self.service_name.is_empty() {
            return wrong("telemetry.service_name must not be empty".to_owned());
        }
        self.target().map(|_| ())
    }

    /// Returns where batches are posted to, if anywhere.
    pub(crate) fn target(&self) -> Result<Option<Uri>> {
        if self.endpoint.is_empty() {
            return Ok(None);
        }
        let wrong = || {
            let message = format!("telemetry.endpoint must look like http://host:4318, not {}", self.endpoint);
            Error::invalid("config.invalid", message)
        };
        let base: Uri = self.endpoint.parse().map_err(|_| wrong())?;
        let known = matches!(base.scheme_str(), Some("http" | "https"));
        // A password there would end up in logs.
        let named = base.host().is_some_and(|host| !host.is_empty());
        if !known || !named || base.query().is_some() || self.endpoint.contains(['@', '#']) {
            return Err(wrong());
        }
        match base.path() {
            "/" | "" => {
                format!("{}/v1/traces", self.endpoint.trim_end_matches('/')).parse().map(Some).map_err(|_| wrong())
            }
            _ => Ok(Some(base)),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl Fn(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    #[test]
    fn an_endpoint_without_a_path_gets_the_one_of_the_protocol() {
        for (endpoint, target) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://[::1]:4318", "https://[::1]:4318/v1/traces"),
            ("https://collector.example/otlp/v1/traces", "https://collector.example/otlp/v1/traces"),
        ] {
            let config = with(|config| config.endpoint = endpoint.to_owned());
            assert_eq!(config.target().expect("valid").expect("a target").to_string(), target);
        }
        assert_eq!(Config::default().target().expect("valid"), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        Config::default().check().expect("the defaults are fine");
        for endpoint in ["127.0.0.1:4318", "grpc://a:4317", "http://", "http://u:p@a:1", "http://a:1?b", "/v1/traces"] {
            let error = with(|config| config.endpoint = endpoint.to_owned()).check().expect_err(endpoint);
            assert!(error.message().contains("telemetry.endpoint"), "{}", error.message());
        }
        for share in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            with(|config| config.traces_sampled = share).check().expect_err("refused");
        }
        with(|config| config.timeout_ms = 0).check().expect_err("refused");
        with(|config| config.queue = 0).check().expect_err("refused");
        with(|config| config.service_name.clear()).check().expect_err("refused");
    }
}
