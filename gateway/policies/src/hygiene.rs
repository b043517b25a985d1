//! Which headers mean something only when the gateway set them. A client's are dropped, its spellings with
//! underscores too (CGI-style servers read `X_Tenant` as `X-Tenant`), then what concerns one connection
//! only, with whatever `Connection` nominates, and only then are the gateway's own set: no order in which
//! a client could have them removed (CVE-2026-105299). Not for who the caller is.

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};
use kernel::Result;
use serde::{Deserialize, Serialize};

use crate::template::{Template, Values};
use crate::wrong;

/// Longer names are no internal ones: nothing is allocated for them.
const NAME_LIMIT: usize = 128;

/// The headers that the gateway sets for services.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct HygieneConfig {
    /// Names that clients may not send.
    pub strip: Vec<String>,
    /// Beginnings of names that clients may not send.
    pub strip_prefixes: Vec<String>,
    /// Headers that services get, from placeholders such as `{tenant}`; clients may not send these either.
    pub identity: std::collections::BTreeMap<String, String>,
}

impl Default for HygieneConfig {
    fn default() -> Self {
        let strip = ["x-tenant", "x-tenant-id", "x-user", "x-user-id", "x-role", "x-roles", "x-permissions"];
        Self {
            strip: strip.map(str::to_owned).into(),
            strip_prefixes: vec!["x-portico-".to_owned()],
            identity: std::collections::BTreeMap::new(),
        }
    }
}

/// Compiled names and identity headers.
#[derive(Debug)]
pub struct Hygiene {
    /// Sorted, in lower case, with dashes.
    names: Box<[Box<str>]>,
    prefixes: Box<[Box<str>]>,
    identity: Box<[(HeaderName, Template)]>,
}

impl HygieneConfig {
    /// Says what is wrong with the names, if anything.
    pub fn check(&self) -> Result<()> {
        Hygiene::compile(self).map(drop)
    }
}

impl Hygiene {
    /// Compiles names and identity headers.
    pub fn compile(config: &HygieneConfig) -> Result<Self> {
        let name = |text: &String| {
            HeaderName::try_from(text.as_str())
                .ok()
                .filter(|name| name.as_str().len() <= NAME_LIMIT)
                .ok_or_else(|| wrong(format!("internal headers: {text} is no header's name")))
        };
        let mut identity = Vec::new();
        for (header, template) in &config.identity {
            identity.push((name(header)?, Template::compile(template)?));
        }
        let listed = config.strip.iter().chain(config.identity.keys());
        let mut names: Vec<Box<str>> =
            listed.map(|text| Ok(dashed(name(text)?.as_str()).into())).collect::<Result<_>>()?;
        names.sort();
        names.dedup();
        let prefixes = config.strip_prefixes.iter().map(|text| Ok(dashed(name(text)?.as_str()).into()));
        Ok(Self { names: names.into(), prefixes: prefixes.collect::<Result<_>>()?, identity: identity.into() })
    }

    /// Drops the headers that only the gateway may set.
    pub fn strip(&self, headers: &mut HeaderMap) {
        while let Some(name) = headers.keys().find(|name| self.is_internal(name.as_str())).cloned() {
            headers.remove(name);
        }
    }

    /// Makes a request's headers fit to be sent on: internal ones dropped, then those of the connection, then
    /// the gateway's own set. The only way to set them, so that the order cannot be wrong.
    pub fn seal(&self, headers: &mut HeaderMap, values: &Values<'_>) {
        // Rendered first, for a template may show a header that is dropped here.
        let identity: Vec<_> =
            self.identity.iter().filter_map(|(name, template)| Some((name, template.header(values)?))).collect();
        self.strip(headers);
        strip_hop_by_hop(headers);
        for (name, value) in identity {
            headers.insert(name, value);
        }
    }

    fn is_internal(&self, name: &str) -> bool {
        if !name.contains('_') {
            return self.has(name);
        }
        name.len() <= NAME_LIMIT && self.has(&dashed(name))
            || self.prefixes.iter().any(|prefix| name.len() > NAME_LIMIT && dashed(name).starts_with(&**prefix))
    }

    fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| (**known).cmp(name)).is_ok()
            || self.prefixes.iter().any(|prefix| name.starts_with(&**prefix))
    }
}

fn dashed(name: &str) -> String {
    name.replace('_', "-")
}

/// Drops the headers that concern one connection only (RFC 9110, section 7.6.1).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let nominated: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .collect();
        for name in nominated {
            headers.remove(name);
        }
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use kernel::Timestamp;

    use super::*;

    fn hygiene() -> Hygiene {
        let identity = [("X-Tenant-Name".to_owned(), "{subject}".to_owned())].into();
        Hygiene::compile(&HygieneConfig { identity, ..HygieneConfig::default() }).expect("compiles")
    }

    fn sealed(sent: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, value.parse().expect("a value"));
        }
        let empty = HeaderMap::new();
        let values = Values { subject: Some("acme"), ..Values::empty(&empty, Timestamp(0)) };
        hygiene().seal(&mut headers, &values);
        let own = |value: &http::HeaderValue| value.to_str().expect("ASCII").to_owned();
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), own(value))).collect()
    }

    #[test]
    fn a_client_can_neither_send_nor_remove_what_the_gateway_sets() {
        let acme = [("x-tenant-name".to_owned(), "acme".to_owned())];
        for name in ["x-tenant-name", "X-Tenant_Name", "x_tenant_name", "x-user-id", "X_USER_ID", "x-portico-context"] {
            assert_eq!(sealed(&[(name, "forged"), (name, "twice")]), acme, "{name}");
        }
        for nominated in ["x-tenant-name", "close, X-Tenant-Name", "X_Tenant_Name , x-tenant-name,,\u{7f}"] {
            let nominated = nominated.replace('\u{7f}', "");
            assert_eq!(sealed(&[("connection", &nominated)]), acme, "{nominated}");
        }
        assert_eq!(sealed(&[("connection", "close"), ("connection", "x-tenant-name")]), acme);
        let long = format!("x_portico_{}", "a".repeat(300));
        assert_eq!(sealed(&[(&long, "forged")]), acme);
        let mut kept = sealed(&[("accept", "*/*"), ("x_other", "1"), ("x-tenant-names", "2")]);
        kept.sort();
        let expected = [("accept", "*/*"), ("x-tenant-name", "acme"), ("x-tenant-names", "2"), ("x_other", "1")];
        assert_eq!(kept, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_concerns_one_connection_goes_no_further() {
        let sent: Vec<(&str, &str)> = HOP_BY_HOP.iter().map(|name| (*name, "x")).collect();
        assert_eq!(sealed(&sent).len(), 1);
        assert_eq!(sealed(&[("connection", "a, b"), ("a", "1"), ("b", "2"), ("c", "3")]).len(), 2);
    }

    #[test]
    fn an_identity_that_is_not_known_leaves_no_header_of_the_client() {
        let mut headers = HeaderMap::new();
        headers.insert("x-tenant-name", "forged".parse().expect("a value"));
        let empty = HeaderMap::new();
        hygiene().seal(&mut headers, &Values::empty(&empty, Timestamp(0)));
        assert!(headers.is_empty());
    }

    #[test]
    fn names_are_checked() {
        for strip in ["", "a b", "ä"] {
            let config = HygieneConfig { strip: vec![strip.to_owned()], ..HygieneConfig::default() };
            assert_eq!(config.check().expect_err("refused").code(), "config.invalid", "{strip}");
        }
    }
}
