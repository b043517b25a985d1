//! Where an upstream's servers are asked for, in the words of the configuration file. Not for asking.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::endpoint::Endpoint;

/// A text that is written nowhere.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "(secret)" })
    }
}

/// Where the servers of an upstream are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Config {
    /// They are written down.
    Static(Static),
    /// Each address of a name is one.
    Dns(Dns),
    /// SRV records name them.
    Srv(Srv),
    /// They stand in etcd, below a prefix.
    Etcd(Etcd),
    /// They are the healthy instances of a Consul service.
    Consul(Consul),
}

impl Default for Config {
    fn default() -> Self {
        Self::Static(Static::default())
    }
}

/// Servers that are written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Static {
    /// The servers.
    pub endpoints: Vec<Endpoint>,
}

/// A name whose A and AAAA records are the servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// The name.
    pub name: String,
    /// Their port.
    pub port: u16,
    /// Whether they speak TLS.
    pub tls: bool,
    /// Whether AAAA records count.
    pub ipv6: bool,
    /// How often the name is looked up; 0: as often as its records say.
    pub interval_ms: u64,
    /// How long an answer may take.
    pub timeout_ms: u64,
    /// Which DNS servers are asked, as `address:port`; none: the system's.
    pub servers: Vec<SocketAddr>,
    /// Keeps the last servers when the name has none any more.
    pub keep_last_when_empty: bool,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            name: String::new(),
            port: 80,
            tls: false,
            ipv6: true,
            interval_ms: 0,
            timeout_ms: 3_000,
            servers: Vec::new(),
            keep_last_when_empty: false,
        }
    }
}

/// A name whose SRV records (RFC 2782) are the servers; those of the lowest priority count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Srv {
    /// The name, such as `_http._tcp.items.example`.
    pub name: String,
    /// Whether they speak TLS.
    pub tls: bool,
    /// Gives the targets by name, as certificates want them, and not by address.
    pub by_name: bool,
    /// Whether AAAA records of the targets count.
    pub ipv6: bool,
    /// How often the name is looked up; 0: as often as its records say.
    pub interval_ms: u64,
    /// How long an answer may take.
    pub timeout_ms: u64,
    /// Which DNS servers are asked, as `address:port`; none: the system's.
    pub servers: Vec<SocketAddr>,
    /// Keeps the last servers when the name has none any more.
    pub keep_last_when_empty: bool,
}

impl Default for Srv {
    fn default() -> Self {
        let Dns { name, tls, ipv6, interval_ms, timeout_ms, servers, keep_last_when_empty, .. } = Dns::default();
        Self { name, tls, by_name: false, ipv6, interval_ms, timeout_ms, servers, keep_last_when_empty }
    }
}

/// Keys below a prefix in etcd 3.4 or newer, each with an address or `{"url": …, "weight": …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Etcd {
    /// Addresses of the cluster's members, asked in turn.
    pub addresses: Vec<String>,
    /// What the keys begin with, such as `/services/items/`.
    pub prefix: String,
    /// Who asks, if etcd wants to know.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Certificate authorities for https addresses, as PEM, besides the system's.
    pub certificate_file: PathBuf,
    /// How long an answer may take.
    pub timeout_ms: u64,
    /// How long a silent watch is believed before all is read again.
    pub resync_ms: u64,
    /// Keeps the last servers when there is no key any more.
    pub keep_last_when_empty: bool,
}

impl Default for Etcd {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            prefix: String::new(),
            user: String::new(),
            password: Secret::default(),
            certificate_file: PathBuf::new(),
            timeout_ms: 3_000,
            resync_ms: 60_000,
            keep_last_when_empty: false,
        }
    }
}

/// The instances of a service that Consul says pass their checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Consul {
    /// The agent's address.
    pub address: String,
    /// The service's name.
    pub service: String,
    /// Only instances with this tag; empty: all.
    pub tag: String,
    /// The data centre; empty: the agent's own.
    pub datacenter: String,
    /// Whether they speak TLS.
    pub tls: bool,
    /// Who asks.
    pub token: Secret,
    /// Certificate authorities for an https address, as PEM, besides the system's.
    pub certificate_file: PathBuf,
    /// How long a question waits for news.
    pub wait_ms: u64,
    /// How long an answer may take beyond that.
    pub timeout_ms: u64,
    /// Keeps the last servers when no instance passes any more.
    pub keep_last_when_empty: bool,
}

impl Default for Consul {
    fn default() -> Self {
        Self {
            address: "http://127.0.0.1:8500".into(),
            service: String::new(),
            tag: String::new(),
            datacenter: String::new(),
            tls: false,
            token: Secret::default(),
            certificate_file: PathBuf::new(),
            wait_ms: 60_000,
            timeout_ms: 10_000,
            keep_last_when_empty: false,
        }
    }
}

pub(crate) fn wrong(key: &str, why: impl fmt::Display) -> Error {
    Error::invalid("config.invalid", format!("discovery: {key}: {why}"))
}

