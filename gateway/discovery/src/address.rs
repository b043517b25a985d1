//! The address of a server that tells where others are. Not for the others.

use http::Uri;

/// An http or https address without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    scheme: &'static str,
    authority: String,
}

impl Address {
    /// Reads an address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an address such as http://127.0.0.1:2379");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let scheme = match uri.scheme_str() {
            Some("https") => "https",
            Some("http") => "http",
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        if !bare || authority.host().is_empty() {
            return Err(wrong());
        }
        Ok(Self { scheme, authority: authority.to_string() })
    }

    /// Returns the address of this path and query there.
    pub(crate) fn target(&self, target: &str) -> String {
        format!("{}://{}{target}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_or_refused() {
        let address = Address::parse("https://[::1]/").expect("an address");
        assert_eq!(address.target("/v3/a"), "https://[::1]/v3/a");
        assert_eq!(Address::parse("http://etcd:2379").expect("an address").target("/a?b"), "http://etcd:2379/a?b");
        for refused in ["", "etcd", "etcd:2379", "unix:///a", "http://a/b", "http://u:p@a", "http://"] {
            assert!(Address::parse(refused).is_err(), "{refused}");
        }
    }
}
