//! The address of a server that tells where others are. Not for the others.

use http::Uri;

/// An http or https address without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    pub authority: String,
}

impl Address {
    /// Reads an address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an address such as http://127.0.0.1:2379");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if !bare || host.is_empty() {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host: host.to_owned(), port, authority: authority.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_or_refused() {
        let address = Address::parse("https://[::1]/").expect("an address");
        assert_eq!((address.tls, address.host.as_str(), address.port), (true, "::1", 443));
        assert_eq!(Address::parse("http://etcd:2379").expect("an address").authority, "etcd:2379");
        for refused in ["", "etcd", "etcd:2379", "unix:///a", "http://a/b", "http://u:p@a", "http://"] {
            assert!(Address::parse(refused).is_err(), "{refused}");
        }
    }
}
