//! Names of headers that mean something to a gateway or to framing. Not for their values.

/// Names that mean something to a gateway or to framing. With `_` for `-` they are another header to us and the
/// same to a server behind CGI's rules; as a connection option they would be dropped on the way.
const GUARDED: &[&str] = &[
    "authorization",
    "cache-control",
    "client-ip",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "origin",
    "referer",
    "set-cookie",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "true-client-ip",
    "user-agent",
    "via",
];

/// The beginnings of names that are guarded in the same way.
const GUARDED_PREFIXES: &[&str] = &[
    "cf-",
    "proxy-auth",
    "sec-",
    "x-api",
    "x-auth",
    "x-client",
    "x-cluster",
    "x-correlation",
    "x-forwarded",
    "x-http",
    "x-original",
    "x-portico",
    "x-real",
    "x-remote",
    "x-request",
    "x-rewrite",
    "x-role",
    "x-scope",
    "x-tenant",
    "x-token",
    "x-user",
];

/// Whether a name is one of those guarded, `_` being the same as `-`.
pub(crate) fn is_guarded(name: &[u8]) -> bool {
    let same = |name: &[u8], guarded: &str| {
        let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        name.len() == guarded.len() && name.iter().zip(guarded.bytes()).all(|(byte, other)| plain(*byte) == other)
    };
    GUARDED.iter().any(|guarded| same(name, guarded))
        || GUARDED_PREFIXES.iter().any(|prefix| name.get(..prefix.len()).is_some_and(|begin| same(begin, prefix)))
}

/// Whether a trailer may have this name: none that frames, routes, signs in or says how the content is to be
/// read (RFC 9110, section 6.5.1).
pub(crate) fn may_be_trailer(name: &[u8]) -> bool {
    let barred: [&[u8]; 13] = [
        b"age",
        b"connection",
        b"content-range",
        b"date",
        b"expires",
        b"keep-alive",
        b"location",
        b"range",
        b"retry-after",
        b"te",
        b"trailer",
        b"upgrade",
        b"vary",
    ];
    let begins = |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
    !is_guarded(name)
        && !barred.iter().any(|barred| name.eq_ignore_ascii_case(barred))
        && !begins(b"if-")
        && !begins(b"proxy-")
        && !begins(b"access-control-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_do_not_frame_or_sign_in() {
        for name in ["digest", "x-checksum", "grpc-status", "server-timing"] {
            assert!(may_be_trailer(name.as_bytes()), "{name}");
        }
        for name in ["Content-Length", "transfer-encoding", "Host", "Authorization", "te", "If-Match", "x_portico_a"] {
            assert!(!may_be_trailer(name.as_bytes()), "{name}");
        }
    }
}
