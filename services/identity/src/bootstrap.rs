//! The first tenant, its administrator, and the one-use codes that let a person in without a
//! password. For the first start, the command line and tests; not for self-service.

use std::time::Duration;

use kernel::{Error, RequestId, Result, TenantId, Timestamp, UserId};
use sea_orm::{ActiveValue::Set, EntityTrait as _, QuerySelect as _};
use serde_json::json;
use service::Role;
use store::{Event, Purpose, Store, System, TenantRecord};

use crate::credentials::secret::Code;
use crate::ending::{Which, end_sessions};
use crate::enrol::{self, NewPerson};
use crate::queries::{self, Wanted};
use crate::tables::token::Secret;
use crate::tables::{code, membership, token, user};

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

/// Somebody to be added.
#[derive(Clone, Debug, Default)]
pub struct NewMember<'a> {
    /// The person's name.
    pub name: &'a str,
    /// The person's e-mail address.
    pub email: Option<&'a str>,
    /// The PHC string of the person's password.
    pub password_hash: Option<String>,
    /// Whether the person runs the platform.
    pub superadmin: bool,
}

/// Creates a tenant with an administrator and a sign-in code, unless there is a person already. The
/// first administrator runs the platform too.
pub async fn first_start(store: &Store) -> Result<Option<FirstStart>> {
    let system = store.system(Purpose::Bootstrap).await?;
    let any = user::Entity::find().limit(1);
    if system.one(any).await?.is_some() {
        system.close().await?;
        return Ok(None);
    }
    let tenant = match system.create_tenant("main", "Main organisation").await {
        Ok(tenant) => tenant,
        // Another process starts for the first time in the same moment, and shows its code.
        Err(error) if error.code() == "tenants.slug_taken" => {
            system.close().await?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let new = NewMember { name: "Administrator", superadmin: true, ..NewMember::default() };
    let member = insert_member(&system, tenant.id, &new, Role::Admin).await?;
    let sign_in = insert_code(&system, member).await?;
    system.commit().await?;
    Ok(Some(FirstStart { tenant, sign_in }))
}

/// Adds a person to a tenant.
pub async fn add_member(store: &Store, tenant: TenantId, new: &NewMember<'_>, role: Role) -> Result<Member> {
    let system = store.system(Purpose::Bootstrap).await?;
    let member = insert_member(&system, tenant, new, role).await?;
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

/// Gives a person the platform role superadmin, or takes it away; tells the person's organisations.
///
/// By id, not by address: anybody can be invited under an address that is not theirs.
pub async fn set_superadmin(store: &Store, user: UserId, superadmin: bool) -> Result<()> {
    use sea_orm::sea_query::Expr;
    use sea_orm::{ColumnTrait as _, QueryFilter as _, QueryTrait as _};
    let system = store.system(Purpose::Bootstrap).await?;
    let account = queries::account(&system, Wanted::User(user)).await?;
    let unknown = || Error::not_found("identity.no_person", format!("there is no person {user}"));
    let account = account.ok_or_else(unknown)?;
    let role = superadmin.then(|| Role::Superadmin.name().to_owned());
    let update = user::Entity::update_many()
        .col_expr(user::Column::PlatformRole, Expr::val(role))
        .filter(user::Column::Id.eq(account.user));
    system.execute(update.as_query()).await?;
    let (event, request) = ("identity.user.updated", RequestId::create());
    let event = Event::about(event, account.user, json!({ "superadmin": superadmin }));
    for place in &account.places {
        system.record(place.tenant, "operator", &request, &event).await?;
    }
    if !superadmin {
        end_sessions(&system, account.user, Which::Elevated, "operator", &request).await?;
    }
    system.commit().await
}

/// Gives a member an API token without asking anybody; for demo data and tests.
pub async fn issue_token(store: &Store, member: Member, name: &str) -> Result<String> {
    let system = store.system(Purpose::SignIn).await?;
    let (secret, actor) = (Secret::create()?, member.user.to_string());
    let row = token::ActiveModel {
        tenant_id: Set(member.tenant),
        id: Set(secret.id),
        user_id: Set(member.user),
        name: Set(name.to_owned()),
        secret_hash: Set(secret.hash()),
        expires_at: Set(system.now().plus(TOKEN_LIFETIME)),
        scopes: Set(None),
        last_used_at: Set(None),
        created_at: Set(system.now()),
        created_by: Set(actor.clone()),
        version: Set(1),
        updated_at: Set(system.now()),
        updated_by: Set(actor.clone()),
        deleted_at: Set(None),
    };
    system.insert(row).await?;
    let event = Event::about("identity.token.created", secret.id, json!({ "name": name, "user": member.user }));
    system.record(member.tenant, &actor, &RequestId::create(), &event).await?;
    system.commit().await?;
    Ok(secret.text())
}

async fn insert_member(system: &System, tenant: TenantId, new: &NewMember<'_>, role: Role) -> Result<Member> {
    let NewMember { name, email, password_hash, superadmin } = new.clone();
    let email = email.map(str::to_lowercase);
    let person = NewPerson { name, email: email.as_deref(), password_hash, superadmin };
    let user = enrol::person(system, person).await?;
    enrol::join(system, tenant, user, role, "system", &RequestId::create()).await?;
    Ok(Member { tenant, user })
}

async fn insert_code(system: &System, member: Member) -> Result<SignInCode> {
    let code = Code::short()?;
    let expires_at = system.now().plus(CODE_LIFETIME);
    let row = code::ActiveModel {
        code_hash: Set(code.hash()),
        tenant_id: Set(member.tenant),
        user_id: Set(member.user),
        created_at: Set(system.now()),
        expires_at: Set(expires_at),
        used_at: Set(None),
    };
    system.insert(row).await?;
    let event = Event::about("identity.sign_in_code.created", member.user, json!({ "expiresAt": expires_at }));
    system.record(member.tenant, "system", &RequestId::create(), &event).await?;
    Ok(SignInCode { code: code.text().to_owned(), expires_at })
}
