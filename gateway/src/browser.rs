//! What browsers bring where they can set no header: a ticket in the address of a stream, and the
//! cookie, with the proof that a page of ours sent it (decision 0010). Not for checking either.

use std::sync::Arc;

use axum::extract::Request;
use http::header::{COOKIE, HOST, ORIGIN};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use kernel::{Error, Result};

use crate::tls::OverTls;

/// The cookie that holds an access token.
const NAME: &str = "__Host-portico";
const TICKET: &str = "ticket=";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origin of the pages that are ours.
#[derive(Clone, Debug, Default)]
pub struct PublicOrigin(Option<Arc<str>>);

impl PublicOrigin {
    /// Reads the public address, such as `https://portico.example`; without one, pages from the host
    /// that a request is sent to are ours.
    pub fn parse(url: &str) -> Result<Self> {
        if url.is_empty() {
            return Ok(Self(None));
        }
        let wrong = || {
            let message = format!("server.public_url: {url} must look like https://host or https://host:port");
            Error::invalid("config.invalid", message)
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https")).ok_or_else(wrong)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        // Browsers leave the usual port out.
        let usual = if scheme == "https" { 443 } else { 80 };
        let shown = match authority.port_u16() {
            Some(port) if port != usual => authority.as_str(),
            _ => authority.host(),
        };
        Ok(Self(Some(format!("{scheme}://{shown}").to_ascii_lowercase().into())))
    }

    /// Says whether a page of ours sent the request: its origin says so; for a read, where there is no
    /// origin, the browser does. Where the browser came over TLS, a page that did not may be anybody's.
    fn is_own(&self, method: &Method, uri: &Uri, headers: &HeaderMap, secure: bool) -> bool {
        let mut sent = headers.get_all(ORIGIN).iter();
        let Some(origin) = sent.next() else {
            let site = headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin");
            return site && method == Method::GET;
        };
        let Ok(origin) = origin.to_str() else { return false };
        if sent.next().is_some() {
            return false;
        }
        if let Some(own) = &self.0 {
            return origin.eq_ignore_ascii_case(own);
        }
        let named = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(http::uri::Authority::as_str).or(named);
        let plain = origin.strip_prefix("http://").filter(|_| !secure);
        let shown = origin.strip_prefix("https://").or(plain);
        matches!((host, shown), (Some(host), Some(shown)) if host.eq_ignore_ascii_case(shown))
    }

    /// Refuses what another site's page may have sent with our cookie: changes, and connections that stay.
    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap, live: bool, secure: bool) -> Result<()> {
        let harmless = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !live;
        if harmless || self.is_own(method, uri, headers, secure) {
            return Ok(());
        }
        let message = "with the cookie this takes a request from a page of this server: send its Origin";
        Err(Error::forbidden("request.foreign_origin", message))
    }
}

fn refused() -> Error {
    Error::unauthenticated("request.unauthenticated", "send one ticket that was not used")
}

/// What a browser shows who it is for with.
pub(crate) enum Brought {
    Nothing,
    Ticket {
        ticket: String,
        path: String,
    },
    /// An access token.
    Cookie(String),
}

/// Takes ticket and cookie off the request, so that nothing behind the door sees them; a route may hand on
/// the cookies of others.
pub(crate) fn take(request: &mut Request, origin: &PublicOrigin, live: bool, hand_on: bool) -> Result<Brought> {
    let others = if hand_on { others(request.headers()) } else { None };
    let cookie = take_cookie(request.headers_mut());
    if let Some(others) = others {
        request.headers_mut().insert(COOKIE, others);
    }
    let ticket = if live { take_ticket(request)? } else { None };
    if let Some(ticket) = ticket.filter(|_| request.method() == Method::GET) {
        return Ok(Brought::Ticket { ticket, path: request.uri().path().to_owned() });
    }
    let Some(token) = cookie? else { return Ok(Brought::Nothing) };
    let secure = request.extensions().get::<OverTls>().is_some();
    origin.check(request.method(), request.uri(), request.headers(), live, secure)?;
    Ok(Brought::Cookie(token))
}

fn take_ticket(request: &mut Request) -> Result<Option<String>> {
    let Some(query) = request.uri().query() else { return Ok(None) };
    let (tickets, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with(TICKET));
    let [ticket] = tickets[..] else {
        return if tickets.is_empty() { Ok(None) } else { Err(refused()) };
    };
    let ticket = ticket.strip_prefix(TICKET).unwrap_or_default().to_owned();
    let target = match &others[..] {
        [] => request.uri().path().to_owned(),
        others => format!("{}?{}", request.uri().path(), others.join("&")),
    };
    let wrong = |error: http::Error| Error::internal("a target without its ticket is no target").source_error(error);
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(target.parse::<PathAndQuery>().map_err(|error| wrong(error.into()))?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| wrong(error.into()))?;
    Ok(Some(ticket))
}

