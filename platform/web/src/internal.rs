//! Carries a checked caller from the gateway to a service in another process: one header, signed
//! with the cluster's key (HMAC-SHA-256), bound to method and path, good for thirty seconds. The
//! gateway strips the header from every request that comes from outside. Not for people: tokens
//! are the identity service's.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Method};
use kernel::{Actor, Error, PermissionSet, RequestId, Result, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::request::{ClientAddress, CredentialKind, Principal, RequestIds};

/// Carries the signed caller.
pub const CONTEXT_HEADER: HeaderName = HeaderName::from_static("x-portico-context");

const LIFETIME_SECONDS: i64 = 30;
const SKEW_SECONDS: i64 = 5;

/// The key that all processes of one installation share.
#[derive(Clone)]
pub struct ContextKey(Arc<[u8]>);

/// What a gateway tells a service of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedContext {
    /// The ids.
    pub ids: RequestIds,
    /// The caller, where one is known.
    pub principal: Option<Principal>,
    /// Who the request comes from.
    pub client: Option<ClientAddress>,
    /// When the caller's credential ends by itself.
    pub until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(rename = "iat")]
    issued: i64,
    #[serde(rename = "rid")]
    request: String,
    #[serde(rename = "cid")]
    correlation: String,
    #[serde(rename = "adr")]
    client: Option<IpAddr>,
    #[serde(rename = "utl")]
    until: Option<i64>,
    #[serde(rename = "prn")]
    principal: Option<PrincipalClaims>,
}

#[derive(Serialize, Deserialize)]
struct PrincipalClaims {
    tenant: TenantId,
    actor: ActorClaims,
    role: String,
    permissions: Vec<String>,
    credential: String,
    kind: CredentialKind,
    elevated: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActorClaims {
    User(UserId),
    Superadmin(UserId),
    System,
}

impl From<&Principal> for PrincipalClaims {
    fn from(principal: &Principal) -> Self {
        Self {
            tenant: principal.tenant,
            actor: match principal.actor {
                Actor::User(user) => ActorClaims::User(user),
                Actor::Superadmin(user) => ActorClaims::Superadmin(user),
                Actor::System => ActorClaims::System,
            },
            role: principal.role.to_string(),
            permissions: principal.permissions.iter().map(str::to_owned).collect(),
            credential: principal.credential.to_string(),
            kind: principal.kind,
            elevated: principal.elevated.as_deref().map(str::to_owned),
        }
    }
}

impl From<PrincipalClaims> for Principal {
    fn from(claims: PrincipalClaims) -> Self {
        Self {
            tenant: claims.tenant,
            actor: match claims.actor {
                ActorClaims::User(user) => Actor::User(user),
                ActorClaims::Superadmin(user) => Actor::Superadmin(user),
                ActorClaims::System => Actor::System,
            },
            role: claims.role.into(),
            permissions: PermissionSet::new(claims.permissions),
            credential: claims.credential.into(),
            kind: claims.kind,
            elevated: claims.elevated.map(Into::into),
        }
    }
}

impl ContextKey {
    /// Returns the key; it must have at least 32 bytes.
    pub fn new(secret: &[u8]) -> Result<Self> {
        if secret.len() < 32 {
            return Err(Error::invalid("config.cluster_secret", "cluster.secret must have at least 32 bytes"));
        }
        Ok(Self(secret.into()))
    }

    fn mac(&self, method: &Method, path: &str, payload: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in [method.as_str(), path, payload] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac
    }

