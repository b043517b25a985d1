//! The look-ups that join people, memberships, tenants and credentials: one statement each, because
//! a sign-in for an unknown person must ask the database exactly as often as one for a known one.
//! Not for changes.

use kernel::{Error, Result, TenantId, Timestamp, UserId};
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{QueryResult, TryGetable};
use service::Role;
use store::{System, TenantRecord};

use crate::tables::session::SessionId;
use crate::tables::token::TokenId;
use crate::tables::user;

/// What is true now of whoever holds a session or a token.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub tenant: TenantId,
    pub user: UserId,
    pub tenant_state: String,
    pub user_state: String,
    pub platform_role: Option<String>,
    /// The role in the tenant; nothing for who is no member.
    pub role: Option<String>,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    /// Of a session: why a superadmin is here.
    pub elevation: Option<String>,
    /// Of a token: SHA-256 of its secret, and what it is limited to.
    pub secret_hash: Vec<u8>,
    pub scopes: Option<String>,
}

/// A person who may be signing in.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub user: UserId,
    pub name: String,
    pub email: Option<String>,
    pub password_hash: Option<String>,
    pub platform_role: Option<String>,
    pub active: bool,
    /// Where the person is a member, in the order in which they joined.
    pub places: Vec<Membership>,
}

/// A membership with what is needed of its tenant.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub tenant: TenantId,
    pub slug: String,
    pub name: String,
    pub state: String,
    pub role: String,
}

impl Account {
    /// Says whether the person runs the platform.
    pub(crate) fn is_superadmin(&self) -> bool {
        self.platform_role.as_deref() == Some(Role::Superadmin.name())
    }
}

impl Membership {
    /// Returns what a superadmin is in a tenant: no member, and above its administrators.
    pub(crate) fn elevated(tenant: TenantRecord) -> Self {
        let TenantRecord { id, slug, name, state, .. } = tenant;
        Self { tenant: id, slug, name, state, role: Role::Superadmin.name().to_owned() }
    }
}

fn column(table: &str, name: &str) -> (Alias, Alias) {
    (Alias::new(table), Alias::new(name))
}

fn same(left: (&str, &str), right: (&str, &str)) -> Expr {
    Expr::col(column(left.0, left.1)).equals(column(right.0, right.1))
}

fn get<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T> {
    row.try_get("", name).map_err(store::from_database)
}

/// Selects the columns that sessions and tokens have in common, joined with who and where.
fn standing_of(table: &str) -> SelectStatement {
    let (session, token) = (table == "identity_session", table == "identity_token");
    let mut select = Query::select();
    for (name, alias) in [("tenant_id", "tenant"), ("user_id", "person"), ("expires_at", "expires_at")] {
        select.expr_as(Expr::col(column("c", name)), Alias::new(alias));
    }
    select
        .expr_as(Expr::col(column("c", "deleted_at")), Alias::new("revoked_at"))
        .expr_as(Expr::col(column("t", "state")), Alias::new("tenant_state"))
        .expr_as(Expr::col(column("u", "state")), Alias::new("user_state"))
        .expr_as(Expr::col(column("u", "platform_role")), Alias::new("platform_role"))
        .expr_as(Expr::col(column("m", "role")), Alias::new("role"));
    if session {
        select.expr_as(Expr::col(column("c", "elevation")), Alias::new("elevation"));
    }
    if token {
        select.expr_as(Expr::col(column("c", "secret_hash")), Alias::new("secret_hash"));
        select.expr_as(Expr::col(column("c", "scopes")), Alias::new("scopes"));
    }
    let member = same(("m", "tenant_id"), ("c", "tenant_id"))
        .and(same(("m", "user_id"), ("c", "user_id")))
        .and(Expr::col(column("m", "deleted_at")).is_null());
    select
        .from_as(Alias::new(table), Alias::new("c"))
        .join_as(
            sea_orm::JoinType::InnerJoin,
            Alias::new("identity_user"),
            Alias::new("u"),
            same(("u", "id"), ("c", "user_id")),
        )
        .join_as(
            sea_orm::JoinType::InnerJoin,
            Alias::new("tenant"),
            Alias::new("t"),
            same(("t", "id"), ("c", "tenant_id")),
        )
        .join_as(sea_orm::JoinType::LeftJoin, Alias::new("identity_membership"), Alias::new("m"), member)
        .take()
}

