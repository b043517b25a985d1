//! Makes a request fit to be sent: what leaves is one valid message, whatever was given. Framing is what
//! the body says, Host what the upstream says (RFC 9110, sections 7.2, 7.6.1 and 8.6; RFC 9112, section 6).
//! Not for the headers a route adds or drops.

use std::time::{Duration, Instant};

use axum::body::Body;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body::{Body as _, SizeHint};

use crate::call::{Attempt, Observed, Observer};
use crate::config::HostHeader;
use crate::failure::{Failure, FailureKind};
use crate::member::Member;
use crate::outgoing::Outgoing;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Checks a request and drops what must not be passed on.
pub(crate) fn check(request: &mut Request<Body>, upgrade: bool) -> Result<(), Failure> {
    let unsendable = |why: &'static str| Failure::caused(FailureKind::Unsendable, why);
    if request.method() == Method::CONNECT {
        return Err(unsendable("CONNECT is not proxied"));
    }
    let path = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    let is_target = path.starts_with('/') || (path == "*" && request.method() == Method::OPTIONS);
    if !is_target {
        return Err(unsendable("the target is not a path"));
    }
    // A target that starts with `//` could be read as an authority; a path keeps it one.
    if request.uri().authority().is_some() {
        *request.uri_mut() = origin_form(request.uri())?;
    }
    request.extensions_mut().clear();
    let empty = request.body().is_end_stream();
    strip(request.headers_mut(), upgrade, empty);
    if !empty {
        let size = request.body().size_hint();
        set_length(request.headers_mut(), &size);
    }
    Ok(())
}

/// Drops what concerns one connection, and the length of a body that is not there. Looking at every name
/// once is cheaper than looking up each that may be there.
fn strip(headers: &mut HeaderMap, upgrade: bool, empty: bool) {
    let (mut hop, mut rare, mut te, mut length) = (false, false, false, false);
    for name in headers.keys() {
        match name.as_str() {
            "connection" | "upgrade" => hop = !upgrade,
            "transfer-encoding" | "keep-alive" | "proxy-connection" | "expect" => rare = true,
            "te" => te = true,
            // The connection adds `0` for the methods that want it.
            "content-length" => length = empty,
            _ => {}
        }
    }
    if hop {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
    if rare {
        // The client was told to go on when its body was first read, so nothing waits for the server's word.
        for name in [&TRANSFER_ENCODING, &KEEP_ALIVE, &PROXY_CONNECTION, &EXPECT] {
            headers.remove(name);
        }
    }
    if te && headers.get(TE).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"trailers")) {
        headers.remove(TE);
    }
    if length {
        headers.remove(CONTENT_LENGTH);
    }
}

/// Leaves one Content-Length that is true, or none.
fn set_length(headers: &mut HeaderMap, size: &SizeHint) {
    let mut stated = headers.get_all(CONTENT_LENGTH).iter();
    let stated = match (stated.next(), stated.next()) {
        (Some(one), None) => length(one),
        _ => None,
    };
    match size.exact() {
        Some(exact) if stated == Some(exact) => {}
        Some(exact) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(exact));
        }
        // A body that turns out otherwise breaks the connection off, never the framing.
        None if stated.is_some() => {}
        None => {
            headers.remove(CONTENT_LENGTH);
        }
    }
}

/// Returns the length that a checked head states.
pub(crate) fn stated_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(length)
}

fn length(value: &HeaderValue) -> Option<u64> {
    let digits = value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok())
}

fn origin_form(uri: &Uri) -> Result<Uri, Failure> {
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Uri::builder().path_and_query(path).build().map_err(|error| Failure::caused(FailureKind::Unsendable, error))
}

/// Returns how many milliseconds are left, as the server is told.
pub(crate) fn left(now: Instant, deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(now).max(Duration::from_millis(1));
    left.as_secs().saturating_mul(1000).saturating_add(u64::from(left.subsec_millis()))
}

/// Tells who observes the call of an attempt at a server; it may add headers.
pub(crate) fn announce(
    observer: &Observer,
    request: &mut Request<Outgoing>,
    member: &Member,
) -> Option<Box<dyn Observed>> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    observer.0.begins(Attempt {
        scheme: member.scheme.as_str(),
        server: &member.authority,
        method: &method,
        path: uri.path(),
        headers: request.headers_mut(),
    })
}

