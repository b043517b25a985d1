//! One upstream as `gateway.toml` describes it, and what is wrong with it. Not for routes, and not for
//! what is measured or counted.

use std::path::PathBuf;
use std::time::Duration;

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::settings::{BreakerConfig, BulkheadConfig, HealthConfig, OutlierConfig, PoolConfig, RetryConfig};

/// An upstream: the servers that answer the same requests, and how they are called.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `http://host:port` or `https://host:port`, or `{ url, weight }`. May be empty where discovery fills it.
    pub servers: Vec<ServerConfig>,
    /// How a server is chosen.
    pub balance: Balance,
    /// What is spoken: `auto` asks by ALPN over TLS and speaks HTTP/1.1 without it.
    pub protocol: Protocol,
    /// What the Host header says.
    pub host: HostHeader,
    /// TLS; used for `https` servers only.
    pub tls: TlsConfig,
    /// Connections.
    pub pool: PoolConfig,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Active health checks; off without a path.
    pub health: HealthConfig,
    /// Passive ejection of single servers.
    pub outlier: OutlierConfig,
    /// Circuit breakers, one per tenant and one for the connections of all.
    pub breaker: BreakerConfig,
    /// Retries and hedged requests.
    pub retry: RetryConfig,
    /// Requests in flight.
    pub bulkhead: BulkheadConfig,
}

/// One server in the configuration.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub enum ServerConfig {
    /// Only where it is.
    Url(String),
    /// Where it is and its share.
    Weighted(WeightedServer),
}

/// A server and its share.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct WeightedServer {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// Its share of the requests relative to the others, 1 to 1000.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

/// How a server is chosen.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastConnections,
    /// The better of two drawn at random, by peak-EWMA latency times requests in flight (as Linkerd does).
    P2c,
}

/// What is spoken with the servers.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Only HTTP/1.1.
    Http1,
    /// Only HTTP/2; without TLS with prior knowledge.
    Http2,
    /// What ALPN gives; HTTP/1.1 without TLS.
    #[default]
    Auto,
}

/// What the Host header (`:authority`) says.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum HostHeader {
    /// The server's own host and port.
    #[default]
    Upstream,
    /// What the client sent.
    Original,
}

/// TLS towards the servers. Certificates are always verified.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate chain, for mutual TLS.
    pub certificate_file: Option<PathBuf>,
    /// PEM file of its private key.
    pub key_file: Option<PathBuf>,
    /// The name to ask for (SNI) and to find in the certificate; the server's host where it is not given.
    pub server_name: Option<String>,
}

/// What tells servers how many milliseconds are left, where nothing else is configured.
pub const TIME_LEFT: &str = "x-request-timeout-ms";

/// How long things may take.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Until a connection is open, TLS included.
    pub connect_ms: u64,
    /// From the end of the request to the head of the answer.
    pub first_byte_ms: u64,
    /// Between two parts of a body, of the request's and of the answer's; 0 means no limit.
    pub body_idle_ms: u64,
    /// The request header that tells the server how many milliseconds are left; empty means none.
    pub header: String,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect_ms: 2_000, first_byte_ms: 30_000, body_idle_ms: 60_000, header: TIME_LEFT.to_owned() }
    }
}

/// A server as discovery or the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// `host:port`; a name is looked up whenever a connection is opened.
    pub address: String,
    /// Its share of the requests relative to the others.
    pub weight: u32,
    /// With or without TLS.
    pub scheme: Scheme,
}

/// Whether a server is spoken to through TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without.
    Http,
    /// With.
    Https,
}

