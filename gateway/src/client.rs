//! Which address a request comes from. Anybody can write `X-Forwarded-For`, so each entry is only
//! as good as the hop that added it: read from the right, up to the first address that is not one
//! of ours. Not for deciding who somebody is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;
use kernel::{Error, Result};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// How many hops are looked at.
const HOP_LIMIT: usize = 32;

/// The proxies in front whose word is taken on where a request comes from.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Reads networks such as `10.0.0.0/8`, and single addresses.
    pub fn parse(list: &[impl AsRef<str>]) -> Result<Self> {
        let read = |text: &str| text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let network = |text: &str| {
            let message = format!("server.trusted_proxies: {text} is no network such as 10.0.0.0/8, and no address");
            read(text).ok_or_else(|| Error::invalid("config.invalid", message))
        };
        list.iter().map(|text| network(text.as_ref())).collect::<Result<_>>().map(Self)
    }

    /// Says whether an address is one of ours.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the address of the client behind the peer: the nearest one that is no trusted proxy.
    /// Where a trusted hop names nobody that can be read, it is that hop.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut named = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).take(HOP_LIMIT);
        let mut hop = peer.to_canonical();
        while self.trust(hop) {
            let Some(before) = named.next().and_then(address) else { break };
            hop = before;
        }
        hop
    }
}

/// Reads an address, with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = TrustedProxies::parse(&["10.0.0.0/8", "192.168.7.7", "2001:db8:a::/48"]).expect("networks");
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).expect("a header's value"));
        }
        trusted.client(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn a_stranger_is_believed_nothing() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["198.51.100.1, 10.0.0.1"]), "203.0.113.9");
        assert_eq!(client("11.0.0.1", &["198.51.100.1"]), "11.0.0.1");
        let nobody = TrustedProxies::default();
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("198.51.100.1"));
        assert_eq!(nobody.client([127, 0, 0, 1].into(), &headers).to_string(), "127.0.0.1");
    }

    #[test]
    fn a_trusted_proxy_is_believed_whom_it_saw_and_nothing_left_of_it() {
        assert_eq!(client(PROXY, &["203.0.113.9"]), "203.0.113.9");
        for forged in ["198.51.100.1", "10.0.0.5", "198.51.100.1, 10.0.0.5", "nonsense", ",,,", "unknown", "æ"] {
            assert_eq!(client(PROXY, &[&format!("{forged}, 203.0.113.9")]), "203.0.113.9", "{forged}");
            assert_eq!(client(PROXY, &[forged, "203.0.113.9"]), "203.0.113.9", "{forged} in a line of its own");
        }
        // Long enough to push the true entry out of sight, if the left were read first.
        let many = vec!["198.51.100.1"; 500].join(",");
        assert_eq!(client(PROXY, &[&format!("{many}, 203.0.113.9")]), "203.0.113.9");
    }

    #[test]
    fn several_trusted_proxies_are_walked_through() {
        assert_eq!(client(PROXY, &["198.51.100.1, 203.0.113.9, 10.0.0.2, 192.168.7.7"]), "203.0.113.9");
        assert_eq!(client(PROXY, &["198.51.100.1, 203.0.113.9", "10.0.0.2", "192.168.7.7"]), "203.0.113.9");
        assert_eq!(client("2001:db8:a::1", &["2001:db8:b::9, 2001:db8:a::2"]), "2001:db8:b::9");
        assert_eq!(client(PROXY, &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "all are ours: the first of them");
    }

    #[test]
    fn what_cannot_be_read_leaves_the_last_trusted_hop() {
        assert_eq!(client(PROXY, &[]), PROXY);
        for broken in ["", " ", "unknown", "_hidden", "203.0.113.9.1", "203.0.113.9,", "[2001:db8::1", "1.2.3.4:x"] {
            assert_eq!(client(PROXY, &[broken]), PROXY, "{broken}");
        }
        assert_eq!(client(PROXY, &["203.0.113.9, garbage, 10.0.0.2"]), "10.0.0.2");
        let many = vec!["10.0.0.7"; 40].join(",");
        assert_eq!(client(PROXY, &[&format!("203.0.113.9,{many}")]), "10.0.0.7", "more hops than are looked at");
    }

    #[test]
    fn addresses_are_read_in_every_form_that_proxies_write() {
        for (written, read) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("  2001:db8::1  ", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(client(PROXY, &[written]), read, "{written}");
        }
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9", "a socket for both families");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "proxy.example", "10.0.0.1-10.0.0.9", "10.0.0.0/8 "] {
            assert_eq!(TrustedProxies::parse(&[text]).expect_err("refused").code(), "config.invalid", "{text}");
        }
    }
}