async fn standing(system: &System, select: SelectStatement, session: bool) -> Result<Option<Standing>> {
    let rows = system.rows(&select).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Standing {
        tenant: get(row, "tenant")?,
        user: get(row, "person")?,
        tenant_state: get(row, "tenant_state")?,
        user_state: get(row, "user_state")?,
        platform_role: get(row, "platform_role")?,
        role: get(row, "role")?,
        expires_at: get(row, "expires_at")?,
        revoked_at: get(row, "revoked_at")?,
        elevation: if session { get(row, "elevation")? } else { None },
        secret_hash: if session { Vec::new() } else { get(row, "secret_hash")? },
        scopes: if session { None } else { get(row, "scopes")? },
    }))
}

/// Returns what is true of a session's holder.
pub(crate) async fn of_session(system: &System, id: SessionId) -> Result<Option<Standing>> {
    let mut select = standing_of("identity_session");
    select.and_where(Expr::col(column("c", "id")).eq(id));
    standing(system, select, true).await
}

/// Returns what is true of an API token's holder.
pub(crate) async fn of_token(system: &System, id: TokenId) -> Result<Option<Standing>> {
    let mut select = standing_of("identity_token");
    select.and_where(Expr::col(column("c", "id")).eq(id));
    standing(system, select, false).await
}

/// Which account is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    Email(&'a str),
    User(UserId),
}

/// Finds an account with all its memberships, suspended organisations included.
pub(crate) async fn account(system: &System, wanted: Wanted<'_>) -> Result<Option<Account>> {
    let mut select = Query::select();
    for (table, name, alias) in [
        ("u", "id", "person"),
        ("u", "name", "person_name"),
        ("u", "email", "email"),
        ("u", "password_hash", "password_hash"),
        ("u", "platform_role", "platform_role"),
        ("u", "state", "user_state"),
        ("m", "tenant_id", "tenant"),
        ("m", "role", "role"),
        ("t", "slug", "slug"),
        ("t", "name", "tenant_name"),
        ("t", "state", "tenant_state"),
    ] {
        select.expr_as(Expr::col(column(table, name)), Alias::new(alias));
    }
    let member = same(("m", "user_id"), ("u", "id")).and(Expr::col(column("m", "deleted_at")).is_null());
    select
        .from_as(Alias::new("identity_user"), Alias::new("u"))
        .join_as(sea_orm::JoinType::LeftJoin, Alias::new("identity_membership"), Alias::new("m"), member)
        .join_as(
            sea_orm::JoinType::LeftJoin,
            Alias::new("tenant"),
            Alias::new("t"),
            same(("t", "id"), ("m", "tenant_id")),
        )
        .and_where(match wanted {
            Wanted::Email(email) => Expr::col(column("u", "email")).eq(email),
            Wanted::User(user) => Expr::col(column("u", "id")).eq(user),
        })
        .order_by(column("m", "created_at"), sea_orm::Order::Asc);
    let rows = system.rows(&select).await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let mut account = Account {
        user: get(first, "person")?,
        name: get(first, "person_name")?,
        email: get(first, "email")?,
        password_hash: get(first, "password_hash")?,
        platform_role: get(first, "platform_role")?,
        active: get::<String>(first, "user_state")? == user::ACTIVE,
        places: Vec::new(),
    };
    for row in &rows {
        let Some(tenant) = get::<Option<TenantId>>(row, "tenant")? else { continue };
        account.places.push(Membership {
            tenant,
            slug: get(row, "slug")?,
            name: get(row, "tenant_name")?,
            state: get(row, "tenant_state")?,
            role: get(row, "role")?,
        });
    }
    Ok(Some(account))
}

/// Something that must be there is not.
pub(crate) fn lost(what: &str) -> Error {
    Error::internal(format!("{what} is gone, which cannot be"))
}
