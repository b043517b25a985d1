//! References into a document: percent-encoding (RFC 3986) and JSON pointers (RFC 6901). Not for
//! references to other documents, which nobody fetches.

use serde_json::Value;

/// Where a reference leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A pointer into the same document.
    Pointer(String),
    /// An anchor in the same document.
    Anchor(String),
    /// Somewhere else.
    Elsewhere,
}

/// Reads a reference; `url` is where the document itself was read.
pub(crate) fn read(reference: &str, url: Option<&str>) -> Target {
    let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
    if !document.is_empty() && !is_same(document, url) {
        return Target::Elsewhere;
    }
    let fragment = percent_decoded(fragment);
    if fragment.is_empty() || fragment.starts_with('/') { Target::Pointer(fragment) } else { Target::Anchor(fragment) }
}

/// Says whether a reference's document is the one that was read at `url`.
fn is_same(document: &str, url: Option<&str>) -> bool {
    let Some(url) = url else { return false };
    let file = url.rsplit('/').next().unwrap_or(url);
    document == url || document == file || document.strip_prefix("./") == Some(file)
}

/// Undoes percent-encoding; what is not UTF-8 afterwards is taken as it stands.
pub(crate) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match hex.filter(|_| bytes[at] == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

/// Returns a name as one part of a pointer.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Returns one part of a pointer as a name.
pub(crate) fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// Returns the parts of a pointer.
pub(crate) fn parts(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(unescaped).collect()
}

/// Returns what a pointer leads to; references on the way are not followed.
pub(crate) fn find<'a>(document: &'a Value, pointer: &str) -> Option<&'a Value> {
    document.pointer(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_decoded_once_each_way() {
        let read = |text| read(text, Some("http://origin/api/openapi.json"));
        assert_eq!(read("#/a/b%20c"), Target::Pointer("/a/b c".into()));
        assert_eq!(read("#/paths/~1a~1%7Bid%7D"), Target::Pointer("/paths/~1a~1{id}".into()));
        assert_eq!(read("#Caf%C3%A9"), Target::Anchor("Café".into()));
        assert_eq!(read("openapi.json#/a"), Target::Pointer("/a".into()));
        assert_eq!(read("./openapi.json#/a"), Target::Pointer("/a".into()));
        assert_eq!(read("http://origin/api/openapi.json#/a"), Target::Pointer("/a".into()));
        assert_eq!(read("other.json#/a"), Target::Elsewhere);
        assert_eq!(read("#"), Target::Pointer(String::new()));
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%ff"), "%zz%ff");
        assert_eq!(parts("/a~1b/~01"), ["a/b", "~1"]);
        assert_eq!(escaped("a/~b"), "a~1~0b");
    }
}