impl Server {
    /// Reads `http://host:port` or `https://host:port`; the port may be left out.
    pub fn parse(url: &str, weight: u32) -> Result<Self> {
        let wrong = |why: &str| Error::invalid("config.upstream_server", format!("the server {url} {why}"));
        let uri: http::Uri = url.parse().map_err(|_| wrong("is not a URL"))?;
        let (scheme, port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            _ => return Err(wrong("must start with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
        if authority.port_u16().is_none_or(|port| port == 0) && authority.as_str() != authority.host() {
            return Err(wrong("must have a port of 1 to 65535, or none"));
        }
        if authority.as_str().contains('@') {
            return Err(wrong("must not hold a user name"));
        }
        if !uri.path().trim_end_matches('/').is_empty() || uri.query().is_some() {
            return Err(wrong("must have no path: paths belong to routes"));
        }
        if !(1..=1000).contains(&weight) {
            return Err(wrong("must have a weight of 1 to 1000"));
        }
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(port));
        Ok(Self { address, weight, scheme })
    }

    /// Returns the host without the port.
    pub(crate) fn host(&self) -> &str {
        self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host)
    }
}

impl ServerConfig {
    /// Returns the server, or what is wrong with it.
    pub fn server(&self) -> Result<Server> {
        match self {
            Self::Url(url) => Server::parse(url, 1),
            Self::Weighted(server) => Server::parse(&server.url, server.weight),
        }
    }
}

impl Config {
    /// Says what is wrong, without opening a file or a socket.
    pub fn check(&self) -> Result<()> {
        for server in self.servers()? {
            if server.scheme == Scheme::Https {
                self.tls.name_for(&server)?;
            }
        }
        if self.tls.certificate_file.is_some() != self.tls.key_file.is_some() {
            return Err(wrong("tls.certificate_file and tls.key_file belong together"));
        }
        self.timeouts.check()?;
        self.pool.check()?;
        self.health.check().and(self.outlier.check())?;
        self.breaker.check()?;
        self.retry.check()?;
        self.bulkhead.check()
    }

    /// Returns the servers that the configuration names.
    pub fn servers(&self) -> Result<Vec<Server>> {
        self.servers.iter().map(ServerConfig::server).collect()
    }
}

impl Timeouts {
    fn check(&self) -> Result<()> {
        if self.connect_ms == 0 || self.first_byte_ms == 0 {
            return Err(wrong("timeouts.connect_ms and timeouts.first_byte_ms must be at least 1"));
        }
        if !self.header.is_empty() && http::HeaderName::try_from(&self.header).is_err() {
            return Err(wrong("timeouts.header must be the name of a header"));
        }
        Ok(())
    }

    pub(crate) fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    pub(crate) fn first_byte(&self) -> Duration {
        Duration::from_millis(self.first_byte_ms)
    }

    pub(crate) fn body_idle(&self) -> Option<Duration> {
        (self.body_idle_ms > 0).then(|| Duration::from_millis(self.body_idle_ms))
    }
}

/// Returns the error of an impossible configuration.
pub(crate) fn wrong(message: &str) -> Error {
    Error::invalid("config.upstream", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_with_their_ports() {
        for (url, address, scheme) in [
            ("http://a:1", "a:1", Scheme::Http),
            ("https://b.example", "b.example:443", Scheme::Https),
            ("http://[::1]:8080/", "[::1]:8080", Scheme::Http),
        ] {
            let server = Server::parse(url, 1).expect(url);
            assert_eq!((server.address.as_str(), server.scheme), (address, scheme));
        }
        for url in [
            "a:1",
            "ftp://a:1",
            "http://a:1/path",
            "http://u:p@a:1",
            "http://",
            "http://a:99999",
            "http://a:0",
            "http://a:",
        ] {
            assert!(Server::parse(url, 1).is_err(), "{url}");
        }
        assert!(Server::parse("http://a:1", 0).is_err());
    }

    #[test]
    fn the_default_is_right_and_impossible_values_are_refused() {
        let mut config = Config::default();
        assert!(config.check().is_ok());
        config.tls.key_file = Some("key.pem".into());
        assert!(config.check().is_err());
        config = Config::default();
        config.timeouts.header = "no header".into();
        assert!(config.check().is_err());
        config = Config::default();
        config.breaker.failure_ratio = 1.5;
        assert!(config.check().is_err());
    }
}