/// Returns the cookies that are not ours.
fn others(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).map(str::trim);
    let kept: Vec<&str> = pairs.filter(|pair| pair.split('=').next().is_some_and(|name| name.trim() != NAME)).collect();
    HeaderValue::try_from(kept.join("; ")).ok().filter(|line| !line.is_empty())
}

/// Takes the access token out of the cookie, and the cookies off the request: services use none.
fn take_cookie(headers: &mut HeaderMap) -> Result<Option<String>> {
    if !headers.contains_key(COOKIE) {
        return Ok(None);
    }
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(name, _)| *name == NAME).map(|(_, value)| value.trim_matches('"').to_owned());
    let (token, another) = (found.next(), found.next());
    drop(found);
    headers.remove(COOKIE);
    match another {
        Some(_) => Err(Error::unauthenticated("request.unauthenticated", "send one cookie of this name")),
        None => Ok(token.filter(|token| !token.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
        }
        headers
    }

    fn target(text: &str) -> (String, Result<Option<String>>) {
        let mut request = Request::builder().uri(text).body(Body::empty()).expect("a request");
        let ticket = take_ticket(&mut request);
        (request.uri().to_string(), ticket)
    }

    #[test]
    fn a_ticket_is_taken_out_of_the_address() {
        for (sent, left) in [
            ("/a?ticket=t", "/a"),
            ("/a?ticket=t&b=c", "/a?b=c"),
            ("/a?b=c&ticket=t&d", "/a?b=c&d"),
            ("http://h/a?b=c&ticket=t", "http://h/a?b=c"),
        ] {
            let (target, ticket) = target(sent);
            assert_eq!((target.as_str(), ticket.expect("one").as_deref()), (left, Some("t")), "{sent}");
        }
        for without in ["/a", "/a?b=c", "/a?tickets=t", "/a?b=ticket=t"] {
            let (target, ticket) = target(without);
            assert_eq!((target.as_str(), ticket.expect("none")), (without, None));
        }
        assert!(target("/a?ticket=t&ticket=u").1.is_err());
    }

    #[test]
    fn the_cookie_is_taken_off_the_request() {
        for (lines, token) in [
            (&["__Host-portico=t"][..], Some("t")),
            (&["a=b; __Host-portico=\"t\"; c=d"], Some("t")),
            (&["a=b", "__Host-portico=t"], Some("t")),
            (&["a=b; x__Host-portico=t; __Host-porticos=u"], None),
            (&["__Host-portico="], None),
        ] {
            let mut sent: HeaderMap = headers(&lines.iter().map(|line| ("cookie", *line)).collect::<Vec<_>>());
            assert_eq!(take_cookie(&mut sent).expect("read").as_deref(), token, "{lines:?}");
            assert!(sent.is_empty());
        }
        let mut twice = headers(&[("cookie", "__Host-portico=t; __Host-portico=u")]);
        assert!(take_cookie(&mut twice).is_err());
    }

    #[test]
    fn only_pages_of_ours_change_things_or_open_connections_with_the_cookie() {
        let own = PublicOrigin::parse("https://Portico.example:443/").expect("an address");
        let by_host = PublicOrigin::default();
        let uri: Uri = "/a".parse().expect("a target");
        let check = |origin: &PublicOrigin, method: &Method, live: bool, lines: &[(&str, &str)]| {
            origin.check(method, &uri, &headers(lines), live, false).is_ok()
        };
        let (from, foreign, null) =
            (("origin", "https://portico.example"), ("origin", "https://evil.example"), ("origin", "null"));
        let (same, cross) = (("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site"));
        let host = ("host", "portico.example");
        for origin in [&own, &by_host] {
            assert!(check(origin, &Method::GET, false, &[host, foreign]), "a read that no page can see");
            assert!(
                check(origin, &Method::GET, true, &[host, from]) && check(origin, &Method::POST, false, &[host, from])
            );
            assert!(check(origin, &Method::GET, true, &[host, same]));
            for sent in [
                &[host][..],
                &[host, foreign],
                &[host, null],
                &[host, cross],
                &[host, foreign, same],
                &[host, from, from],
            ] {
                assert!(!check(origin, &Method::GET, true, sent), "{sent:?}");
                assert!(!check(origin, &Method::POST, false, sent), "{sent:?}");
            }
            assert!(!check(origin, &Method::DELETE, false, &[host, same]), "a change says its origin");
        }
        let over_tls = |scheme: &str| {
            let sent = headers(&[host, ("origin", &format!("{scheme}://portico.example"))]);
            by_host.check(&Method::POST, &uri, &sent, false, true).is_ok()
        };
        assert!(over_tls("https") && !over_tls("http"), "a page that came without TLS");
        assert!(!check(&own, &Method::POST, false, &[("host", "evil.example"), foreign]));
        for wrong in ["portico.example", "ftp://a", "https://a/b", "https://u@a", "https://"] {
            assert!(PublicOrigin::parse(wrong).is_err(), "{wrong}");
        }
    }
}
