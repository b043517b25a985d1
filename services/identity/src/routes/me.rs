//! Who the caller is, what the caller is called, and signing out. Not for other people: see
//! `members`.

use axum::Extension;
use axum::extract::State;
use kernel::{Actor, Answer, Error, Result, Text, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use service::{Access, App, Operation};
use store::{Event, Purpose};
use utoipa::ToSchema;
use web::{Body, Caller, CredentialKind, Principal};

use crate::opening::{Organization, Person};
use crate::queries::{self, Account, Wanted};
use crate::tables::user::{self, Email};
use crate::tables::{session, token};

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
struct Me {
    /// The organisation that the credential is for.
    organization: Organization,
    /// The person.
    user: Person,
    /// What the credential may do there.
    permissions: Vec<String>,
    /// Names the session or the API token.
    credential: String,
    /// Where the person is a member; empty for API tokens.
    organizations: Vec<MembershipView>,
}

/// A membership.
#[derive(Debug, Serialize, ToSchema)]
struct MembershipView {
    /// The organisation.
    #[serde(flatten)]
    organization: Organization,
    /// The person's role there.
    role: String,
}

/// What the caller may change of their own account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChangeMe {
    /// The person's name.
    name: Option<Text<100>>,
    /// The person's e-mail address; only while there is none.
    email: Option<Email>,
}

pub(crate) fn operations() -> [Operation; 4] {
    let read = |path: &'static str, id: &str| {
        Operation::get(path, id, me)
            .describe("Who am I", "Gives the person, the organisation and the permissions behind the credential.")
            .gives::<Me>(200, "The caller")
    };
    [
        read("/api/auth/me", "identity_get_me"),
        read("/api/users/profile", "identity_get_profile"),
        Operation::new(http::Method::PATCH, "/api/auth/me", "identity_change_me", change)
            .access(Access::Session)
            .describe(
                "Change my name",
                "Changes the person's name. An e-mail address can be added while there is none, as after the first \
                 start; changing one would hand the account over and is not possible here.",
            )
            .takes::<ChangeMe>()
            .gives::<Me>(200, "Changed")
            .problems(&[400, 403, 409, 415]),
        Operation::post("/api/auth/logout", "identity_sign_out", sign_out)
            .describe("Sign out", "Ends the session, or revokes the API token, that the request was made with.")
            .gives_other(204, "Signed out", &[]),
    ]
}

/// Returns the person behind a credential.
pub(crate) fn person_of(principal: &Principal) -> Result<UserId> {
    match principal.actor {
        Actor::User(id) | Actor::Superadmin(id) => Ok(id),
        Actor::System => Err(Error::not_found("identity.no_person", "this credential is not a person's")),
    }
}

fn shown(principal: &Principal, account: Account, organization: Organization) -> Me {
    Me {
        organization,
        user: Person { id: account.user, name: account.name, email: account.email, role: principal.role.to_string() },
        permissions: principal.permissions.iter().map(str::to_owned).collect(),
        credential: principal.credential.to_string(),
        // A program learns of the organisation that it works for and of no other.
        organizations: account
            .places
            .iter()
            .filter(|_| principal.kind == CredentialKind::Session)
            .map(|place| MembershipView { organization: place.into(), role: place.role.clone() })
            .collect(),
    }
}

async fn me(State(app): State<App>, Extension(principal): Extension<Principal>, Caller(ctx): Caller) -> web::Result {
    let system = app.store.system_read(Purpose::SignIn).await?;
    let account = queries::account(&system, Wanted::User(person_of(&principal)?)).await?;
    let organization = system.tenant(ctx.tenant()).await?.into();
    system.close().await?;
    let account = account.ok_or_else(|| queries::lost("the person of a credential"))?;
    Ok(Answer::ok(&shown(&principal, account, organization))?.into())
}

async fn change(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Caller(ctx): Caller,
    Body(input): Body<ChangeMe>,
) -> web::Result {
    let user = person_of(&principal)?;
    let system = app.store.system(Purpose::SignIn).await?;
    let mut changed = Vec::new();
    if let Some(name) = &input.name {
        let update = user::Entity::update_many()
            .col_expr(user::Column::Name, Expr::val(name.as_str()))
            .filter(user::Column::Id.eq(user));
        system.execute(update.as_query()).await?;
        changed.push("name");
    }
    if let Some(email) = &input.email {
        let update = user::Entity::update_many()
            .col_expr(user::Column::Email, Expr::val(email.as_str()))
            .filter(user::Column::Id.eq(user))
            .filter(user::Column::Email.is_null());
        if system.execute(update.as_query()).await? == 0 {
            let message = "the e-mail address of an account cannot be changed here";
            return Err(Error::conflict("identity.email_fixed", message).into());
        }
        changed.push("email");
    }
    if !changed.is_empty() {
        let event = Event::about("identity.user.renamed", user, json!({ "changed": changed }));
        system.record_for(ctx.tenant(), &ctx, &event).await?;
    }
    let account = queries::account(&system, Wanted::User(user)).await?;
    let organization = system.tenant(ctx.tenant()).await?.into();
    system.commit().await?;
    let account = account.ok_or_else(|| queries::lost("the person of a credential"))?;
    Ok(Answer::ok(&shown(&principal, account, organization))?.into())
}

async fn sign_out(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Caller(mut ctx): Caller,
) -> web::Result {
    let mut writer = app.store.write(&mut ctx).await?;
    // Somebody else may have revoked it in the same moment: signed out is signed out.
    match principal.kind {
        CredentialKind::Session => {
            let id = principal.credential.parse()?;
            writer.change::<session::Entity>(id).delete().run_if("revoked").await?;
        }
        CredentialKind::ApiToken => {
            let id = principal.credential.parse()?;
            writer.change::<token::Entity>(id).delete().run_if("revoked").await?;
        }
    }
    Ok(writer.commit(Answer::no_content()).await?.into())
}
