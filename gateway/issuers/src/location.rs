//! Where keys may be fetched from: an address that was looked at before anything is sent there. Not for
//! fetching.

use http::Uri;
use http::uri::Scheme;

/// An http or https address that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    uri: Uri,
    tls: bool,
    port: u16,
}

impl Location {
    /// Reads an address, or says why it may not be asked.
    pub(crate) fn parse(text: &str, plain_http: bool) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| format!("`{text}` is not an address"))?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(format!("`{text}` must begin with https:// (or http://)")),
        };
        let Some(authority) = uri.authority() else { return Err(format!("`{text}` names no host")) };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(format!("`{text}` must have a host and no user"));
        }
        let local = matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]");
        if !tls && !plain_http && !local {
            return Err(format!("`{text}` is plain http; use https, or say `plain_http = true`"));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { uri, tls, port })
    }

    /// Follows a redirect, which may not leave the host, the port or TLS.
    pub(crate) fn redirected(&self, to: &str) -> Result<Self, String> {
        let absolute = if to.starts_with('/') && !to.starts_with("//") {
            let scheme = if self.tls { "https" } else { "http" };
            format!("{scheme}://{}{to}", self.uri.authority().map_or("", http::uri::Authority::as_str))
        } else {
            to.to_owned()
        };
        let next = Self::parse(&absolute, !self.tls)?;
        let stays = next.tls == self.tls && next.port == self.port && next.host().eq_ignore_ascii_case(self.host());
        if stays { Ok(next) } else { Err(format!("it redirects to another host, `{to}`")) }
    }

    pub(crate) fn tls(&self) -> bool {
        self.tls
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read() {
        let location = Location::parse("https://login.example/keys?v=1", false).expect("an address");
        assert!(location.tls());
        assert_eq!((location.host(), location.port), ("login.example", 443));
        assert_eq!(location.uri(), "https://login.example/keys?v=1");
        let location = Location::parse("http://[::1]:8080", false).expect("an address");
        assert_eq!((location.host(), location.port, location.uri().path()), ("[::1]", 8080, "/"));
        for refused in ["", "/keys", "keys.example", "file:///keys", "https://", "http://a.example", "https://u@h/"] {
            assert!(Location::parse(refused, false).is_err(), "{refused}");
        }
        assert!(Location::parse("http://a.example", true).is_ok());
    }

    #[test]
    fn a_redirect_stays_where_it_is() {
        let from = Location::parse("https://login.example/keys", false).expect("an address");
        assert_eq!(from.redirected("/v2/keys").expect("a path").uri(), "https://login.example/v2/keys");
        assert_eq!(from.redirected("https://LOGIN.example/k").expect("the same host").uri().path(), "/k");
        for refused in [
            "//evil.example/keys",
            "https://evil.example/keys",
            "http://login.example/keys",
            "https://login.example:444/keys",
            "https://login.example@evil.example/",
            "keys",
        ] {
            assert!(from.redirected(refused).is_err(), "{refused}");
        }
    }
}
