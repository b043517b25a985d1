//! Signing in with a one-use code, out again, and asking who one is. Not for passwords.

use axum::Extension;
use axum::extract::State;
use kernel::{Actor, Answer, Error, Id, TenantId, Text, Timestamp, UserId};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde::{Deserialize, Serialize};
use service::{Access, App, Operation};
use store::{Purpose, TenantRecord};
use utoipa::ToSchema;
use web::{Body, Caller, Principal, RequestIds};

use crate::bootstrap::{Member, code_hash, insert_token};
use crate::{code, membership, token, user};

/// What signing in takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignIn {
    /// A one-use code; `portico admin sign-in` prints one.
    code: Text<64>,
}

/// A signed-in person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SignedIn {
    /// The bearer token; it is shown only now.
    access_token: String,
    /// Always `Bearer`.
    token_type: String,
    /// When the token stops working.
    expires_at: Timestamp,
    /// The organisation that it is for.
    organization: Organization,
    /// Who it is.
    user: Person,
}

/// An organisation.
#[derive(Debug, Serialize, ToSchema)]
struct Organization {
    /// Names it.
    id: TenantId,
    /// Its short name in addresses.
    slug: String,
    /// Its name for people.
    name: String,
}

impl From<TenantRecord> for Organization {
    fn from(tenant: TenantRecord) -> Self {
        Self { id: tenant.id, slug: tenant.slug, name: tenant.name }
    }
}

/// A person in the organisation.
#[derive(Debug, Serialize, ToSchema)]
struct Person {
    /// Names the person.
    id: UserId,
    /// The person's name.
    name: String,
    /// The person's role in the organisation.
    role: String,
}

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// The organisation that the token is for.
    organization: Organization,
    /// The person.
    user: Person,
    /// What the person may do there.
    permissions: Vec<String>,
}

pub(crate) fn operations() -> [Operation; 3] {
    [
        Operation::post("/api/auth/login", "identity_sign_in", sign_in)
            .access(Access::Public)
            .describe(
                "Sign in with a one-use code",
                "Takes a code that the first start or `portico admin sign-in` printed and gives a bearer token. A code \
                 works once and for an hour; an unknown, a used and an expired one get the same answer.",
            )
            .takes::<SignIn>()
            .gives::<SignedIn>(200, "Signed in")
            .problems(&[400, 401, 415]),
        Operation::post("/api/auth/logout", "identity_sign_out", sign_out)
            .describe("Sign out", "Revokes the token that the request was made with.")
            .gives_other(204, "Signed out", &[]),
        Operation::get("/api/auth/me", "identity_get_me", me)
            .describe("Who am I", "Gives the person, the organisation and the permissions behind the token.")
            .gives::<Me>(200, "The caller"),
    ]
}

async fn sign_in(
    State(app): State<App>,
    Extension(ids): Extension<RequestIds>,
    Body(input): Body<SignIn>,
) -> web::Result {
    let hash = code_hash(input.code.as_str());
    let system = app.store.system(Purpose::SignIn).await?;
    // One statement, so that of two who use a code at the same moment one is refused.
    let used = code::Entity::update_many()
        .col_expr(code::Column::UsedAt, Expr::val(system.now()))
        .filter(code::Column::CodeHash.eq(hash.clone()))
        .filter(code::Column::UsedAt.is_null())
        .filter(Expr::col(code::Column::ExpiresAt).gt(system.now()));
    if system.execute(used.as_query()).await? == 0 {
        system.close().await?;
        tracing::info!(request.id = ids.request.as_str(), "a sign-in with a one-use code was refused");
        return Err(Error::unauthenticated("identity.invalid_code", "this code is not valid: ask for a new one").into());
    }
    let lost = || Error::internal("a sign-in code lost its member");
    let found = system.one(code::Entity::find_by_id(hash)).await?.ok_or_else(lost)?;
    let member = Member { tenant: found.tenant_id, user: found.user_id };
    let (access_token, expires_at) = insert_token(&system, member, "one-use sign-in", &ids.request).await?;
    let person = system.one(user::Entity::find_by_id(member.user)).await?.ok_or_else(lost)?;
    let role = membership::Entity::find()
        .filter(membership::Column::TenantId.eq(member.tenant))
        .filter(membership::Column::UserId.eq(member.user))
        .filter(membership::Column::DeletedAt.is_null());
    let role = system.one(role).await?.ok_or_else(lost)?.role;
    let organization = system.tenant(member.tenant).await?.into();
    system.commit().await?;
    let answer = SignedIn {
        access_token,
        token_type: "Bearer".to_owned(),
        expires_at,
        organization,
        user: Person { id: member.user, name: person.name, role },
    };
    Ok(Answer::ok(&answer)?.into())
}

async fn sign_out(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Caller(mut ctx): Caller,
) -> web::Result {
    let id: Id<token::Token> = principal.credential.parse()?;
    let mut writer = app.store.write(&mut ctx).await?;
    writer.change::<token::Entity>(id).delete().run("revoked").await?;
    Ok(writer.commit(Answer::no_content()).await?.into())
}

async fn me(State(app): State<App>, Extension(principal): Extension<Principal>, Caller(ctx): Caller) -> web::Result {
    let Actor::User(id) = principal.actor else {
        return Err(Error::not_found("identity.no_person", "this token is not a person's").into());
    };
    let system = app.store.system_read(Purpose::SignIn).await?;
    let person = system.one(user::Entity::find_by_id(id)).await?;
    let person = person.ok_or_else(|| Error::internal("a token lost its person"))?;
    let organization = system.tenant(ctx.tenant()).await?.into();
    system.close().await?;
    let answer = Me {
        organization,
        user: Person { id, name: person.name, role: principal.role.to_string() },
        permissions: ctx.permissions().iter().map(str::to_owned).collect(),
    };
    Ok(Answer::ok(&answer)?.into())
}
