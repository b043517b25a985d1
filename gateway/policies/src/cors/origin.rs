//! Origins as browsers serialise them, and wildcards over them. Not for what is allowed.

use kernel::Result;

use crate::wrong;

/// `https://*.example.com:8443`, cut at the star.
#[derive(Debug)]
pub(super) struct Wildcard {
    pub before: Box<[u8]>,
    pub after: Box<[u8]>,
}

impl Wildcard {
    pub(super) fn holds(&self, origin: &[u8]) -> bool {
        let Some(rest) = origin.strip_prefix(&*self.before) else { return false };
        let Some(labels) = rest.strip_suffix(&*self.after) else { return false };
        let label = |label: &[u8]| {
            !label.is_empty()
                && label.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        };
        labels.split(|byte| *byte == b'.').all(label)
    }
}

/// Reads an origin as browsers serialise it; a star for the first label cuts it in two.
pub(super) fn read_origin(text: &str) -> Result<(String, Option<String>)> {
    let refuse = |why: &str| wrong(format!("cors: the origin {text} {why}"));
    let text_lower = text.to_ascii_lowercase();
    let (scheme, authority) =
        text_lower.split_once("://").ok_or_else(|| refuse("must look like https://app.example"))?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !is_scheme {
        return Err(refuse("has no scheme"));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let port: u16 = port.parse().map_err(|_| refuse("has a port that is no number"))?;
            (host, Some(port))
        }
        _ => (authority, None),
    };
    // Browsers leave a scheme's own port out, so it would never match.
    let port = match (scheme, port) {
        ("https", Some(443)) | ("http", Some(80)) | (_, None) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    let starred = host.strip_prefix("*.");
    let bare = starred.unwrap_or(host);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    if bare.is_empty() || !bare.bytes().all(allowed) || bare.split('.').any(str::is_empty) {
        return Err(refuse("must be scheme, host and port only, in ASCII (xn-- for other letters)"));
    }
    match starred {
        Some(domain) if !domain.contains('.') => Err(refuse("would let in a whole top-level domain")),
        Some(domain) => Ok((format!("{scheme}://"), Some(format!(".{domain}{port}")))),
        None => Ok((format!("{scheme}://{host}{port}"), None)),
    }
}
