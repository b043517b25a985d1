//! Where a question goes, read from its absolute address. Not for what is asked there.

use http::Uri;

/// Host, port and whether it speaks TLS.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: &'a str,
    pub port: u16,
    /// As it stands in the Host field.
    pub authority: &'a str,
}

impl<'a> Address<'a> {
    pub(crate) fn of(uri: &'a Uri) -> Result<Self, String> {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("`{uri}` is no http:// or https:// address")),
        };
        let authority = uri.authority().ok_or_else(|| format!("`{uri}` names no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || authority.as_str().contains('@') {
            // Who stands before the @ may be a secret.
            return Err("an address must have a host and no user".into());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port, authority: authority.as_str() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_or_refused() {
        let read = |text: &str| {
            let uri: Uri = text.parse().expect("a URI");
            Address::of(&uri).map(|to| (to.tls, to.host.to_owned(), to.port, to.authority.to_owned()))
        };
        let expect = |tls, host: &str, port, authority: &str| Ok((tls, host.to_owned(), port, authority.to_owned()));
        assert_eq!(read("https://[::1]/a?b"), expect(true, "::1", 443, "[::1]"));
        assert_eq!(read("http://etcd:2379"), expect(false, "etcd", 2379, "etcd:2379"));
        assert_eq!(read("http://etcd"), expect(false, "etcd", 80, "etcd"));
        for refused in ["/keys", "etcd:2379", "ftp://a/", "http://user:secret@a/"] {
            let why = read(refused).expect_err(refused);
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
