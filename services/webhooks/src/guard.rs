//! Keeps webhooks out of the house: an endpoint's address is judged as it was written, its name is
//! resolved once, every address that it leads to has to be public, and the connection goes to one of
//! exactly those. Not for speaking HTTP.

mod address;
mod internet;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use kernel::{Error, Result};
use url::{Host, Url};

use crate::send::Failure;
use crate::settings::Settings;

pub use internet::{Internet, Network};

const LONGEST_URL: usize = 2_048;

/// Judges where endpoints may be.
#[derive(Debug)]
pub(crate) struct Guard {
    allow_http: bool,
    allowed: Vec<IpNet>,
    ports: Vec<u16>,
}

/// Where an endpoint is, as it was written; its name is not resolved yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The name or address, as TLS checks it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether it is reached over TLS.
    pub tls: bool,
    /// What the `Host` header says.
    pub authority: String,
    /// Path and query.
    pub path: String,
    address: Option<IpAddr>,
}

impl Guard {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let network = |text: &String| {
            text.parse().map_err(|_| {
                let message = format!("webhooks.allow_networks: {text} is not a network such as 10.1.0.0/16");
                Error::invalid("config.invalid", message)
            })
        };
        let allowed = settings.allow_networks.iter().map(network).collect::<Result<_>>()?;
        Ok(Self { allow_http: settings.allow_http, allowed, ports: settings.ports.clone() })
    }

    /// Reads where an endpoint is to be; refuses with words for whoever wrote it.
    pub(crate) fn target(&self, text: &str) -> Result<Target, &'static str> {
        if text.len() > LONGEST_URL {
            return Err("must have at most 2048 characters");
        }
        // The parser would drop line breaks and turn backslashes; who writes such has something in mind.
        if text.chars().any(|letter| letter.is_control() || letter.is_whitespace() || letter == '\\') {
            return Err("must not hold spaces, control characters or backslashes");
        }
        let url = Url::parse(text).map_err(|_| "must be a URL such as https://example.com/hooks")?;
        let tls = match url.scheme() {
            "https" => true,
            "http" if self.allow_http => false,
            _ => return Err("must begin with https://"),
        };
        if !url.username().is_empty()
            || url.password().is_some()
            || text.contains('@') && authority_of(text).contains('@')
        {
            return Err("must not hold a user name or password");
        }
        if url.fragment().is_some() {
            return Err("must not have a fragment");
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if port == 0 || !(self.ports.is_empty() || self.ports.contains(&port)) {
            return Err("has a port that is not allowed here");
        }
        let (host, address) = match url.host() {
            Some(Host::Domain(name)) => (name.trim_end_matches('.').to_owned(), None),
            Some(Host::Ipv4(address)) => (address.to_string(), Some(IpAddr::V4(address))),
            Some(Host::Ipv6(address)) => (address.to_string(), Some(IpAddr::V6(address))),
            None => return Err("must name a host"),
        };
        if host.is_empty() || host.len() > 253 {
            return Err("must name a host");
        }
        if address.is_some_and(|address| !self.allows(address)) {
            return Err("leads to an address that is not public");
        }
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let authority = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        Ok(Target { host, port, tls, authority, path, address })
    }

    /// Resolves a target, once. All that it leads to has to be public: a name with one private address
    /// among public ones is a trick, and a name that changes its mind later is not asked again.
    pub(crate) async fn resolve(&self, target: &Target, network: &dyn Network) -> Result<Vec<SocketAddr>, Failure> {
        let addresses = match target.address {
            Some(address) => vec![address],
            None => network
                .resolve(&target.host, target.port)
                .await
                .map_err(|_| Failure::new("name_not_found", "the name cannot be resolved"))?,
        };
        if addresses.is_empty() {
            return Err(Failure::new("name_not_found", "the name has no address"));
        }
        // Which address it was is not said: it would tell of names inside the house.
        if !addresses.iter().all(|address| self.allows(*address)) {
            return Err(Failure::new("address_refused", "the name leads to an address that is not public"));
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, target.port)).collect())
    }

    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address::is_public(address) || self.allowed.iter().any(|network| network.contains(&address))
    }
}

/// Returns what is written between the scheme and the path.
fn authority_of(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(settings: Settings) -> Guard {
        Guard::new(&settings).expect("sound")
    }

    #[test]
    fn a_target_is_read_as_it_will_be_called() {
        let target = guard(Settings::default()).target("https://Hooks.Example.com:8443/a%20b?c=d").expect("fine");
        assert_eq!((target.host.as_str(), target.port, target.tls), ("hooks.example.com", 8443, true));
        assert_eq!((target.authority.as_str(), target.path.as_str()), ("hooks.example.com:8443", "/a%20b?c=d"));
        let plain = guard(Settings::default()).target("https://93.184.216.34").expect("a public address");
        assert_eq!((plain.authority.as_str(), plain.path.as_str(), plain.port), ("93.184.216.34", "/", 443));
    }

    #[test]
    fn what_is_odd_is_refused_and_what_is_allowed_is_not() {
        let strict = guard(Settings::default());
        for odd in [
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://user@example.com/",
            "https://user:word@example.com/",
            "https://@example.com/",
            "https://example.com/#fragment",
            "https://example.com:0/",
            "https://",
            "https://exa mple.com/",
            "https:\\\\example.com\\",
            "https://example.com/\r\nx: y",
            "example.com",
            "",
        ] {
            assert!(strict.target(odd).is_err(), "{odd}");
        }
        assert!(strict.target(&format!("https://example.com/{}", "a".repeat(2_048))).is_err());
        assert!(strict.target("https://example.com/a@b").is_ok());
        let open = guard(Settings {
            allow_http: true,
            allow_networks: vec!["127.0.0.0/8".into()],
            ports: vec![80, 443],
            ..Settings::default()
        });
        assert!(open.target("http://127.0.0.1/").is_ok());
        assert!(open.target("http://[::ffff:127.0.0.1]/").is_ok());
        assert!(open.target("http://10.0.0.1/").is_err());
        assert!(open.target("http://127.0.0.1:8080/").is_err());
        assert!(Guard::new(&Settings { allow_networks: vec!["here".into()], ..Settings::default() }).is_err());
    }
}