/// Refuses an empty text.
pub(crate) fn given(key: &str, text: &str) -> Result<()> {
    if text.is_empty() { Err(wrong(key, "it is missing")) } else { Ok(()) }
}

/// Refuses a time of nothing.
pub(crate) fn positive(key: &str, milliseconds: u64) -> Result<()> {
    if milliseconds == 0 { Err(wrong(key, "it must be more than 0")) } else { Ok(()) }
}

/// Refuses addresses that are none.
pub(crate) fn addresses(key: &str, addresses: &[String]) -> Result<()> {
    if addresses.is_empty() {
        return Err(wrong(key, "name at least one"));
    }
    addresses.iter().try_for_each(|text| Address::parse(text).map(drop).map_err(|why| wrong(key, why)))
}

impl Config {
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Static(list) => {
                let check = |endpoint: &Endpoint| Endpoint::new(&endpoint.url, endpoint.weight).map(drop);
                list.endpoints.iter().try_for_each(check).map_err(|why| wrong("endpoints", why))
            }
            Self::Dns(dns) => {
                given("name", &dns.name)?;
                positive("timeout_ms", dns.timeout_ms)?;
                if dns.port == 0 { Err(wrong("port", "it must be more than 0")) } else { Ok(()) }
            }
            Self::Srv(srv) => {
                given("name", &srv.name)?;
                positive("timeout_ms", srv.timeout_ms)
            }
            Self::Etcd(etcd) => {
                addresses("addresses", &etcd.addresses)?;
                given("prefix", &etcd.prefix)?;
                positive("timeout_ms", etcd.timeout_ms)?;
                positive("resync_ms", etcd.resync_ms)
            }
            Self::Consul(consul) => {
                addresses("address", std::slice::from_ref(&consul.address))?;
                given("service", &consul.service)?;
                positive("wait_ms", consul.wait_ms)?;
                positive("timeout_ms", consul.timeout_ms)
            }
        }
    }

    /// Returns the word for the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Dns(_) => "dns",
            Self::Srv(_) => "srv",
            Self::Etcd(_) => "etcd",
            Self::Consul(_) => "consul",
        }
    }

    /// Says whether the last servers stay when the source has none.
    pub(crate) fn keep_last_when_empty(&self) -> bool {
        match self {
            Self::Static(_) => false,
            Self::Dns(dns) => dns.keep_last_when_empty,
            Self::Srv(srv) => srv.keep_last_when_empty,
            Self::Etcd(etcd) => etcd.keep_last_when_empty,
            Self::Consul(consul) => consul.keep_last_when_empty,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        discovery: Config,
    }

    fn read(text: &str) -> Result<Config, String> {
        toml::from_str::<File>(&format!("discovery = {text}")).map(|file| file.discovery).map_err(|e| e.to_string())
    }

    #[test]
    fn each_kind_is_read() {
        for (text, kind) in [
            (r#"{ kind = "static", endpoints = [{ url = "http://a:1" }] }"#, "static"),
            (r#"{ kind = "dns", name = "a.example", port = 8080, interval_ms = 500 }"#, "dns"),
            (r#"{ kind = "srv", name = "_http._tcp.a.example", servers = ["127.0.0.1:53"] }"#, "srv"),
            (r#"{ kind = "etcd", addresses = ["http://127.0.0.1:2379"], prefix = "/a/" }"#, "etcd"),
            (r#"{ kind = "consul", service = "a", token = "hush" }"#, "consul"),
        ] {
            let config = read(text).expect(kind);
            config.check().expect(kind);
            assert_eq!(config.kind(), kind);
            assert!(!format!("{config:?}").contains("hush"));
            let written = toml::to_string(&config).expect("written");
            assert_eq!(toml::from_str::<Config>(&written).expect("read again"), config);
        }
    }

    #[test]
    fn what_cannot_be_right_is_named() {
        for (text, key) in [
            (r#"{ kind = "static", endpoints = [{ url = "a" }] }"#, "endpoints"),
            (r#"{ kind = "dns" }"#, "name"),
            (r#"{ kind = "dns", name = "a", port = 0 }"#, "port"),
            (r#"{ kind = "dns", name = "a", timeout_ms = 0 }"#, "timeout_ms"),
            (r#"{ kind = "srv" }"#, "name"),
            (r#"{ kind = "etcd", prefix = "/a/" }"#, "addresses"),
            (r#"{ kind = "etcd", addresses = ["a:1"], prefix = "/a/" }"#, "addresses"),
            (r#"{ kind = "etcd", addresses = ["http://a:1"] }"#, "prefix"),
            (r#"{ kind = "consul" }"#, "service"),
            (r#"{ kind = "consul", service = "a", address = "" }"#, "address"),
        ] {
            let error = read(text).expect("read").check().expect_err(text);
            assert!(error.message().contains(key), "{key} is not in {}", error.message());
        }
        for text in [r#"{ kind = "guess" }"#, r#"{ kind = "dns", surprise = 1 }"#, r#"{ name = "a" }"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
