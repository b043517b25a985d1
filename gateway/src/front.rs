//! Reads a request's target once, strictly: what is routed, authorised and handed on is the same
//! text. Framing is the work of `strict_http`; this refuses paths that servers read in different ways. Not
//! for routing.

use axum::body::Body;
use http::header::{CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Request, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use kernel::{Error, Result};
use strict_http::{Config, Paced, Refusal};

/// The longest path and query that are taken.
const TARGET_LIMIT: usize = 8 * 1024;

/// Headers that only Portico itself may set; a client's are dropped.
const INTERNAL_PREFIX: &str = "x-portico-";

/// Takes a request from hyper: with a path as its target and one Host, or as the stand-in of a refused one.
pub(crate) fn take_in(request: Request<Incoming>, limits: &Config) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    let http2 = parts.version == Version::HTTP_2;
    let settled = if http2 {
        strict_http::check_http2(&parts, limits).and_then(|()| strict_http::settle_target(&mut parts))
    } else if Refusal::of(&parts.uri).is_some() {
        Ok(())
    } else {
        strict_http::settle_target(&mut parts)
    };
    if let Err(refusal) = settled {
        parts.uri = refusal.target();
    }
    // Over HTTP/1.1 the socket's guard holds bodies to their pace.
    let body = if http2 && !body.is_end_stream() { Body::new(Paced::new(body, limits)) } else { Body::new(body) };
    Request::from_parts(parts, body)
}

/// Says what is wrong with a request's target, if anything, or why the request was refused before.
pub(crate) fn check_target(uri: &Uri) -> Result<()> {
    if let Some(refusal) = Refusal::of(uri) {
        return Err(refusal.into());
    }
    let path = uri.path();
    let refuse = |why: &str| Err(Error::invalid("request.invalid_path", format!("the path {why}")));
    if path.len() + uri.query().map_or(0, str::len) > TARGET_LIMIT {
        return Err(Error::invalid("request.target_too_long", "the path and query are too long").status_code(414));
    }
    // Queries end up in histories and logs; a token that came in one is not used (RFC 9700, section 4.3.2).
    if uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("access_token="))) {
        let message = "send the access token in the Authorization header, never in the address";
        return Err(Error::invalid("request.token_in_query", message));
    }
    if !path.starts_with('/') {
        return refuse("must start with /");
    }
    if path.contains("//") {
        return refuse("has an empty segment");
    }
    if path.bytes().any(|byte| byte == b'\\' || byte < 0x21 || byte == 0x7f) {
        return refuse("has a character that is not allowed");
    }
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let hex = [bytes.next(), bytes.next()].map(|digit| digit.and_then(|digit| (digit as char).to_digit(16)));
            let [Some(high), Some(low)] = hex else { return refuse("has a broken percent-encoding") };
            let decoded = (high * 16 + low) as u8;
            if matches!(decoded, b'/' | b'\\' | b'%' | b'.') || decoded < 0x20 || decoded == 0x7f {
                return refuse("encodes a character that must be plain or is not allowed");
            }
        }
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return refuse("must not contain . or .. segments");
    }
    Ok(())
}

/// Drops the headers that only Portico may set.
pub(crate) fn strip_internal(headers: &mut HeaderMap) {
    let internal: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(INTERNAL_PREFIX)).cloned().collect();
    for name in internal {
        headers.remove(name);
    }
}

/// The headers that concern one connection only, beside those that `Connection` names.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Drops the headers that concern one connection only (RFC 9110, section 7.6.1).
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let lists = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let names = lists.flat_map(|value| value.split(',')).filter_map(|name| HeaderName::try_from(name.trim()).ok());
        let nominated: Vec<HeaderName> = names.filter(|name| !HOP_BY_HOP.contains(name)).collect();
        for name in nominated {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_servers_read_differently_are_refused() {
        for path in [
            "/a//b",
            "/a/../b",
            "/a/./b",
            "/a%2fb",
            "/a%2Fb",
            "/a%00b",
            "/a%5cb",
            "/a%2e%2e/b",
            "/a%",
            "/a%4",
            "/a%zz",
            "/a%25b",
        ] {
            assert!(check_target(&path.parse().expect("a URI")).is_err(), "{path}");
        }
        for path in ["/", "/a/b-c_d~e", "/a%20b", "/%C3%A6", "/a?b=/../c%2f", "/a.b/c..d"] {
            assert!(check_target(&path.parse().expect("a URI")).is_ok(), "{path}");
        }
        let token = check_target(&"/a?b=c&access_token=x".parse().expect("a URI")).expect_err("a token in the query");
        assert_eq!(token.code(), "request.token_in_query");
        let long = format!("/{}", "a".repeat(TARGET_LIMIT));
        assert_eq!(check_target(&long.parse().expect("a URI")).expect_err("too long").status(), 414);
    }

    #[test]
    fn a_client_cannot_send_internal_headers_or_have_others_dropped() {
        let mut headers = HeaderMap::new();
        headers.insert("x-portico-context", "forged".parse().expect("a value"));
        headers.insert("connection", "close, x-secret".parse().expect("a value"));
        headers.insert("x-secret", "1".parse().expect("a value"));
        headers.insert("accept", "*/*".parse().expect("a value"));
        strip_internal(&mut headers);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
