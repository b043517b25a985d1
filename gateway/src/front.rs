//! Reads a request's target once, strictly: what is routed, authorised and handed on is the same
//! text. Framing is the work of `strict_http`; this refuses paths that servers read in different ways. Not
//! for routing.

use axum::body::Body;
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, Request, Uri, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use kernel::{Error, Result};
use strict_http::{Config, Paced, Refusal};

use crate::path::Escapes;

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

/// Says what is wrong with a request's target, if anything, or why the request was refused before. Returns the
/// escapes in its path that only some routes take.
pub(crate) fn check_target(uri: &Uri) -> Result<Escapes> {
    if let Some(refusal) = Refusal::of(uri) {
        return Err(refusal.into());
    }
    let path = uri.path();
    let refuse = |why: &str| Err(invalid_path(why));
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
    let dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    if path.as_bytes().split(|byte| *byte == b'/').any(dots) {
        return refuse("must not contain . or .. segments");
    }
    if !path.contains('%') {
        return Ok(Escapes::default());
    }
    let (escapes, decoded) = read_on(path)?;
    // A server that decodes before it divides would be led out of the route.
    if escapes != Escapes::default() && decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(dots) {
        return refuse("must not contain . or .. segments, however they are encoded");
    }
    Ok(escapes)
}

/// Decodes a path as often as there is something to decode, as servers behind servers do; returns what that asks of
/// the route, and what comes out.
fn read_on(path: &str) -> Result<(Escapes, Vec<u8>)> {
    let (mut escapes, mut text, mut first) = (Escapes::default(), path.as_bytes().to_vec(), true);
    loop {
        let (mut decoded, mut changed, mut rest) = (Vec::with_capacity(text.len()), false, &text[..]);
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match (byte, unescaped(after)) {
                (b'%', Some(byte)) => {
                    escapes = escapes.with(judged(byte)?);
                    changed = true;
                    decoded.push(byte);
                    rest = &after[2..];
                }
                (b'%', None) if first => return Err(invalid_path("has a broken percent-encoding")),
                _ => decoded.push(*byte),
            }
        }
        // What was decoded may complete an escape with what stood beside it.
        if !changed || !decoded.contains(&b'%') {
            return Ok((escapes, decoded));
        }
        (text, first) = (decoded, false);
    }
}

/// Refuses escapes that the route does not take.
pub(crate) fn check_escapes(escapes: Escapes, taken: Escapes) -> Result<()> {
    if escapes.is_within(taken) { Ok(()) } else { Err(invalid_path(ENCODED)) }
}

const ENCODED: &str = "encodes a character that must be plain or is not allowed";

fn invalid_path(why: &str) -> Error {
    Error::invalid("request.invalid_path", format!("the path {why}"))
}

/// Returns the byte that two hexadecimal digits stand for.
fn unescaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| (*digits.get(at)? as char).to_digit(16);
    Some((digit(0)? * 16 + digit(1)?) as u8)
}

/// Returns what an escape asks of the route; those that no route takes are refused.
fn judged(decoded: u8) -> Result<Escapes> {
    match decoded {
        b'/' | b'\\' | b'%' => Ok(Escapes::of(decoded).unwrap_or_default()),
        b'.' | ..0x20 | 0x7f => Err(invalid_path(ENCODED)),
        _ => Ok(Escapes::default()),
    }
}

/// Drops the headers that only Portico may set.
pub(crate) fn strip_internal(headers: &mut HeaderMap) {
    remove_all(headers, |name| name.starts_with(INTERNAL_PREFIX));
}

/// Says whether a header concerns one connection only, whether `Connection` names it or not.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Drops the headers that concern one connection only (RFC 9110, section 7.6.1).
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let mut nominated = Vec::new();
    for list in headers.get_all(CONNECTION) {
        let words = list.to_str().unwrap_or_default().split(',').map(str::trim);
        // Options that everybody sends, and which name no header that there is beside those below.
        let names =
            words.filter(|word| !["close", "keep-alive", "upgrade"].iter().any(|it| it.eq_ignore_ascii_case(word)));
        nominated.extend(names.filter_map(|name| HeaderName::try_from(name).ok()));
    }
    for name in nominated {
        headers.remove(name);
    }
    remove_all(headers, is_hop_by_hop);
}

/// Drops the headers with such names. Mostly there is none, and a glance at those that are there costs less than
/// asking for each that might be.
fn remove_all(headers: &mut HeaderMap, wanted: impl Fn(&str) -> bool) {
    while let Some(name) = headers.keys().find(|name| wanted(name.as_str())).cloned() {
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
            let uri = path.parse().expect("a URI");
            let refused = check_target(&uri).and_then(|escapes| check_escapes(escapes, Escapes::default()));
            assert!(refused.is_err(), "{path}");
        }
        for path in ["/", "/a/b-c_d~e", "/a%20b", "/%C3%A6", "/a?b=/../c%2f", "/a.b/c..d"] {
            assert_eq!(check_target(&path.parse().expect("a URI")).expect(path), Escapes::default());
        }
        let token = check_target(&"/a?b=c&access_token=x".parse().expect("a URI")).expect_err("a token in the query");
        assert_eq!(token.code(), "request.token_in_query");
        let long = format!("/{}", "a".repeat(TARGET_LIMIT));
        assert_eq!(check_target(&long.parse().expect("a URI")).expect_err("too long").status(), 414);
    }

    #[test]
    fn some_escapes_are_the_routes_affair_and_none_that_leads_out_of_it() {
        let taken = |path: &str, listed: &[&str]| {
            let listed: Vec<String> = listed.iter().map(|text| (*text).to_owned()).collect();
            let escapes = check_target(&path.parse().expect("a URI"))?;
            check_escapes(escapes, Escapes::compile(&listed).expect("known"))
        };
        let all = ["%25", "%2F", "%5C"];
        for (path, listed) in [
            ("/@scope%2fname", &["%2F"][..]),
            ("/@scope%2Fname/-/name-1.0.tgz", &["%2F"]),
            ("/a%5cb", &["%5C"]),
            ("/100%25", &["%25"]),
            ("/100%25/a%25b", &["%25"]),
            ("/job/feature%252Fone", &["%25", "%2F"]),
            ("/a%2525", &["%25"]),
            ("/v1.0..2%2Fx", &["%2F"]),
            ("/http:%2F%2Fexample.com", &["%2F"]),
        ] {
            taken(path, listed).expect(path);
            assert!(taken(path, &[]).is_err(), "{path}");
            for other in all.iter().filter(|other| !listed.contains(other)) {
                assert!(taken(path, &[other]).is_err(), "{path} where only {other} is taken");
            }
        }
        assert!(taken("/feature%252Fone", &["%25"]).is_err(), "decoded twice it is a slash");
        for path in [
            "/%2e%2e/a",
            "/a/%2E%2e",
            "/a/.%2e",
            "/a%2Fb/%2e%2e",
            "/a%2F..%2Fb",
            "/a%2f..",
            "/..%2Fb",
            "/..%5cb",
            "/a%5C.%5Cb",
            "/a%2F%2e%2e%2Fb",
            "/a%252e%252e/b",
            "/%25252e%25252e/b",
            "/a%252F..%252fb",
            "/a%25252F..",
            "/a%2F..%255Cb",
            "/a%00",
            "/a%2500",
            "/a%2F%0a",
            "/a%25%32%65b",
            "/a%25%32%2565",
            "/a%2",
            "/a%25%",
        ] {
            assert!(taken(path, &all).is_err(), "{path}");
        }
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
