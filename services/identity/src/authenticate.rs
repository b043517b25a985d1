//! From a bearer token to a checked caller. The gateway asks this once per request; the answer is
//! the same for an unknown, an expired and a revoked token. Not for deciding what a route needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Actor, Error, PermissionSet, Result};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use service::{Role, Service};
use store::{Purpose, Store};
use web::Principal;

use crate::token::Secret;
use crate::{membership, token};

/// What each role may do, gathered from all services.
#[derive(Clone, Debug)]
pub struct RolePermissions(Arc<BTreeMap<Role, PermissionSet>>);

impl RolePermissions {
    /// Gathers the permissions that the services declare.
    pub fn of(services: &[Service]) -> Self {
        let set = |role: Role| {
            let allowed = services.iter().flat_map(|service| &service.permissions).filter(|known| known.role <= role);
            (role, PermissionSet::new(allowed.map(|known| known.name)))
        };
        Self(Arc::new([Role::Viewer, Role::Staff, Role::Admin].map(set).into_iter().collect()))
    }

    fn of_role(&self, name: &str) -> PermissionSet {
        Role::named(name).and_then(|role| self.0.get(&role)).cloned().unwrap_or_default()
    }
}

/// Checks bearer tokens.
#[derive(Clone)]
pub struct Authenticator {
    store: Store,
    roles: RolePermissions,
}

impl Authenticator {
    /// Returns an authenticator over this store.
    pub fn new(store: Store, roles: RolePermissions) -> Self {
        Self { store, roles }
    }

    /// Returns the caller behind a token.
    pub async fn bearer(&self, text: &str) -> Result<Principal> {
        let refused = || Error::unauthenticated("request.unauthenticated", "send a valid bearer token");
        let secret = Secret::parse(text).ok_or_else(refused)?;
        let system = self.store.system_read(Purpose::SignIn).await?;
        let found = system.one(token::Entity::find().filter(token::Column::Id.eq(secret.id))).await?;
        let valid = |row: &token::Model| {
            secret.matches(&row.secret_hash) && row.deleted_at.is_none() && row.expires_at > system.now()
        };
        let token = found.filter(valid).ok_or_else(refused)?;
        let member = membership::Entity::find()
            .filter(membership::Column::TenantId.eq(token.tenant_id))
            .filter(membership::Column::UserId.eq(token.user_id))
            .filter(membership::Column::DeletedAt.is_null());
        let member = system.one(member).await?.ok_or_else(refused)?;
        let tenant = system.tenant(token.tenant_id).await?;
        system.close().await?;
        if tenant.state != "active" {
            return Err(Error::forbidden("tenants.suspended", "this organisation is suspended"));
        }
        Ok(Principal {
            tenant: token.tenant_id,
            actor: Actor::User(token.user_id),
            permissions: self.roles.of_role(&member.role),
            role: member.role.into(),
            credential: token.id.to_string().into(),
        })
    }
}
