//! Conditional requests (RFC 9110 section 13, RFC 9111 section 4.3): answering a client's, asking the origin.
//! Not for If-Match and If-Unmodified-Since, which only the origin can answer.

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, DATE, ETAG, EXPIRES,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, SET_COOKIE,
    TRANSFER_ENCODING, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::date;
use crate::directives::split_list;
use crate::verdict::Meta;

/// Says whether the client has this answer already.
pub(crate) fn not_modified(request: &HeaderMap, stored: &HeaderMap, meta: &Meta) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let Some(own) = stored.get(ETAG).map(|etag| opaque(etag.as_bytes())) else {
            return request.get_all(IF_NONE_MATCH).iter().any(|value| value.as_bytes() == b"*");
        };
        return request.get_all(IF_NONE_MATCH).iter().any(|line| {
            line.as_bytes() == b"*"
                || line.as_bytes() == own
                || split_list(&String::from_utf8_lossy(line.as_bytes())).any(|tag| opaque(tag.as_bytes()) == own)
                || opaque(line.as_bytes()) == own
        });
    }
    let Some(since) = request.get(IF_MODIFIED_SINCE).and_then(date::parse) else { return false };
    // RFC 9111 section 4.3.2: without Last-Modified the Date takes its place.
    meta.last_modified.unwrap_or(meta.date) <= since
}

/// Returns an entity tag without its mark of weakness: comparison here is weak.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// Says whether the request has a condition that only the origin can answer.
pub(crate) fn is_for_origin(request: &HeaderMap) -> bool {
    request.contains_key(IF_MATCH) || request.contains_key(IF_UNMODIFIED_SINCE)
}

/// Says whether the request is for less than the whole, or only for what is new.
pub(crate) fn is_partial(request: &HeaderMap) -> bool {
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE].iter().any(|name| request.contains_key(name))
}

/// Puts the stored answer's validators in the place of the client's; `false` where it has none.
pub(crate) fn validate(request: &mut HeaderMap, stored: &HeaderMap) -> bool {
    for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE, IF_RANGE] {
        request.remove(name);
    }
    let etag = stored.get(ETAG).map(|etag| (IF_NONE_MATCH, etag.clone()));
    let modified = stored.get(LAST_MODIFIED).map(|date| (IF_MODIFIED_SINCE, date.clone()));
    let validators: Vec<_> = etag.into_iter().chain(modified).collect();
    let some = !validators.is_empty();
    request.extend(validators);
    some
}

/// Returns the fields of a 304 (RFC 9110 section 15.4.5) that is made of a stored answer.
pub(crate) fn head_of_304(stored: &HeaderMap) -> HeaderMap {
    let mut head = HeaderMap::with_capacity(10);
    for name in [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY, LAST_MODIFIED] {
        for value in stored.get_all(&name) {
            head.append(name.clone(), value.clone());
        }
    }
    head
}

/// Brings stored fields up to date with those of a 304 or of an answer to HEAD (RFC 9111 section 3.2). What describes
/// the stored body itself stays.
pub(crate) fn freshen(stored: &HeaderMap, new: &HeaderMap) -> HeaderMap {
    let kept = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, CONNECTION, TRANSFER_ENCODING];
    let keeps = |name: &HeaderName| kept.contains(name) || name == "content-md5";
    let mut headers = stored.clone();
    for name in new.keys().filter(|name| !keeps(name)) {
        headers.remove(name);
        for value in new.get_all(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    // A cookie of the first caller is not given to those that come after the origin has been asked anew.
    if !new.contains_key(SET_COOKIE) {
        headers.remove(SET_COOKIE);
    }
    // A 304 often says less than the 200 did: a server that compresses adds `Accept-Encoding` where there is a body only.
    // By what selected the stored body it is selected from now on too.
    if new.contains_key(VARY) {
        let said: Vec<&str> = members(new, &VARY).collect();
        for member in
            members(stored, &VARY).filter(|member| !said.iter().any(|known| known.eq_ignore_ascii_case(member)))
        {
            headers.extend(HeaderValue::from_str(member).map(|member| (VARY, member)));
        }
    }
    headers
}

fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).flat_map(split_list)
}

