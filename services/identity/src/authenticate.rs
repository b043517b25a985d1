//! From a bearer token to a checked caller. The gateway asks this when it does not know the token;
//! the answer is the same for an unknown, an expired and a revoked one. What a caller may do is read
//! from the database as it is now: the role in an access token is for others who verify it. Not for
//! deciding what a route needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Actor, Error, PermissionSet, Result, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use service::{Role, Service};
use store::{Purpose, Store};
use web::{CredentialKind, Principal};

use crate::credentials::access_token::{self, Refusal};
use crate::credentials::ticket::Ticket;
use crate::queries::{self, Standing};
use crate::state::{Credential, Identity};
use crate::tables::session::SessionId;
use crate::tables::token::{Secret, TokenId};
use crate::tables::{ticket, user};

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
        Self(Arc::new([Role::Viewer, Role::Staff, Role::Admin, Role::Superadmin].map(set).into_iter().collect()))
    }

    fn of_role(&self, role: Role) -> PermissionSet {
        self.0.get(&role).cloned().unwrap_or_default()
    }
}

/// A caller whose token was checked, and until when the token works by itself.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The caller.
    pub principal: Principal,
    /// When the token runs out.
    pub until: Timestamp,
}

/// Checks bearer tokens.
#[derive(Clone)]
pub struct Authenticator {
    identity: Identity,
    store: Store,
    roles: RolePermissions,
}

fn refused() -> Error {
    Error::unauthenticated("request.unauthenticated", "send a valid bearer token")
}

impl Authenticator {
    /// Returns an authenticator over this store.
    pub fn new(identity: Identity, store: Store, roles: RolePermissions) -> Self {
        Self { identity, store, roles }
    }

    /// Returns the caller behind a token.
    pub async fn bearer(&self, text: &str) -> Result<Authenticated> {
        match Secret::parse(text) {
            Some(secret) => self.api_token(&secret).await,
            None => self.access_token(text).await,
        }
    }

    async fn api_token(&self, secret: &Secret) -> Result<Authenticated> {
        let system = self.store.system_read(Purpose::SignIn).await?;
        let (found, now) = (queries::of_token(&system, secret.id).await?, system.now());
        system.close().await?;
        let valid = |found: &Standing| secret.matches(&found.secret_hash);
        self.holder_of_token(found.filter(valid).ok_or_else(refused)?, secret.id, now)
    }

    /// Says who an API token's holder is now, and what of it the token may do.
    fn holder_of_token(&self, found: Standing, id: TokenId, now: Timestamp) -> Result<Authenticated> {
        let scopes = found.scopes.as_deref().map(serde_json::from_str::<Vec<String>>).transpose();
        let scopes = scopes.map_err(|error| Error::internal("stored scopes are damaged").source_error(error))?;
        let until = found.expires_at;
        let mut principal = self.caller(found, now)?;
        // What the token was limited to, as far as its owner has it now.
        if let Some(scopes) = scopes {
            principal.permissions = principal.permissions.intersection(&PermissionSet::new(scopes));
        }
        principal.credential = id.to_string().into();
        principal.kind = CredentialKind::ApiToken;
        self.identity.saw(Credential::Token(principal.tenant, id), now);
        Ok(Authenticated { principal, until })
    }

    async fn access_token(&self, text: &str) -> Result<Authenticated> {
        let (identity, now) = (&self.identity, self.store.clock().now());
        let mut verified = access_token::verify(identity.keys(), identity.settings(), text, now);
        // Another process may have begun to sign with a key that this one has not met.
        if verified == Err(Refusal::UnknownKey) && identity.keys().may_look_again(now) {
            identity.keep_keys(&self.store).await?;
            verified = access_token::verify(identity.keys(), identity.settings(), text, now);
        }
        let claims = verified.map_err(|why| refused().context(format!("{why:?}")))?;
        let system = self.store.system_read(Purpose::SignIn).await?;
        let found = queries::of_session(&system, claims.sid).await?;
        system.close().await?;
        let same = |found: &Standing| found.tenant == claims.organization && found.user == claims.sub;
        let found = found.filter(same).ok_or_else(refused)?;
        let mut holder = self.holder_of_session(found, claims.sid, now)?;
        holder.until = holder.until.min(Timestamp(claims.exp * 1_000_000));
        Ok(holder)
    }

