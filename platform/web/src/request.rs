//! What travels with a request from the door to the handler, in its extensions: ids, addresses, the
//! checked caller, what was granted, limits, the idempotency key. Not for bodies.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kernel::{Actor, Error, Idempotency, PermissionSet, RequestId, Result, TenantId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Names one request.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Names a chain of requests.
pub const CORRELATION_ID_HEADER: HeaderName = HeaderName::from_static("x-correlation-id");
/// Makes an unsafe request safe to send again.
pub const IDEMPOTENCY_KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Says why a superadmin does what the request asks for.
pub const AUDIT_REASON_HEADER: HeaderName = HeaderName::from_static("x-audit-reason");

/// The ids of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIds {
    /// Names this request.
    pub request: RequestId,
    /// Names the chain that it belongs to.
    pub correlation: RequestId,
}

impl RequestIds {
    /// Takes the ids that the client sent where they keep the rules, and makes the others.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let sent = |name: &HeaderName| headers.get(name)?.to_str().ok().and_then(RequestId::parse);
        let request = sent(&REQUEST_ID_HEADER).unwrap_or_else(RequestId::create);
        let correlation = sent(&CORRELATION_ID_HEADER).unwrap_or_else(|| request.clone());
        Self { request, correlation }
    }
}

/// Where the socket says that a request comes from: a client, or a proxy in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// Who a request comes from, for limits and audit: behind a trusted proxy, whom that proxy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// What sort of credential a caller showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A person signed in.
    Session,
    /// A program was given a token.
    ApiToken,
}

/// A caller whose credential was checked. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The tenant that the credential is for.
    pub tenant: TenantId,
    /// Who it is.
    pub actor: Actor,
    /// Its role in the tenant, for display.
    pub role: Arc<str>,
    /// What it may do in the tenant.
    pub permissions: PermissionSet,
    /// Names the credential, so that it can be revoked: a token or a session.
    pub credential: Arc<str>,
    /// What sort of credential it is.
    pub kind: CredentialKind,
    /// Why a superadmin's session in the tenant was opened; nothing for everybody else.
    pub elevated: Option<Arc<str>>,
}

impl Principal {
    /// Returns the person, if it is one.
    pub fn user(&self) -> Option<UserId> {
        match self.actor {
            Actor::User(user) | Actor::Superadmin(user) => Some(user),
            Actor::System => None,
        }
    }
}

/// What is no longer to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// One token or session, as [`Principal::credential`] names it.
    Credential(Arc<str>),
    /// Whatever a person signed in with, in all tenants.
    User(UserId),
    /// Every credential for a tenant.
    Tenant(TenantId),
    /// Every credential there is.
    Everything,
}

impl Revocation {
    /// Says whether it names this caller's credential.
    pub fn covers(&self, principal: &Principal) -> bool {
        match self {
            Self::Credential(credential) => *credential == principal.credential,
            Self::User(user) => {
                matches!(principal.actor, Actor::User(found) | Actor::Superadmin(found) if found == *user)
            }
            Self::Tenant(tenant) => *tenant == principal.tenant,
            Self::Everything => true,
        }
    }
}

/// Says that the request carried the operator token.
#[derive(Clone, Copy, Debug)]
pub struct Operator;

/// Says that the route's own permission was checked; without it no context is built.
#[derive(Clone, Copy, Debug)]
pub struct Granted;

/// The limits of a route.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest body that is taken, in bytes.
    pub body_bytes: usize,
}

/// Reads a body to its end, unless it is longer than `limit`.
pub async fn bytes_within(body: Body, limit: usize) -> Result<Bytes> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Error::invalid("request.too_large", format!("the body must have at most {limit} bytes"))
                .status_code(413))
        }
        Err(error) => Err(Error::invalid("request.cut_off", "the body ended before its end").source_error(error)),
    }
}