/// Writes the request as HTTP/1.1 wants it.
pub(crate) fn as_http1(request: &mut Request<Outgoing>, member: &Member, host: HostHeader) -> Result<(), Failure> {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().scheme().is_some() {
        *request.uri_mut() = origin_form(request.uri())?;
    }
    if host == HostHeader::Upstream || !request.headers().contains_key(HOST) {
        request.headers_mut().insert(HOST, member.host.clone());
    }
    // Without it hyper takes GET and HEAD to have no body, and leaves out the one there is.
    if !request.body().is_end_stream() && !request.headers().contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Ok(())
}

/// Writes the request as HTTP/2 wants it (RFC 9113, section 8.3.1).
pub(crate) fn as_http2(request: &mut Request<Outgoing>, member: &Member, host: HostHeader) -> Result<(), Failure> {
    *request.version_mut() = Version::HTTP_2;
    let stated = match host {
        HostHeader::Upstream => None,
        HostHeader::Original => request.headers().get(HOST),
    };
    let authority = match stated {
        Some(host) => {
            Authority::try_from(host.as_bytes()).map_err(|error| Failure::caused(FailureKind::Unsendable, error))?
        }
        None => member.authority.clone(),
    };
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::builder()
        .scheme(member.scheme.clone())
        .authority(authority)
        .path_and_query(path)
        .build()
        .map_err(|error| Failure::caused(FailureKind::Unsendable, error))?;
    if host == HostHeader::Upstream {
        request.headers_mut().remove(HOST);
    }
    // From an attempt on a connection of HTTP/1.1 that came back unsent.
    request.headers_mut().remove(TRANSFER_ENCODING);
    Ok(())
}

/// Copies a request without a body.
pub(crate) fn copy(request: &Request<Outgoing>) -> Request<Outgoing> {
    let mut copy = Request::new(Outgoing::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(mut request: Request<Body>) -> Result<HeaderMap, FailureKind> {
        check(&mut request, false).map_err(|failure| failure.kind())?;
        assert!(request.uri().authority().is_none());
        Ok(request.into_parts().0.headers)
    }

    fn post(headers: &[(&'static str, &'static str)], body: Body) -> Request<Body> {
        let mut request = Request::post("/x").body(body).expect("a request");
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn framing_is_what_the_body_says() {
        let stream = || Body::from_stream(futures_util::stream::pending::<Result<&str, std::convert::Infallible>>());
        for (stated, body, kept) in [
            (&["5"][..], Body::from("12345"), Some("5")),
            (&["6"], Body::from("12345"), Some("5")),
            (&["5", "6"], Body::from("12345"), Some("5")),
            (&[], Body::from("12345"), Some("5")),
            (&["5"], Body::empty(), None),
            (&["5"], stream(), Some("5")),
            (&["5", "5"], stream(), None),
            (&["+5"], stream(), None),
            (&["5, 5"], stream(), None),
            (&["99999999999999999999999"], stream(), None),
        ] {
            let mut headers: Vec<_> = stated.iter().map(|value| ("content-length", *value)).collect();
            headers.extend([("transfer-encoding", "chunked"), ("connection", "close, x-tenant"), ("te", "gzip")]);
            let headers = checked(post(&headers, body)).expect("sendable");
            assert_eq!(headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()), kept, "{stated:?}");
            assert!(!headers.contains_key(TRANSFER_ENCODING) && !headers.contains_key(CONNECTION));
            assert!(!headers.contains_key(TE));
        }
    }

    #[test]
    fn targets_are_paths() {
        let get = |uri: &str| Request::get(uri).body(Body::empty()).expect("a request");
        assert!(checked(get("http://elsewhere/x")).is_ok(), "and it loses its authority");
        assert!(checked(get("//elsewhere/x")).is_ok());
        assert_eq!(checked(get("*")), Err(FailureKind::Unsendable));
        let connect = Request::connect("a:1").body(Body::empty()).expect("a request");
        assert_eq!(checked(connect), Err(FailureKind::Unsendable));
    }
}
