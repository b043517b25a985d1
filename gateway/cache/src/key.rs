//! What an entry is kept under: scope, the way that its route took, scheme, host, path, query. Every part has its length before it, so no two
//! different requests can make one key. Not for Vary; see `vary`.

use std::cell::RefCell;
use std::sync::Arc;

use http::Uri;
use http::header::HOST;
use http::request::Parts;
use kernel::TenantId;
use sha2::{Digest, Sha256};

use crate::policy::Policy;

/// The bytes of a key.
pub(crate) type Key = Arc<[u8]>;

/// Whose answers an entry may be given to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The tenant; `None` only for answers that are the same for all.
    pub tenant: Option<TenantId>,
    /// Who within the tenant may share an answer.
    pub class: Class,
    /// The caller proved who it is, even if the proof itself was taken off the request.
    pub credentials: bool,
    /// The request came over TLS.
    pub secure: bool,
}

impl Scope {
    /// Returns the scope of answers that are the same for everybody.
    pub const fn public(secure: bool) -> Self {
        Self { tenant: None, class: Class::EVERYBODY, credentials: false, secure }
    }

    /// Returns the scope of a caller whose identity is known.
    pub const fn of(tenant: TenantId, class: Class, secure: bool) -> Self {
        Self { tenant: Some(tenant), class, credentials: true, secure }
    }

    pub(crate) fn class_ref(&self) -> &Class {
        &self.class
    }
}

/// An authorisation class: callers of one class may see each other's answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class([u8; 32]);

impl Class {
    /// The class of callers without an identity.
    pub const EVERYBODY: Self = Self([0; 32]);

    /// Returns the class of whatever decides what a caller may see, such as its sorted permissions.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Class({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// Where in a key the resource begins: behind the class and the way.
const CLASS_END: usize = 1 + 16 + 32 + 16;

/// Writes the key of a request into a buffer that the thread keeps, and hands it over.
pub(crate) fn with<T>(policy: &Policy, scope: &Scope, parts: &Parts, take: impl FnOnce(&[u8]) -> T) -> T {
    thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    let mut buffer = BUFFER.with(|buffer| buffer.take());
    buffer.clear();
    write(&mut buffer, policy, scope, parts);
    let taken = take(&buffer);
    BUFFER.with(|kept| kept.replace(buffer));
    taken
}

/// Returns the part of a key that names the resource, without tenant, class and keyed headers.
pub(crate) fn resource(key: &[u8]) -> &[u8] {
    let end = |at: usize| {
        let length = key.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")));
        (at + 4 + length as usize).min(key.len())
    };
    // The scheme, the host, the path, whether there is a query, the query.
    &key[CLASS_END..end(end(end(CLASS_END + 1)) + 1)]
}

fn write(key: &mut Vec<u8>, policy: &Policy, scope: &Scope, parts: &Parts) {
    scope_of(key, policy, scope);
    let scheme = parts.uri.scheme_str().map_or(scope.secure, |scheme| scheme.eq_ignore_ascii_case("https"));
    target(key, policy, scheme, host(parts), parts.uri.path(), parts.uri.query());
    for name in &policy.key_headers {
        for value in parts.headers.get_all(name) {
            counted(key, |key| key.extend_from_slice(value.as_bytes()));
        }
        // Marks the end of a name's values: no length is this long.
        key.extend_from_slice(&u32::MAX.to_be_bytes());
    }
}

/// Returns the key of another URI that the answer names, where it has the same origin as the request.
pub(crate) fn named(policy: &Policy, scope: &Scope, parts: &Parts, reference: &str) -> Option<Vec<u8>> {
    let scheme = parts.uri.scheme_str().map_or(scope.secure, |scheme| scheme.eq_ignore_ascii_case("https"));
    let (path, query) = resolve(parts, scheme, reference)?;
    let mut key = Vec::new();
    scope_of(&mut key, policy, scope);
    target(&mut key, policy, scheme, host(parts), &path, query.as_deref());
    Some(key)
}

fn scope_of(key: &mut Vec<u8>, policy: &Policy, scope: &Scope) {
    key.push(u8::from(scope.tenant.is_some()));
    key.extend_from_slice(scope.tenant.map_or([0; 16], |tenant| tenant.uuid().into_bytes()).as_slice());
    key.extend_from_slice(scope.class.bytes());
    key.extend_from_slice(&policy.way);
}

fn target(key: &mut Vec<u8>, policy: &Policy, secure: bool, host: &[u8], path: &str, query: Option<&str>) {
    key.push(u8::from(secure));
    counted(key, |key| {
        let default: &[u8] = if secure { b":443" } else { b":80" };
        let host = host.strip_suffix(default).unwrap_or(host);
        key.extend(host.iter().map(u8::to_ascii_lowercase));
    });
    counted(key, |key| normalise(key, path));
    // `/a` and `/a?` are two resources.
    key.push(u8::from(query.is_some()));
    counted(key, |key| {
        for (index, pair) in policy.kept_query(query.unwrap_or_default()).enumerate() {
            if index > 0 {
                key.push(b'&');
            }
            normalise(key, pair);
        }
    });
}

fn host(parts: &Parts) -> &[u8] {
    match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => parts.headers.get(HOST).map_or(&[], |host| host.as_bytes()),
    }
}

/// Writes a part with its length before it.
fn counted(key: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = key.len();
    key.extend_from_slice(&[0; 4]);
    write(key);
    let length = u32::try_from(key.len() - start - 4).unwrap_or(u32::MAX - 1);
    key[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Writes a path or query in its normal form (RFC 3986 section 6.2.2): unreserved characters plain, other escapes in
/// capitals. Dots are left alone: the front has refused them, and two keys for one thing do no harm.
fn normalise(key: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let Some(first) = bytes.iter().position(|byte| *byte == b'%') else { return key.extend_from_slice(bytes) };
    key.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let value = hex(*high) << 4 | hex(*low);
                if value.is_ascii_alphanumeric() || b"-._~".contains(&value) {
                    key.push(value);
                } else {
                    key.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
                }
                rest = after;
            }
            _ => {
                key.push(*byte);
                rest = after;
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    (digit as char).to_digit(16).map_or(0, |value| value as u8)
}

/// Resolves Location or Content-Location against the request; `None` where it leads to another origin.
fn resolve(parts: &Parts, secure: bool, reference: &str) -> Option<(String, Option<String>)> {
    let reference = reference.split('#').next()?;
    if let Some(rest) = reference.strip_prefix("//") {
        return absolute(parts, rest);
    }
    if let Some((scheme, rest)) = reference.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?'])) {
        let same = scheme.eq_ignore_ascii_case(if secure { "https" } else { "http" });
        return same.then(|| absolute(parts, rest))?;
    }
    let (path, query) = split_query(reference);
    let path = match path {
        "" => parts.uri.path().to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => {
            let base = parts.uri.path();
            let folder = base.rfind('/').map_or("/", |slash| &base[..=slash]);
            merge_dots(&format!("{folder}{path}"))
        }
    };
    Some((path, query))
}

fn absolute(parts: &Parts, rest: &str) -> Option<(String, Option<String>)> {
    let uri: Uri = format!("http://{rest}").parse().ok()?;
    let same = uri.authority()?.as_str().as_bytes().eq_ignore_ascii_case(host(parts));
    same.then(|| (uri.path().to_owned(), uri.query().map(str::to_owned)))
}

fn split_query(reference: &str) -> (&str, Option<String>) {
    reference.split_once('?').map_or((reference, None), |(path, query)| (path, Some(query.to_owned())))
}

fn merge_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}
