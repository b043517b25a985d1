//! One server of an upstream, and lists of them in one order. Not for where a list comes from.

use serde::{Deserialize, Serialize};

/// Where a server is, and how much of the load it takes in comparison with the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// Its share; 1 where the source says nothing.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

impl Endpoint {
    /// Returns an endpoint, unless its address is none. A weight of nothing counts as the least.
    pub(crate) fn new(url: &str, weight: u32) -> Result<Self, String> {
        let uri: http::Uri = url.parse().map_err(|_| format!("`{url}` is not an address"))?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"));
        let (Some(scheme), Some(authority)) = (scheme, uri.authority()) else {
            return Err(format!("`{url}` is not an address that begins with http:// or https://"));
        };
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if authority.as_str().contains('@') || authority.host().is_empty() || !bare {
            return Err(format!("`{url}` must be a host, perhaps with a port, and nothing else"));
        }
        Ok(Self { url: format!("{scheme}://{authority}"), weight: weight.max(1) })
    }

    /// Returns the endpoint of a host (a name or an address) and a port.
    pub(crate) fn at(tls: bool, host: &str, port: u16, weight: u32) -> Result<Self, String> {
        let scheme = if tls { "https" } else { "http" };
        match host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => Self::new(&format!("{scheme}://[{address}]:{port}"), weight),
            Err(_) => Self::new(&format!("{scheme}://{host}:{port}"), weight),
        }
    }
}

/// Brings a list into one order, each server once; of two entries the one with the larger share stays.
pub(crate) fn ordered(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    endpoints.sort_by(|one, other| one.url.cmp(&other.url).then(other.weight.cmp(&one.weight)));
    endpoints.dedup_by(|one, other| one.url == other.url);
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (given, url) in [
            ("http://a.example:80", "http://a.example:80"),
            ("https://a.example/", "https://a.example"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(Endpoint::new(given, 0), Ok(Endpoint { url: url.into(), weight: 1 }), "{given}");
        }
        for refused in ["", "a", "a:80", "ftp://a", "http://", "http://a/b", "http://a?b", "http://u@a", "http://a b"] {
            assert!(Endpoint::new(refused, 1).is_err(), "{refused}");
        }
        assert_eq!(Endpoint::at(true, "::1", 443, 2).expect("an address").url, "https://[::1]:443");
        assert_eq!(Endpoint::at(false, "10.0.0.1", 80, 2).expect("an address").url, "http://10.0.0.1:80");
        assert!(Endpoint::at(false, "10.0.0.1/evil", 80, 2).is_err());
    }

    #[test]
    fn a_list_has_one_order_and_each_server_once() {
        let list = |list: &[(&str, u32)]| {
            list.iter().map(|(url, weight)| Endpoint { url: (*url).into(), weight: *weight }).collect::<Vec<_>>()
        };
        assert_eq!(ordered(list(&[("b", 1), ("a", 2), ("b", 3)])), list(&[("a", 2), ("b", 3)]));
    }
}
