//! The first line of a request and its host (RFC 9112, section 3). Not for what a path means: the door
//! refuses dot segments and the like.

use crate::refusal::Refusal;
use crate::syntax::{is_host, is_method, is_path, is_query};

/// What the first line says, as far as the rest of the head depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine {
    /// Whether it is HTTP/1.1, else HTTP/1.0.
    pub(crate) current: bool,
}

/// Reads `METHOD TARGET HTTP/1.x`, without its CR LF.
pub(crate) fn request_line(line: &[u8]) -> Result<RequestLine, Refusal> {
    let space = |from: &[u8]| from.iter().position(|byte| *byte == b' ');
    let (method, rest) = line.split_at(space(line).ok_or(Refusal::RequestLine)?);
    let rest = &rest[1..];
    let (target, version) = rest.split_at(space(rest).ok_or(Refusal::RequestLine)?);
    let version = &version[1..];
    if target.is_empty() || method.is_empty() {
        return Err(Refusal::RequestLine);
    }
    check_method(method)?;
    let current = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::RequestLine),
    };
    check_target(method, target)?;
    Ok(RequestLine { current })
}

/// Refuses methods that servers spell in their own ways, and those that are not served.
pub(crate) fn check_method(method: &[u8]) -> Result<(), Refusal> {
    match method {
        b"GET" | b"POST" => Ok(()),
        b"CONNECT" | b"TRACE" | b"TRACK" => Err(Refusal::MethodNotServed),
        _ if is_method(method) => Ok(()),
        _ => Err(Refusal::Method),
    }
}

fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    match target {
        [b'/', ..] => check_path(target),
        b"*" if method == b"OPTIONS" => Ok(()),
        b"*" => Err(Refusal::TargetForm),
        _ => {
            let rest = absolute(target).ok_or(Refusal::Target)?;
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            check_host(authority)?;
            // `http://host?query` is read as no path by some and refused by others.
            match path.first() {
                Some(b'?') => Err(Refusal::Target),
                _ => check_path(path),
            }
        }
    }
}

fn absolute(target: &[u8]) -> Option<&[u8]> {
    let scheme = |scheme: &[u8]| {
        let (first, rest) = target.split_at_checked(scheme.len())?;
        first.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    scheme(b"http://").or_else(|| scheme(b"https://"))
}

/// Refuses a path and query with characters that are not allowed in them, and broken percent-encodings.
pub(crate) fn check_path(target: &[u8]) -> Result<(), Refusal> {
    let mut bytes = target.iter();
    let mut in_query = false;
    while let Some(byte) = bytes.next() {
        let allowed = if in_query { is_query(*byte) } else { is_path(*byte) };
        if !allowed {
            if *byte == b'?' && !in_query {
                in_query = true;
                continue;
            }
            return Err(Refusal::Target);
        }
        // A query may hold a lone `%`, as browsers send it; a path may not.
        if *byte == b'%' && !in_query {
            let digits = [bytes.next(), bytes.next()];
            if !digits.iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())) {
                return Err(Refusal::Target);
            }
        }
    }
    Ok(())
}

/// Refuses a host that is not a name or an address with an optional port. Names with sub-delimiters or
/// percent-encodings are allowed by RFC 3986 and refused here.
pub(crate) fn check_host(host: &[u8]) -> Result<(), Refusal> {
    let port = match host {
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b']').ok_or(Refusal::Host)?;
            let address = std::str::from_utf8(&rest[..end]).map_err(|_| Refusal::Host)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| Refusal::Host)?;
            &rest[end + 1..]
        }
        _ => {
            let end = host.iter().position(|byte| !is_host(*byte)).unwrap_or(host.len());
            if end == 0 || end > 255 {
                return Err(Refusal::Host);
            }
            &host[end..]
        }
    };
    match port {
        [] => Ok(()),
        [b':', digits @ ..] => {
            let number = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
            number.and_then(|number| number.parse::<u16>().ok()).map(|_| ()).ok_or(Refusal::Host)
        }
        _ => Err(Refusal::Host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines_are_read_in_one_way_only() {
        for (line, expected) in [
            ("GET / HTTP/1.1", Ok(true)),
            ("GET /a?b=c%zz HTTP/1.0", Ok(false)),
            ("OPTIONS * HTTP/1.1", Ok(true)),
            ("M-SEARCH /x HTTP/1.1", Ok(true)),
            ("GET http://example.com HTTP/1.1", Ok(true)),
            ("GET HTTPS://[::1]:8443/a?b HTTP/1.1", Ok(true)),
            ("GET * HTTP/1.1", Err(Refusal::TargetForm)),
            ("GET  / HTTP/1.1", Err(Refusal::RequestLine)),
            ("GET /  HTTP/1.1", Err(Refusal::RequestLine)),
            ("GET / HTTP/1.1 ", Err(Refusal::RequestLine)),
            (" GET / HTTP/1.1", Err(Refusal::RequestLine)),
            ("GET\t/ HTTP/1.1", Err(Refusal::RequestLine)),
            ("GET /", Err(Refusal::RequestLine)),
            ("GET / http/1.1", Err(Refusal::RequestLine)),
            ("GET / HTTP/1.10", Err(Refusal::RequestLine)),
            ("GET / HTTP/1.2", Err(Refusal::Version)),
            ("GET / HTTP/2.0", Err(Refusal::Version)),
            ("get / HTTP/1.1", Err(Refusal::Method)),
            ("G3T / HTTP/1.1", Err(Refusal::Method)),
            ("CONNECT a:443 HTTP/1.1", Err(Refusal::MethodNotServed)),
            ("GET a:443 HTTP/1.1", Err(Refusal::Target)),
            ("GET /a#b HTTP/1.1", Err(Refusal::Target)),
            ("GET /a%4 HTTP/1.1", Err(Refusal::Target)),
            ("GET /\u{e6} HTTP/1.1", Err(Refusal::Target)),
            ("GET refused://http/x HTTP/1.1", Err(Refusal::Target)),
            ("GET http://user@host/ HTTP/1.1", Err(Refusal::Host)),
            ("GET http:///a HTTP/1.1", Err(Refusal::Host)),
            ("GET http://a?b HTTP/1.1", Err(Refusal::Target)),
        ] {
            let read = request_line(line.as_bytes()).map(|line| line.current);
            assert_eq!(read, expected, "{line}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for host in ["a", "a.example:8080", "127.0.0.1", "[::1]", "[2001:db8::1]:443", "a_b", "xn--bcher-kva.example"] {
            assert_eq!(check_host(host.as_bytes()), Ok(()), "{host}");
        }
        for host in [
            "", ":80", "a:", "a:b", "a:65536", "a:-1", "a:+1", "a b", "a/b", "a,b", "a@b", "[::1", "[a]", "[::1]a",
            "a%2eb",
        ] {
            assert_eq!(check_host(host.as_bytes()), Err(Refusal::Host), "{host}");
        }
    }
}