/// Returns the reason that a request gives for itself, if it gives one.
pub fn audit_reason(headers: &HeaderMap) -> Result<Option<String>> {
    let mut values = headers.get_all(&AUDIT_REASON_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map(str::trim).unwrap_or_default();
    let seen = text.chars().filter(|letter| !letter.is_whitespace()).count();
    let allowed = seen >= 3 && text.chars().count() <= 500 && !text.contains(char::is_control);
    if allowed && values.next().is_none() { Ok(Some(text.to_owned())) } else { Err(reason_required()) }
}

/// Returns the refusal of a request that should give a reason and does not, or gives a bad one.
pub fn reason_required() -> Error {
    let message = "say why in one X-Audit-Reason header: 3 to 500 characters of UTF-8 text";
    Error::invalid("request.reason_required", message)
}

/// Takes the idempotency key of an unsafe request, with the fingerprint of what it asks.
pub async fn take_idempotency(request: Request, limit: usize) -> Result<(Request, Option<Idempotency>)> {
    let Some(key) = key_of(&request)? else { return Ok((request, None)) };
    let (parts, body) = request.into_parts();
    let bytes = bytes_within(body, limit).await?;
    let idempotency = identify(key, &parts, &bytes);
    Ok((Request::from_parts(parts, Body::from(bytes)), Some(idempotency)))
}

/// Takes the idempotency key of a request whose body nobody has read: the fingerprint knows nothing of it
/// until the handler adds it.
pub fn take_idempotency_of_stream(request: Request) -> Result<(Request, Option<Idempotency>)> {
    let Some(key) = key_of(&request)? else { return Ok((request, None)) };
    let (parts, body) = request.into_parts();
    let idempotency = identify(key, &parts, &[]);
    Ok((Request::from_parts(parts, body), Some(idempotency)))
}

fn key_of(request: &Request) -> Result<Option<String>> {
    match request.headers().get(&IDEMPOTENCY_KEY_HEADER) {
        Some(value) if !request.method().is_safe() => idempotency_key(value.to_str().unwrap_or_default()).map(Some),
        _ => Ok(None),
    }
}

fn identify(key: String, parts: &http::request::Parts, body: &[u8]) -> Idempotency {
    let mut hash = Sha256::new();
    for part in [
        parts.uri.query().unwrap_or_default().as_bytes(),
        parts.headers.get(CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default(),
        body,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let scope = format!("{} {}", parts.method, parts.uri.path());
    Idempotency { key, scope, fingerprint: hash.finalize().into() }
}

/// What an idempotency key looks like, for the document.
pub const IDEMPOTENCY_KEY_PATTERN: &str = r#"^([!#-~]{1,255}|"[!#-~]{1,255}")$"#;

/// Reads a key, which may stand in quotes, as the draft of the header has it.
fn idempotency_key(text: &str) -> Result<String> {
    let text = text.trim();
    let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let allowed = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if allowed {
        return Ok(key.to_owned());
    }
    let message = "Idempotency-Key must have 1 to 255 visible ASCII characters other than quotes";
    Err(Error::invalid("request.invalid_idempotency_key", message))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn reason(values: &[&[u8]]) -> Result<Option<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUDIT_REASON_HEADER, HeaderValue::from_bytes(value).expect("a header's value"));
        }
        audit_reason(&headers)
    }

    #[test]
    fn a_reason_is_one_text_that_a_person_can_read() {
        assert_eq!(reason(&[]).expect("none"), None);
        for (sent, read) in
            [("abc", "abc"), ("  ticket 7: Gebühren prüfen ", "ticket 7: Gebühren prüfen"), ("a b c", "a b c")]
        {
            assert_eq!(reason(&[sent.as_bytes()]).expect("a reason").as_deref(), Some(read));
        }
        assert!(reason(&["ü".repeat(500).as_bytes()]).is_ok(), "characters are counted, not bytes");
        let long = "a".repeat(501);
        let refused: [&[&[u8]]; 8] = [
            &[b""],
            &[b"ab"],
            &[b"a  \xc2\xa0 b"],
            &[long.as_bytes()],
            &[b"abc\tdef"],
            &[b"abc\xc2\x85def"],
            &[b"abc\xff"],
            &[b"one reason", b"another"],
        ];
        for values in refused {
            assert_eq!(reason(values).expect_err("refused").code(), "request.reason_required", "{values:?}");
        }
    }

    #[test]
    fn a_key_may_stand_in_quotes_and_has_none_inside() {
        let long = "a".repeat(255);
        for (sent, read) in
            [("a", "a"), (" 8e03978e-40d5 ", "8e03978e-40d5"), ("\"a b\"", ""), ("\"ab\"", "ab"), (&long, &long)]
        {
            assert_eq!(idempotency_key(sent).unwrap_or_default(), read, "{sent}");
        }
        for refused in ["", "\"", "\"\"", "a\"", "\"a", "a\"b", "a b", "ä", &format!("{long}a")] {
            let error = idempotency_key(refused).expect_err(refused);
            assert_eq!(error.code(), "request.invalid_idempotency_key");
        }
    }

    #[test]
    fn a_revocation_covers_what_it_names() {
        let (user, tenant) = (UserId::new(), TenantId::new());
        let principal = Principal {
            tenant,
            actor: Actor::Superadmin(user),
            role: "superadmin".into(),
            permissions: PermissionSet::default(),
            credential: "ses_1".into(),
            kind: CredentialKind::Session,
            elevated: None,
        };
        let covers = |revocation: Revocation| revocation.covers(&principal);
        assert!(covers(Revocation::Credential("ses_1".into())) && !covers(Revocation::Credential("ses_2".into())));
        assert!(covers(Revocation::User(user)) && !covers(Revocation::User(UserId::new())));
        assert!(covers(Revocation::Tenant(tenant)) && !covers(Revocation::Tenant(TenantId::new())));
        assert!(covers(Revocation::Everything));
        let system = Principal { actor: Actor::System, ..principal.clone() };
        assert!(!Revocation::User(user).covers(&system));
    }
}
