//! What of a request may reach the origin on a route whose answers are kept: a header that is not part of the key
//! could change the answer that others get. Not for hop-by-hop headers; the door has taken those off.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST,
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE, TE, USER_AGENT, VIA,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::directives::SURROGATE;
use crate::policy::Policy;

/// Headers that a cache handles itself, or whose part in the answer an origin is bound to declare in Vary.
pub(crate) fn usual() -> impl Iterator<Item = HeaderName> {
    let standard = [
        ACCEPT,
        ACCEPT_ENCODING,
        ACCEPT_LANGUAGE,
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        HOST,
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_RANGE,
        IF_UNMODIFIED_SINCE,
        PRAGMA,
        RANGE,
        TE,
        USER_AGENT,
        VIA,
    ];
    // What names a request in logs and traces changes no answer.
    let tracing = ["traceparent", "tracestate", "x-request-id", "x-correlation-id"];
    standard.into_iter().chain(tracing.into_iter().map(HeaderName::from_static))
}

/// Takes every header off that is neither part of the key nor on an allow list, such as X-Forwarded-Host or
/// X-Original-URL. Headers that the gateway itself sets are added after this.
pub fn strip_unkeyed(headers: &mut HeaderMap, policy: &Policy) {
    let Some(forward) = &policy.forward else { return };
    let unkeyed: Vec<HeaderName> = headers.keys().filter(|name| !forward.contains(*name)).cloned().collect();
    for name in unkeyed {
        headers.remove(name);
    }
}

/// Takes the query parameters off that are not part of the key.
pub(crate) fn strip_query(uri: &mut Uri, policy: &Policy) {
    let Some(query) = uri.query().filter(|query| policy.shortens(query)) else { return };
    let kept: Vec<&str> = policy.kept_query(query).collect();
    let text = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), kept.join("&")) };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(text).ok();
    if let Ok(shorter) = Uri::from_parts(parts) {
        *uri = shorter;
    }
}

/// Says to the origin that Surrogate-Control is understood.
pub(crate) fn announce(headers: &mut HeaderMap, policy: &Policy) {
    if policy.surrogate {
        let token = HeaderValue::try_from(format!("{SURROGATE}=\"Surrogate/1.0\"")).expect("a constant of ASCII");
        headers.insert("surrogate-capability", token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyConfig;

    #[test]
    fn what_could_poison_is_taken_off() {
        let config = PolicyConfig { key_headers: vec!["x-region".into()], ..PolicyConfig::default() };
        let policy = Policy::compile(&config).unwrap();
        let mut headers = HeaderMap::new();
        for name in [
            "x-forwarded-host",
            "x-original-url",
            "x-rewrite-url",
            "forwarded",
            "x-http-method-override",
            "cookie",
            "x-region",
            "accept",
            "traceparent",
        ] {
            headers.insert(name, HeaderValue::from_static("v"));
        }
        strip_unkeyed(&mut headers, &policy);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "traceparent", "x-region"]);
    }

    #[test]
    fn a_parameter_that_is_not_keyed_is_not_sent() {
        let config = PolicyConfig { ignore_query: vec!["utm_*".into()], ..PolicyConfig::default() };
        let policy = Policy::compile(&config).unwrap();
        for (given, sent) in [("/a?x=1&utm_a=b", "/a?x=1"), ("/a?utm_a=b", "/a"), ("/a?x", "/a?x")] {
            let mut uri: Uri = given.parse().unwrap();
            strip_query(&mut uri, &policy);
            assert_eq!(uri, sent);
        }
    }
}
