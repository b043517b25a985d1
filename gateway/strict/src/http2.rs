//! What h2 lets through and HTTP/1.1 has other rules for (RFC 9113, section 8.3), and one form of target for
//! all that comes in. Not for frames.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};

use crate::config::Config;
use crate::names::is_guarded;
use crate::refusal::Refusal;
use crate::target::{check_host, check_method, check_path};

/// Says why a request of HTTP/2 is refused, if it is, by the rules that the scanner has for HTTP/1.1. h2 has
/// checked pseudo-headers, headers of the connection, and a Content-Length against the data.
pub fn check_http2(parts: &Parts, config: &Config) -> Result<(), Refusal> {
    check_method(parts.method.as_str().as_bytes())?;
    if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(Refusal::Target);
    }
    match parts.uri.path_and_query().map_or("", |target| target.as_str()) {
        "*" if parts.method == http::Method::OPTIONS => {}
        target if target.len() > config.request_line_bytes => return Err(Refusal::RequestLineTooLong),
        target if target.starts_with('/') => check_path(target.as_bytes())?,
        _ => return Err(Refusal::Target),
    }
    check_headers(&parts.headers, config)
}

fn check_headers(headers: &HeaderMap, config: &Config) -> Result<(), Refusal> {
    if headers.len() > usize::from(config.headers) {
        return Err(Refusal::TooManyHeaders);
    }
    for name in [HOST, CONTENT_LENGTH, AUTHORIZATION, CONTENT_TYPE, EXPECT] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            return Err(Refusal::Repeated);
        }
    }
    let twin = |name: &HeaderName| name.as_str().contains('_') && is_guarded(name.as_str().as_bytes());
    if headers.keys().any(twin) {
        return Err(Refusal::HeaderTwin);
    }
    if headers.iter().any(|(name, value)| name.as_str().len() + value.len() + 4 > config.header_line_bytes) {
        return Err(Refusal::HeaderTooLong);
    }
    if headers.get(EXPECT).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::Expect);
    }
    Ok(())
}

/// Gives a request a target in origin form and a Host of its own authority, whatever form it came in: over an
/// absolute target the Host header has no say (RFC 9112, section 3.2.2); over HTTP/2 it must not differ (RFC
/// 9113, section 8.3.1).
pub fn settle_target(parts: &mut Parts) -> Result<(), Refusal> {
    let Some(authority) = parts.uri.authority() else {
        return match parts.headers.get(HOST) {
            None if parts.version >= Version::HTTP_11 => Err(Refusal::HostMissing),
            // The scanner has seen to the Host of HTTP/1.1.
            Some(host) if parts.version >= Version::HTTP_2 => check_host(host.as_bytes()),
            _ => Ok(()),
        };
    };
    check_host(authority.as_str().as_bytes())?;
    if parts.version >= Version::HTTP_2
        && parts
            .headers
            .get(HOST)
            .is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()))
    {
        return Err(Refusal::HostDiffers);
    }
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::Host)?;
    parts.headers.insert(HOST, host);
    let target = parts.uri.path_and_query().cloned().ok_or(Refusal::Target)?;
    parts.uri = Uri::from(target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(version: Version, method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(version).method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn http2_is_held_to_the_rules_of_http1() {
        let config = Config::default();
        let check = |method: &str, uri: &str, headers: &[(&str, &str)]| {
            check_http2(&parts(Version::HTTP_2, method, uri, headers), &config)
        };
        assert_eq!(check("GET", "https://a/b?c=[d]", &[("te", "trailers"), ("my_header", "1")]), Ok(()));
        assert_eq!(check("get", "https://a/", &[]), Err(Refusal::Method));
        assert_eq!(check("TRACE", "https://a/", &[]), Err(Refusal::MethodNotServed));
        assert_eq!(check("GET", "ftp://a/", &[]), Err(Refusal::Target));
        assert_eq!(check("GET", "refused://http/host_missing", &[]), Err(Refusal::Target));
        assert_eq!(check("GET", "https://a/{b}", &[]), Err(Refusal::Target));
        assert_eq!(check("GET", "https://a/", &[("x_forwarded_for", "1")]), Err(Refusal::HeaderTwin));
        assert_eq!(check("GET", "https://a/", &[("host", "a"), ("host", "a")]), Err(Refusal::Repeated));
        assert_eq!(check("GET", "https://a/", &[("expect", "200-ok")]), Err(Refusal::Expect));
    }

    #[test]
    fn every_target_ends_in_origin_form_with_one_host() {
        let mut absolute = parts(Version::HTTP_11, "GET", "http://a:80/b?c", &[("host", "other")]);
        assert_eq!(settle_target(&mut absolute), Ok(()));
        assert_eq!(
            (absolute.uri.to_string().as_str(), absolute.headers["host"].as_bytes()),
            ("/b?c", b"a:80".as_slice())
        );
        let mut differs = parts(Version::HTTP_2, "GET", "http://a/", &[("host", "other")]);
        assert_eq!(settle_target(&mut differs), Err(Refusal::HostDiffers));
        let mut without = parts(Version::HTTP_2, "GET", "/", &[]);
        assert_eq!(settle_target(&mut without), Err(Refusal::HostMissing));
        let mut plain = parts(Version::HTTP_11, "GET", "/a", &[("host", "b")]);
        assert_eq!(settle_target(&mut plain), Ok(()));
        assert_eq!(plain.uri, "/a");
    }
}
