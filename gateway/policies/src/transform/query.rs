//! Changes of the query: parameters removed and set. What is not named stays as it was sent, byte for byte.
//! Not for the path.

use std::collections::BTreeMap;

use http::Uri;
use http::uri::PathAndQuery;
use kernel::Result;
use serde::{Deserialize, Serialize};

use crate::template::{Template, Values, decode, encode};
use crate::wrong;

/// Changes of the query.
#[derive(Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct QueryChanges {
    /// Parameters to remove, as they read when decoded.
    pub remove: Vec<String>,
    /// Values that take the place of what is there; one that comes out empty removes the parameter.
    pub set: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct CompiledQuery {
    remove: Box<[Box<[u8]>]>,
    set: Box<[(Box<[u8]>, Template)]>,
}

impl CompiledQuery {
    pub(super) fn compile(changes: &QueryChanges) -> Result<Self> {
        let set = changes.set.iter().map(|(name, value)| Ok((name.as_bytes().into(), Template::compile(value)?)));
        let names = changes.remove.iter().chain(changes.set.keys());
        if names.clone().any(String::is_empty) {
            return Err(wrong("a query parameter must have a name"));
        }
        Ok(Self { remove: names.map(|name| name.as_bytes().into()).collect(), set: set.collect::<Result<_>>()? })
    }

    pub(super) fn prepare(&self, values: &Values<'_>) -> Vec<Option<String>> {
        let pair = |(name, template): &(Box<[u8]>, Template)| {
            let value = template.render(values)?;
            let mut pair = String::new();
            encode(name, &mut pair);
            pair.push('=');
            encode(&value, &mut pair);
            Some(pair)
        };
        self.set.iter().map(pair).collect()
    }

    pub(super) fn apply(&self, prepared: &[Option<String>], uri: &mut Uri) -> Result<()> {
        if self.remove.is_empty() {
            return Ok(());
        }
        let removed = |pair: &str| {
            let name = decode(pair.split('=').next().unwrap_or_default());
            self.remove.iter().any(|known| **known == *name)
        };
        let kept = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !removed(pair));
        let pairs: Vec<&str> = kept.chain(prepared.iter().flatten().map(String::as_str)).collect();
        let path = uri.path();
        let target = if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) };
        let invalid = || kernel::Error::invalid("request.invalid_path", "the query cannot be read");
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| invalid())?);
        *uri = Uri::from_parts(parts).map_err(|_| invalid())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use kernel::Timestamp;

    use super::*;

    fn changed(remove: &[&str], set: &[(&str, &str)], uri: &str) -> String {
        let own = |text: &&str| (*text).to_owned();
        let changes = QueryChanges {
            remove: remove.iter().map(own).collect(),
            set: set.iter().map(|(name, value)| (own(name), own(value))).collect(),
        };
        let compiled = CompiledQuery::compile(&changes).expect("compiles");
        let headers = HeaderMap::new();
        let values = Values { role: Some("a&b=c d"), ..Values::empty(&headers, Timestamp(0)) };
        let mut uri: Uri = uri.parse().expect("a URI");
        compiled.apply(&compiled.prepare(&values), &mut uri).expect("applies");
        uri.to_string()
    }

    #[test]
    fn parameters_are_removed_however_they_are_written_and_the_rest_stays() {
        for (uri, expected) in [
            ("/a?x=1&debug=1&y=%2f", "/a?x=1&y=%2f"),
            ("/a?%64ebug=1&debu%67&debug", "/a"),
            ("/a", "/a"),
            ("/a?", "/a"),
            ("/a?debugger=1&&b", "/a?debugger=1&b"),
            ("http://h.example/a?debug=2", "http://h.example/a"),
        ] {
            assert_eq!(changed(&["debug"], &[], uri), expected, "{uri}");
        }
    }

    #[test]
    fn values_are_set_encoded_and_once() {
        assert_eq!(changed(&[], &[("r", "{role}")], "/a?r=1&b=2&r=3"), "/a?b=2&r=a%26b%3Dc%20d");
        assert_eq!(changed(&[], &[("r", "{user}")], "/a?r=1&b=2"), "/a?b=2");
        assert_eq!(changed(&[], &[("ä b", "1")], "/a?%C3%A4+b=2"), "/a?%C3%A4%20b=1");
    }
}