/// Says whether an answer to HEAD is about the same representation as the stored one.
pub(crate) fn is_same(stored: &HeaderMap, new: &HeaderMap) -> bool {
    [ETAG, LAST_MODIFIED, CONTENT_LENGTH]
        .iter()
        .all(|name| new.get(name).is_none_or(|value| stored.get(name) == Some(value)))
}

/// Returns the strong entity tag, by which parts of one representation know each other.
pub(crate) fn strong(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(ETAG).map(|etag| etag.as_bytes()).filter(|etag| etag.starts_with(b"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn meta(date: i64, last_modified: Option<i64>) -> Meta {
        Meta {
            received: 0,
            initial_age: 0,
            lifetime: 0,
            while_revalidate: 0,
            if_error: 0,
            no_cache: false,
            strict: false,
            explicit: true,
            immutable: false,
            date,
            last_modified,
        }
    }

    #[test]
    fn entity_tags_compare_weakly() {
        let has = |stored: &'static str, asked: &'static str| {
            not_modified(&headers(&[("if-none-match", asked)]), &headers(&[("etag", stored)]), &meta(0, None))
        };
        for asked in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "\"a\",\"x\"", "*"] {
            assert!(has("\"a\"", asked) && has("W/\"a\"", asked), "{asked}");
        }
        assert!(has("\"a,b\"", "\"x\", \"a,b\""));
        for asked in ["\"b\"", "\"A\"", "a", ""] {
            assert!(!has("\"a\"", asked), "{asked}");
        }
    }

    #[test]
    fn a_tag_comes_before_a_date() {
        let request = headers(&[("if-none-match", "\"b\""), ("if-modified-since", "Sun, 06 Nov 2094 08:49:37 GMT")]);
        assert!(!not_modified(&request, &headers(&[("etag", "\"a\"")]), &meta(0, Some(0))));
    }

    #[test]
    fn dates_compare_with_last_modified_or_date() {
        let request = headers(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        let at = 784_111_777;
        for (date, modified, same) in [
            (at + 9, Some(at), true),
            (at + 9, Some(at - 1), true),
            (at, Some(at + 1), false),
            (at, None, true),
            (at + 1, None, false),
        ] {
            assert_eq!(not_modified(&request, &HeaderMap::new(), &meta(date, modified)), same, "{date} {modified:?}");
        }
    }

    #[test]
    fn a_304_that_names_fewer_headers_does_not_widen_who_gets_the_stored_body() {
        let stored = headers(&[("vary", "Origin, Accept-Encoding"), ("content-encoding", "gzip")]);
        let vary = |new: &[(&'static str, &'static str)]| {
            let fresh = freshen(&stored, &headers(new));
            members(&fresh, &VARY).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(vary(&[("vary", "origin")]), ["origin", "Accept-Encoding"]);
        assert_eq!(vary(&[("vary", "Cookie")]), ["Cookie", "Origin", "Accept-Encoding"]);
        assert_eq!(vary(&[("vary", "*")]), ["*", "Origin", "Accept-Encoding"]);
        assert_eq!(vary(&[]), ["Origin", "Accept-Encoding"]);
    }

    #[test]
    fn what_describes_the_body_is_not_freshened() {
        let stored =
            headers(&[("etag", "\"a\""), ("content-length", "5"), ("x", "1"), ("y", "1"), ("set-cookie", "a=b")]);
        let new = headers(&[("etag", "\"b\""), ("content-length", "9"), ("x", "2"), ("content-encoding", "gzip")]);
        let fresh = freshen(&stored, &new);
        assert_eq!(fresh, headers(&[("etag", "\"a\""), ("content-length", "5"), ("x", "2"), ("y", "1")]));
    }

    #[test]
    fn our_validators_take_the_place_of_the_client_s() {
        let mut request = headers(&[("if-none-match", "\"client\""), ("range", "bytes=0-1"), ("accept", "a")]);
        assert!(validate(&mut request, &headers(&[("etag", "\"a\"")])));
        assert_eq!(request, headers(&[("if-none-match", "\"a\""), ("accept", "a")]));
        assert!(!validate(&mut request, &HeaderMap::new()));
    }
}
