//! Carries a checked caller from the gateway to a service in another process: one header, signed
//! with the cluster's key (HMAC-SHA-256), bound to method and path, good for thirty seconds. The
//! gateway strips the header from every request that comes from outside. Not for people: tokens
//! are the identity service's.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderName, HeaderValue, Method};
use kernel::{Actor, Error, PermissionSet, RequestId, Result, TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::request::{Principal, RequestIds};

/// Carries the signed caller.
pub const CONTEXT_HEADER: HeaderName = HeaderName::from_static("x-portico-context");

const LIFETIME_SECONDS: i64 = 30;
const SKEW_SECONDS: i64 = 5;

/// The key that all processes of one installation share.
#[derive(Clone)]
pub struct ContextKey(Arc<[u8]>);

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(rename = "iat")]
    issued: i64,
    #[serde(rename = "rid")]
    request: String,
    #[serde(rename = "cid")]
    correlation: String,
    #[serde(rename = "prn")]
    principal: Option<PrincipalClaims>,
}

#[derive(Serialize, Deserialize)]
struct PrincipalClaims {
    tenant: TenantId,
    user: Option<UserId>,
    role: String,
    permissions: Vec<String>,
    credential: String,
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

    /// Signs the caller for one request.
    pub fn sign(
        &self,
        method: &Method,
        path: &str,
        ids: &RequestIds,
        principal: Option<&Principal>,
        now: Timestamp,
    ) -> HeaderValue {
        let claims = Claims {
            issued: now.seconds(),
            request: ids.request.as_str().to_owned(),
            correlation: ids.correlation.as_str().to_owned(),
            principal: principal.map(|principal| PrincipalClaims {
                tenant: principal.tenant,
                user: match principal.actor {
                    Actor::User(user) => Some(user),
                    Actor::System => None,
                },
                role: principal.role.to_string(),
                permissions: principal.permissions.iter().map(str::to_owned).collect(),
                credential: principal.credential.to_string(),
            }),
        };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).expect("claims are plain data"));
        let tag = URL_SAFE_NO_PAD.encode(self.mac(method, path, &payload).finalize().into_bytes());
        HeaderValue::try_from(format!("{payload}.{tag}")).expect("base64 is valid in a header")
    }

    /// Checks a signed caller.
    pub fn verify(
        &self,
        method: &Method,
        path: &str,
        header: &HeaderValue,
        now: Timestamp,
    ) -> Result<(RequestIds, Option<Principal>)> {
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
        let principal = claims.principal.map(|claims| Principal {
            tenant: claims.tenant,
            actor: claims.user.map_or(Actor::System, Actor::User),
            role: claims.role.into(),
            permissions: PermissionSet::new(claims.permissions),
            credential: claims.credential.into(),
        });
        Ok((ids, principal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_good_for_its_own_request_and_for_thirty_seconds() {
        let key = ContextKey::new(&[7; 32]).expect("long enough");
        let ids = RequestIds { request: RequestId::create(), correlation: RequestId::create() };
        let principal = Principal {
            tenant: TenantId::new(),
            actor: Actor::User(UserId::new()),
            role: "admin".into(),
            permissions: PermissionSet::new(["inventory.items.read"]),
            credential: "tok_1".into(),
        };
        let now = Timestamp(1_000_000_000_000_000);
        let header = key.sign(&Method::GET, "/a", &ids, Some(&principal), now);
        let (_, found) = key.verify(&Method::GET, "/a", &header, now).expect("verifies");
        assert_eq!(found, Some(principal));
        let later = |seconds: i64| Timestamp(now.0 + seconds * 1_000_000);
        assert!(key.verify(&Method::GET, "/b", &header, now).is_err(), "another path");
        assert!(key.verify(&Method::POST, "/a", &header, now).is_err(), "another method");
        assert!(key.verify(&Method::GET, "/a", &header, later(31)).is_err(), "too old");
        assert!(key.verify(&Method::GET, "/a", &header, later(-6)).is_err(), "from the future");
        let other = ContextKey::new(&[8; 32]).expect("long enough");
        assert!(other.verify(&Method::GET, "/a", &header, now).is_err(), "another key");
        assert!(ContextKey::new(&[7; 31]).is_err(), "a short key");
    }
}
