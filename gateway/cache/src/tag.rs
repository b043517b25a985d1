//! What entries are invalidated by: tags of the route and of the origin, and tags of our own for a URI, an
//! authorisation class and a whole tenant. The first byte keeps the kinds apart. Not for who may invalidate.

use http::HeaderMap;

use crate::directives::split_list;
use crate::key::{Class, resource};
use crate::policy::Policy;

/// A tag within the space of its tenant.
pub(crate) type Tag = Box<[u8]>;

/// How many tags one answer may carry, and how long each may be.
const MOST: usize = 128;
const LONGEST: usize = 256;

/// Returns the tag of this name.
pub(crate) fn named(name: &str) -> Tag {
    prefixed(b't', name.as_bytes())
}

/// Returns the tag of everything under the URI of this key, whatever the class of who asked.
pub(crate) fn uri(key: &[u8]) -> Tag {
    prefixed(b'u', resource(key))
}

/// Returns the tag of everything that was fetched for callers of this class.
pub(crate) fn class(class: &Class) -> Tag {
    prefixed(b'c', class.bytes())
}

/// Returns the tag of everything of the tenant.
pub(crate) fn all() -> Tag {
    Box::from(*b"a")
}

/// Returns the tags that an answer carries.
pub(crate) fn carried(policy: &Policy, headers: &HeaderMap) -> Vec<Tag> {
    let lines = headers.get_all(&policy.tag_header).iter().filter_map(|line| line.to_str().ok());
    let members = lines.flat_map(|line| split_list(line).flat_map(str::split_ascii_whitespace));
    members.filter(|tag| tag.len() <= LONGEST).take(MOST).map(named).collect()
}

fn prefixed(kind: u8, rest: &[u8]) -> Tag {
    let mut tag = Vec::with_capacity(rest.len() + 1);
    tag.push(kind);
    tag.extend_from_slice(rest);
    tag.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::policy::PolicyConfig;

    #[test]
    fn the_origin_s_tags_are_divided_by_commas_and_spaces() {
        let policy = Policy::compile(&PolicyConfig::default()).unwrap();
        let mut headers = HeaderMap::new();
        headers.append("cache-tag", HeaderValue::from_static("a, b c"));
        headers.append("cache-tag", HeaderValue::from_static("d"));
        assert_eq!(carried(&policy, &headers), ["a", "b", "c", "d"].map(named));
        headers.insert("cache-tag", HeaderValue::try_from("x ".repeat(1_000)).unwrap());
        assert_eq!(carried(&policy, &headers).len(), MOST);
    }

    #[test]
    fn a_named_tag_is_never_one_of_ours() {
        assert_ne!(named("a"), all());
        assert_ne!(named(""), all());
    }
}