    /// Signs the context of one request.
    pub fn sign(&self, method: &Method, path: &str, context: &SignedContext, now: Timestamp) -> HeaderValue {
        let claims = Claims {
            issued: now.seconds(),
            request: context.ids.request.as_str().to_owned(),
            correlation: context.ids.correlation.as_str().to_owned(),
            client: context.client.map(|client| client.0),
            until: context.until.map(|until| until.0),
            principal: context.principal.as_ref().map(Into::into),
        };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).expect("claims are plain data"));
        let tag = URL_SAFE_NO_PAD.encode(self.mac(method, path, &payload).finalize().into_bytes());
        HeaderValue::try_from(format!("{payload}.{tag}")).expect("base64 is valid in a header")
    }

    /// Checks a signed context.
    pub fn verify(&self, method: &Method, path: &str, header: &HeaderValue, now: Timestamp) -> Result<SignedContext> {
        let refused =
            || Error::unauthenticated("request.invalid_context", "this port only takes requests from the gateway");
        let (payload, tag) = header.to_str().ok().and_then(|text| text.split_once('.')).ok_or_else(refused)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| refused())?;
        self.mac(method, path, payload).verify_slice(&tag).map_err(|_| refused())?;
        let claims = URL_SAFE_NO_PAD.decode(payload).map_err(|_| refused())?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| refused())?;
        let age = now.seconds() - claims.issued;
        if !(-SKEW_SECONDS..=LIFETIME_SECONDS).contains(&age) {
            return Err(refused().context(format!("the signed context is {age} s old: do the clocks agree?")));
        }
        let ids = RequestIds {
            request: RequestId::parse(&claims.request).ok_or_else(refused)?,
            correlation: RequestId::parse(&claims.correlation).ok_or_else(refused)?,
        };
        let client = claims.client.map(ClientAddress);
        let (principal, until) = (claims.principal.map(Into::into), claims.until.map(Timestamp));
        Ok(SignedContext { ids, principal, client, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> SignedContext {
        let principal = Principal {
            tenant: TenantId::new(),
            actor: Actor::User(UserId::new()),
            role: "admin".into(),
            permissions: PermissionSet::new(["inventory.items.read"]),
            credential: "tok_1".into(),
            kind: CredentialKind::Session,
            elevated: None,
        };
        SignedContext {
            ids: RequestIds { request: RequestId::create(), correlation: RequestId::create() },
            principal: Some(principal),
            client: Some(ClientAddress([192, 0, 2, 7].into())),
            until: Some(Timestamp(1_800_000_000_000_000)),
        }
    }

    #[test]
    fn a_context_is_good_for_its_own_request_and_for_thirty_seconds() {
        let key = ContextKey::new(&[7; 32]).expect("long enough");
        let context = context();
        let now = Timestamp(1_000_000_000_000_000);
        let header = key.sign(&Method::GET, "/a", &context, now);
        assert_eq!(key.verify(&Method::GET, "/a", &header, now).expect("verifies"), context);
        let later = |seconds: i64| Timestamp(now.0 + seconds * 1_000_000);
        assert!(key.verify(&Method::GET, "/b", &header, now).is_err(), "another path");
        assert!(key.verify(&Method::POST, "/a", &header, now).is_err(), "another method");
        assert!(key.verify(&Method::GET, "/a", &header, later(31)).is_err(), "too old");
        assert!(key.verify(&Method::GET, "/a", &header, later(-6)).is_err(), "from the future");
        let other = ContextKey::new(&[8; 32]).expect("long enough");
        assert!(other.verify(&Method::GET, "/a", &header, now).is_err(), "another key");
        assert!(ContextKey::new(&[7; 31]).is_err(), "a short key");
    }
    #[test]
    fn every_sort_of_caller_arrives_as_it_was_sent() {
        let key = ContextKey::new(&[7; 32]).expect("long enough");
        let (now, known) = (Timestamp(1_000_000_000_000_000), context());
        let arrives = |context: SignedContext| {
            let header = key.sign(&Method::POST, "/a", &context, now);
            assert_eq!(key.verify(&Method::POST, "/a", &header, now).expect("verifies"), context);
        };
        let with = |change: fn(&mut Principal)| {
            let mut principal = known.principal.clone().expect("a caller");
            change(&mut principal);
            SignedContext { principal: Some(principal), ..known.clone() }
        };
        arrives(with(|principal| principal.kind = CredentialKind::ApiToken));
        arrives(with(|principal| {
            principal.actor = Actor::Superadmin(UserId::new());
            principal.elevated = Some("ticket 7: gebühren".into());
        }));
        arrives(with(|principal| principal.actor = Actor::System));
        arrives(SignedContext { principal: None, client: None, ..known.clone() });
        arrives(SignedContext { client: Some(ClientAddress([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into())), ..known });
    }
}
