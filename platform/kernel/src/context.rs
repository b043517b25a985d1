//! Who asks, for which tenant, under which request. Built once per request by the extractor of
//! `web`, and not Clone: holding a `Ctx` is the proof that somebody checked. Not a bag for other
//! state.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{Error, Result, TenantId, UserId};

/// A permission, `service.resource.verb`.
pub type Permission = &'static str;

/// A bounded id of a request or of a chain of requests: 1 to 128 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Returns the id when it keeps the rules.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let keeps = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
        keeps.then(|| Self(text.into()))
    }

    /// Returns a new id.
    pub fn create() -> Self {
        let mut text = uuid::Uuid::encode_buffer();
        Self((&*crate::TenantId::new().uuid().hyphenated().encode_lower(&mut text)).into())
    }

    /// Returns the id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A signed-in person.
    User(UserId),
    /// A platform operator who acts inside a tenant.
    Superadmin(UserId),
    /// The product itself, such as first start or a relay.
    System,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(id) => id.fmt(f),
            Self::Superadmin(id) => write!(f, "superadmin:{id}"),
            Self::System => f.write_str("system"),
        }
    }
}

/// What somebody may do.
// A tree on purpose: a sorted slice was measured slower at every size, and a hash set forgets the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet(Arc<BTreeSet<String>>);

impl PermissionSet {
    /// Returns the set of these permissions.
    pub fn new(permissions: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(Arc::new(permissions.into_iter().map(Into::into).collect()))
    }

    /// Says whether the permission is in the set.
    pub fn allows(&self, permission: &str) -> bool {
        self.0.contains(permission)
    }

    /// Returns what both sets have: the scopes of an API token, cut by its owner's rights.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(Arc::new(self.0.intersection(&other.0).cloned().collect()))
    }

    /// Returns the permissions in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// The idempotency key of a request, with the fingerprint that tells the same request from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key as the client sent it.
    pub key: String,
    /// Method and path: the same key on another route is another key.
    pub scope: String,
    /// SHA-256 over query, content type and body.
    pub fingerprint: [u8; 32],
}

/// The parts of a [`Ctx`], for the one place that builds it.
#[derive(Clone, Debug)]
pub struct CtxParts {
    /// The tenant whose rows may be touched.
    pub tenant: TenantId,
    /// Who acts.
    pub actor: Actor,
    /// What the actor may do in this tenant.
    pub permissions: PermissionSet,
    /// The id of this request.
    pub request_id: RequestId,
    /// The id of the chain of requests that this one belongs to.
    pub correlation_id: RequestId,
    /// The request's idempotency key.
    pub idempotency: Option<Idempotency>,
    /// Why a superadmin does it.
    pub reason: Option<String>,
}

/// Says who asks, for which tenant, under which request.
#[derive(Debug)]
pub struct Ctx {
    parts: CtxParts,
}

impl Ctx {
    /// Returns the context of one request. Only the extractor, jobs and tests call this.
    pub fn new(parts: CtxParts) -> Self {
        Self { parts }
    }

    /// Returns the tenant.
    pub fn tenant(&self) -> TenantId {
        self.parts.tenant
    }

    /// Returns who acts.
    pub fn actor(&self) -> &Actor {
        &self.parts.actor
    }

    /// Returns what the actor may do.
    pub fn permissions(&self) -> &PermissionSet {
        &self.parts.permissions
    }

    /// Returns the request's id.
    pub fn request_id(&self) -> &RequestId {
        &self.parts.request_id
    }

    /// Returns the id of the chain of requests.
    pub fn correlation_id(&self) -> &RequestId {
        &self.parts.correlation_id
    }

    /// Returns why a superadmin does it; nothing for everybody else.
    pub fn reason(&self) -> Option<&str> {
        self.parts.reason.as_deref()
    }

    /// Refuses unless the actor has the permission.
    pub fn require(&self, permission: Permission) -> Result<()> {
        if self.parts.permissions.allows(permission) {
            return Ok(());
        }
        Err(Error::forbidden("request.forbidden", format!("this needs the permission {permission}")))
    }

    /// Takes the idempotency key; the first Writer of a request stores it, a second one must not.
    pub fn take_idempotency(&mut self) -> Option<Idempotency> {
        self.parts.idempotency.take()
    }

    /// Gives the idempotency key back, for a handler that had to read a body before its fingerprint was known.
    pub fn give_idempotency(&mut self, idempotency: Idempotency) {
        self.parts.idempotency = Some(idempotency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intersection_has_only_what_both_sets_have() {
        let scopes = PermissionSet::new(["a.items.read", "a.items.write", "b.orders.read"]);
        let rights = PermissionSet::new(["a.items.read", "b.orders.read", "c.flags.read"]);
        let both = scopes.intersection(&rights);
        assert_eq!(both.iter().collect::<Vec<_>>(), ["a.items.read", "b.orders.read"]);
        assert_eq!(both, rights.intersection(&scopes));
        assert!(both.allows("a.items.read") && !both.allows("a.items.write") && !both.allows("c.flags.read"));
        assert_eq!(scopes.intersection(&PermissionSet::default()), PermissionSet::default());
    }

    #[test]
    fn an_actor_says_in_which_role_a_person_acts() {
        let user = UserId::new();
        assert_eq!(Actor::User(user).to_string(), user.to_string());
        assert_eq!(Actor::Superadmin(user).to_string(), format!("superadmin:{user}"));
        assert!(user.to_string().starts_with("usr_"));
        assert_eq!(Actor::System.to_string(), "system");
    }
}
