//! The first tenant, its administrator, and the one-use codes that let a person in without a
//! password. For the first start, the command line and tests; not for self-service.

use std::time::Duration;

use kernel::{Error, Id, RequestId, Result, TenantId, Timestamp, UserId};
use sea_orm::{EntityTrait as _, QuerySelect as _, Set};
use serde_json::json;
use service::Role;
use sha2::{Digest as _, Sha256};
use store::{Event, Purpose, Store, System, TenantRecord};

use crate::token::{Secret, hex};
use crate::{code, membership, token, user};

/// How long a one-use code works.
const CODE_LIFETIME: Duration = Duration::from_secs(3600);
/// How long a token works.
const TOKEN_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);

/// A one-use sign-in code, shown once.
#[derive(Clone, Debug)]
pub struct SignInCode {
    /// What is typed in.
    pub code: String,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// What a first start made.
#[derive(Clone, Debug)]
pub struct FirstStart {
    /// The tenant.
    pub tenant: TenantRecord,
    /// How its administrator gets in.
    pub sign_in: SignInCode,
}

/// A person in a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The tenant.
    pub tenant: TenantId,
    /// The person.
    pub user: UserId,
}

/// Returns random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::internal(format!("the system's random source failed: {error}")))?;
    Ok(bytes)
}

/// Creates a tenant with an administrator and a sign-in code, unless there is a tenant already.
pub async fn first_start(store: &Store) -> Result<Option<FirstStart>> {
    let system = store.system(Purpose::Bootstrap).await?;
    let any = user::Entity::find().limit(1);
    if system.one(any).await?.is_some() {
        system.close().await?;
        return Ok(None);
    }
    let tenant = system.create_tenant("main", "Main organisation").await?;
    let member = insert_member(&system, tenant.id, "Administrator", Role::Admin).await?;
    let sign_in = insert_code(&system, member).await?;
    system.commit().await?;
    Ok(Some(FirstStart { tenant, sign_in }))
}

/// Adds a person to a tenant.
pub async fn add_member(store: &Store, tenant: TenantId, name: &str, role: Role) -> Result<Member> {
    let system = store.system(Purpose::Bootstrap).await?;
    let member = insert_member(&system, tenant, name, role).await?;
    system.commit().await?;
    Ok(member)
}

/// Creates a one-use sign-in code for the tenant's longest-serving administrator.
pub async fn create_sign_in_code(store: &Store, slug: &str) -> Result<SignInCode> {
    use sea_orm::{ColumnTrait as _, QueryFilter as _, QueryOrder as _};
    let system = store.system(Purpose::Bootstrap).await?;
    let unknown = || Error::not_found("tenants.not_found", format!("there is no organisation called {slug}"));
    let tenant = system.tenant_by_slug(slug).await?.ok_or_else(unknown)?;
    let admins = membership::Entity::find()
        .filter(membership::Column::TenantId.eq(tenant.id))
        .filter(membership::Column::Role.eq(Role::Admin.name()))
        .filter(membership::Column::DeletedAt.is_null())
        .order_by_asc(membership::Column::CreatedAt);
    let none = || Error::not_found("identity.no_administrator", format!("{slug} has no administrator"));
    let admin = system.one(admins).await?.ok_or_else(none)?;
    let code = insert_code(&system, Member { tenant: tenant.id, user: admin.user_id }).await?;
    system.commit().await?;
    Ok(code)
}

/// Gives a member a bearer token without a sign-in; for demo data and tests.
pub async fn issue_token(store: &Store, member: Member, name: &str) -> Result<String> {
    let system = store.system(Purpose::SignIn).await?;
    let (text, _) = insert_token(&system, member, name, &RequestId::create()).await?;
    system.commit().await?;
    Ok(text)
}

async fn insert_member(system: &System, tenant: TenantId, name: &str, role: Role) -> Result<Member> {
    let (now, actor) = (system.now(), "system".to_owned());
    let user = UserId::new();
    system
        .insert(user::ActiveModel { id: Set(user), email: Set(None), name: Set(name.to_owned()), created_at: Set(now) })
        .await?;
    let row = membership::ActiveModel {
        tenant_id: Set(tenant),
        id: Set(Id::new()),
        user_id: Set(user),
        role: Set(role.name().to_owned()),
        created_at: Set(now),
        created_by: Set(actor.clone()),
        version: Set(1),
        updated_at: Set(now),
        updated_by: Set(actor),
        deleted_at: Set(None),
    };
    system.insert(row).await?;
    Ok(Member { tenant, user })
}

async fn insert_code(system: &System, member: Member) -> Result<SignInCode> {
    let digits = hex(&random::<10>()?);
    let groups: Vec<&str> = (0..4).map(|group| &digits[group * 5..group * 5 + 5]).collect();
    let code = groups.join("-");
    let expires_at = system.now().plus(CODE_LIFETIME);
    let row = code::ActiveModel {
        code_hash: Set(code_hash(&code)),
        tenant_id: Set(member.tenant),
        user_id: Set(member.user),
        created_at: Set(system.now()),
        expires_at: Set(expires_at),
        used_at: Set(None),
    };
    system.insert(row).await?;
    Ok(SignInCode { code, expires_at })
}

pub(crate) fn code_hash(code: &str) -> Vec<u8> {
    let typed: String = code.trim().to_ascii_lowercase().chars().filter(|letter| *letter != '-').collect();
    Sha256::digest(typed).to_vec()
}

/// Inserts a token and its audit event; gives the token's text and when it expires.
pub(crate) async fn insert_token(
    system: &System,
    member: Member,
    name: &str,
    request: &RequestId,
) -> Result<(String, Timestamp)> {
    let (secret, actor) = (Secret::create()?, member.user.to_string());
    let expires_at = system.now().plus(TOKEN_LIFETIME);
    let row = token::ActiveModel {
        tenant_id: Set(member.tenant),
        id: Set(secret.id),
        user_id: Set(member.user),
        name: Set(name.to_owned()),
        secret_hash: Set(secret.hash()),
        expires_at: Set(expires_at),
        created_at: Set(system.now()),
        created_by: Set(actor.clone()),
        version: Set(1),
        updated_at: Set(system.now()),
        updated_by: Set(actor.clone()),
        deleted_at: Set(None),
    };
    system.insert(row).await?;
    let event = Event::about("identity.sign_in.succeeded", member.user, json!({ "token": secret.id, "name": name }));
    system.record(member.tenant, &actor, request, &event).await?;
    Ok((secret.text(), expires_at))
}