    /// Says who a session's holder is now.
    fn holder_of_session(&self, found: Standing, id: SessionId, now: Timestamp) -> Result<Authenticated> {
        let until = found.expires_at;
        let mut principal = self.caller(found, now)?;
        principal.credential = id.to_string().into();
        self.identity.saw(Credential::Session(principal.tenant, id), now);
        Ok(Authenticated { principal, until })
    }

    /// Returns the caller behind a ticket for this path, and spends it.
    pub async fn ticket(&self, text: &str, path: &str) -> Result<Authenticated> {
        let hash = Ticket::parse(text).ok_or_else(refused)?.hash();
        let now = self.store.clock().now();
        let stands = |row: &ticket::Model| row.path == path && row.used_at.is_none() && row.expires_at > now;
        // A look first: the write lane is not for what strangers make up.
        let system = self.store.system_read(Purpose::SignIn).await?;
        let found = system.one(ticket::Entity::find_by_id(hash.clone())).await?;
        system.close().await?;
        let row = found.filter(stands).ok_or_else(refused)?;
        // One statement, so that of two who come with it at the same moment one is refused.
        let spend = ticket::Entity::update_many()
            .col_expr(ticket::Column::UsedAt, Expr::val(now))
            .filter(ticket::Column::TicketHash.eq(hash))
            .filter(ticket::Column::UsedAt.is_null());
        let system = self.store.system(Purpose::SignIn).await?;
        if system.execute(spend.as_query()).await? == 0 {
            system.close().await?;
            return Err(refused());
        }
        let (session, token) = (row.credential.parse::<SessionId>(), row.credential.parse::<TokenId>());
        let found = match (&session, &token) {
            (Ok(id), _) => queries::of_session(&system, *id).await?,
            (_, Ok(id)) => queries::of_token(&system, *id).await?,
            _ => None,
        };
        system.commit().await?;
        let same = |found: &Standing| found.tenant == row.tenant_id && found.user == row.user_id;
        let found = found.filter(same).ok_or_else(refused)?;
        let mut holder = match (session, token) {
            (Ok(id), _) => self.holder_of_session(found, id, now)?,
            (_, Ok(id)) => self.holder_of_token(found, id, now)?,
            _ => return Err(refused()),
        };
        holder.until = holder.until.min(row.until);
        Ok(holder)
    }

    /// Says who a credential's holder is now, if the credential still stands.
    fn caller(&self, found: Standing, now: Timestamp) -> Result<Principal> {
        if found.revoked_at.is_some() || found.expires_at <= now || found.user_state != user::ACTIVE {
            return Err(refused());
        }
        let superadmin = found.platform_role.as_deref() == Some(Role::Superadmin.name());
        let (actor, role) = match (&found.elevation, &found.role) {
            (Some(_), _) if superadmin => (Actor::Superadmin(found.user), Role::Superadmin),
            (None, Some(name)) => (Actor::User(found.user), Role::named(name).ok_or_else(refused)?),
            _ => return Err(refused()),
        };
        // Somebody has to look after a suspended tenant: a superadmin works in it, and one who is at home
        // in it may sign in and enter it, and nothing else.
        let suspended_home = found.tenant_state != "active" && role != Role::Superadmin;
        if suspended_home && !superadmin {
            return Err(suspended());
        }
        let permissions = if suspended_home { PermissionSet::default() } else { self.roles.of_role(role) };
        Ok(Principal {
            tenant: found.tenant,
            actor,
            role: role.name().into(),
            permissions,
            credential: "".into(),
            kind: CredentialKind::Session,
            elevated: found.elevation.map(Into::into),
        })
    }
}

/// The organisation's people may not work now.
pub(crate) fn suspended() -> Error {
    Error::forbidden("tenants.suspended", "this organisation is suspended")
}

/// The one refusal of everybody who did not prove who they are.
pub(crate) fn invalid_credentials() -> Error {
    Error::unauthenticated("identity.invalid_credentials", "e-mail address or password is wrong")
}

/// The one refusal of codes that are unknown, used or out of date; which of these is not said.
pub(crate) fn invalid_code() -> Error {
    Error::unauthenticated("identity.invalid_code", "this code is not valid: ask for a new one")
}
