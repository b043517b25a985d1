//! Values with placeholders for headers and queries: `{tenant}`, `{path.id}`, `{header.Accept-Language}`.
//! What is filled in can break no header: control characters are left out, lengths are bounded. Not for
//! paths: those are the plan's.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::{Result, TenantId, Timestamp, UserId};

use crate::wrong;

/// How many bytes a rendered value may have; the rest is left out.
const VALUE_LIMIT: usize = 4 * 1024;

/// What placeholders stand for in one request.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// `{tenant}`.
    pub tenant: Option<TenantId>,
    /// `{user}`.
    pub user: Option<UserId>,
    /// `{subject}`: whoever the credential names, in the issuer's words.
    pub subject: Option<&'a str>,
    /// `{role}`.
    pub role: Option<&'a str>,
    /// `{request_id}`.
    pub request_id: Option<&'a str>,
    /// `{client_ip}`.
    pub client_ip: Option<IpAddr>,
    /// `{path.NAME}`: the route's parameters.
    pub path: &'a dyn Fn(&str) -> Option<&'a str>,
    /// `{query.NAME}`: the query as it was sent.
    pub query: Option<&'a str>,
    /// `{header.NAME}`: the request's headers.
    pub headers: &'a HeaderMap,
    /// `{now}`: RFC 3339.
    pub now: Timestamp,
}

impl<'a> Values<'a> {
    /// Returns values of which only these are known.
    pub fn empty(headers: &'a HeaderMap, now: Timestamp) -> Self {
        Self {
            tenant: None,
            user: None,
            subject: None,
            role: None,
            request_id: None,
            client_ip: None,
            path: &|_| None,
            query: None,
            headers,
            now,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(Box<[u8]>),
    Tenant,
    User,
    Subject,
    Role,
    RequestId,
    ClientIp,
    Path(Box<str>),
    Query(Box<[u8]>),
    Header(HeaderName),
    Now,
}

/// A compiled value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    parts: Box<[Part]>,
    /// A value without placeholders is rendered once.
    fixed: Option<HeaderValue>,
}

impl Template {
    pub(crate) fn compile(text: &str) -> Result<Self> {
        let refuse = |why: &str| wrong(format!("the value {text:?} {why}"));
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(open);
            if !before.is_empty() {
                parts.push(Part::Text(before.as_bytes().into()));
            }
            // A doubled brace is a brace.
            if from.starts_with("{{") || from.starts_with("}}") {
                parts.push(Part::Text(from.as_bytes()[..1].into()));
                rest = &from[2..];
                continue;
            }
            let end = from.find('}').filter(|end| *end > 0).ok_or_else(|| refuse("has a brace without its twin"))?;
            let name = &from[1..end];
            parts.push(placeholder(name).ok_or_else(|| refuse(&format!("has the unknown placeholder {{{name}}}")))?);
            rest = &from[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.as_bytes().into()));
        }
        let plain = |part: &Part| matches!(part, Part::Text(_));
        if parts.iter().any(|part| matches!(part, Part::Text(text) if HeaderValue::from_bytes(text).is_err())) {
            return Err(refuse("has a control character"));
        }
        let mut template = Self { parts: parts.into(), fixed: None };
        if template.parts.iter().all(plain) {
            let headers = HeaderMap::new();
            template.fixed = template.header(&Values::empty(&headers, Timestamp(0)));
        }
        Ok(template)
    }

    /// Renders a header's value; nothing, if all that it shows is unknown.
    pub(crate) fn header(&self, values: &Values<'_>) -> Option<HeaderValue> {
        if let Some(fixed) = &self.fixed {
            return Some(fixed.clone());
        }
        let bytes = self.render(values)?;
        HeaderValue::from_bytes(bytes.trim_ascii()).ok()
    }

    /// Renders the bytes; nothing, if there are none or no placeholder is known.
    pub(crate) fn render(&self, values: &Values<'_>) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(64);
        let mut known = self.parts.iter().all(|part| matches!(part, Part::Text(_)));
        for part in &self.parts {
            let before = bytes.len();
            part.write(values, &mut bytes);
            known |= bytes.len() > before && !matches!(part, Part::Text(_));
        }
        bytes.truncate(VALUE_LIMIT);
        (known && !bytes.is_empty()).then_some(bytes)
    }
}

impl Part {
    fn write(&self, values: &Values<'_>, bytes: &mut Vec<u8>) {
        let mut text = |shown: &dyn std::fmt::Display| {
            let mut written = String::new();
            // Writing to a string does not fail.
            let _ = write!(written, "{shown}");
            add(bytes, written.as_bytes());
        };
        match self {
            Self::Text(text) => bytes.extend_from_slice(text),
            Self::Tenant => values.tenant.iter().for_each(|shown| text(shown)),
            Self::User => values.user.iter().for_each(|shown| text(shown)),
            Self::ClientIp => values.client_ip.iter().for_each(|shown| text(shown)),
            Self::Now => text(&values.now),
            Self::Subject => add(bytes, values.subject.unwrap_or_default().as_bytes()),
            Self::Role => add(bytes, values.role.unwrap_or_default().as_bytes()),
            Self::RequestId => add(bytes, values.request_id.unwrap_or_default().as_bytes()),
            Self::Path(name) => add(bytes, (values.path)(name).unwrap_or_default().as_bytes()),
            Self::Query(name) => {
                let pairs = values.query.unwrap_or_default().split('&');
                let found = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                if let Some((_, value)) = found.into_iter().find(|(found, _)| *decode(found) == **name) {
                    add(bytes, &decode(value));
                }
            }
            Self::Header(name) => {
                if let Some(value) = values.headers.get(name) {
                    add(bytes, value.as_bytes());
                }
            }
        }
    }
}

fn placeholder(name: &str) -> Option<Part> {
    Some(match name {
        "tenant" => Part::Tenant,
        "user" => Part::User,
        "subject" => Part::Subject,
        "role" => Part::Role,
        "request_id" => Part::RequestId,
        "client_ip" => Part::ClientIp,
        "now" => Part::Now,
        _ => match name.split_once('.')? {
            (_, "") => return None,
            ("path", name) => Part::Path(name.into()),
            ("query", name) => Part::Query(name.as_bytes().into()),
            ("header", name) => Part::Header(HeaderName::try_from(name).ok()?),
            _ => return None,
        },
    })
}

/// Adds what a request brought, without what would end the line or the header.
fn add(bytes: &mut Vec<u8>, value: &[u8]) {
    let room = VALUE_LIMIT.saturating_sub(bytes.len());
    bytes.extend(value.iter().copied().filter(|byte| *byte >= 0x20 && *byte != 0x7f).take(room));
}

/// Decodes a part of a query (`application/x-www-form-urlencoded`); what is no encoding stays.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|byte| (*byte as char).to_digit(16));
        match (bytes[at], hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (b'+', ..) => {
                decoded.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

/// Encodes bytes for a part of a query.
pub(crate) fn encode(bytes: &[u8], query: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            query.push(*byte as char);
        } else {
            // Writing to a string does not fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
