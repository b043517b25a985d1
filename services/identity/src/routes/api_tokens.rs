//! The caller's API tokens: making one (its text is shown once), listing, revoking. A token can do
//! what its scopes name as far as its owner may do it at the time of the request. Not for recognising
//! them: see `authenticate`.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kernel::{Answer, Error, Result, Text, Timestamp};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, Order};
use serde::{Deserialize, Serialize};
use service::{Access, App, Operation};
use store::not_found;
use utoipa::ToSchema;
use web::{Body, Caller, Path, Principal, Problem};

use crate::opening::not_stored;
use crate::routes::me::person_of;
use crate::tables::token::{ActiveModel, Column, Entity, Model, Secret, TokenId};

/// How many tokens that work one person may have in one organisation.
const MOST: u64 = 100;
const USUAL_DAYS: u64 = 90;
const MOST_DAYS: u64 = 365;

/// What a new API token is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateApiToken {
    /// What it is for.
    name: Text<100>,
    /// The permissions that it is limited to; without them, all that its owner has.
    #[schema(examples(json!(["inventory.items.read"])))]
    scopes: Option<Vec<String>>,
    /// For how many days it works: 1 to 365; 90 unless said.
    #[schema(minimum = 1, maximum = 365)]
    expires_in_days: Option<u64>,
}

/// An API token, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApiTokenView {
    /// Names the token.
    id: TokenId,
    /// What it is for.
    name: String,
    /// The permissions that it is limited to; null means all of its owner's.
    scopes: Option<Vec<String>>,
    /// When it was made.
    created_at: Timestamp,
    /// When it stops working.
    expires_at: Timestamp,
    /// When it was last used, to about a minute.
    last_used_at: Option<Timestamp>,
}

/// A new API token.
#[derive(Debug, Serialize, ToSchema)]
struct NewApiToken {
    /// The token; it is shown only now, and not in the stored answer of a request that is sent again.
    #[schema(required = false)]
    token: String,
    /// What is remembered of it.
    #[serde(flatten)]
    shown: ApiTokenView,
}

/// The tokens.
#[derive(Debug, Serialize, ToSchema)]
struct ApiTokens {
    /// The tokens, the newest first.
    items: Vec<ApiTokenView>,
}

pub(crate) fn operations() -> [Operation; 3] {
    [
        Operation::get("/api/auth/tokens", "identity_list_tokens", list)
            .access(Access::Session)
            .describe("My API tokens", "Lists the caller's API tokens in the organisation, without their text.")
            .gives::<ApiTokens>(200, "The tokens"),
        Operation::post("/api/auth/tokens", "identity_create_token", create)
            .access(Access::Session)
            .describe(
                "Make an API token",
                "For programs. Give it the scopes that it needs and no more; it can never do what its owner cannot, \
                 also when the owner's role changes later. Its text is shown once.",
            )
            .takes::<CreateApiToken>()
            .gives::<NewApiToken>(201, "Made")
            .problems(&[400, 403, 409, 415]),
        Operation::new(http::Method::DELETE, "/api/auth/tokens/{id}", "identity_revoke_token", revoke)
            .path::<TokenId>("id")
            .access(Access::Session)
            .describe("Revoke an API token", "It stops working within a second, everywhere.")
            .gives_other(204, "Revoked", &[])
            .problems(&[400, 403, 404]),
    ]
}

fn shown(row: Model) -> Result<ApiTokenView> {
    let damaged = |error| Error::internal("stored scopes are damaged").source_error(error);
    Ok(ApiTokenView {
        id: row.id,
        name: row.name,
        scopes: row.scopes.as_deref().map(serde_json::from_str).transpose().map_err(damaged)?,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
    })
}

async fn list(State(app): State<App>, Extension(principal): Extension<Principal>, Caller(ctx): Caller) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let rows = reader
        .select::<Entity>()
        .filter(Column::UserId.eq(person_of(&principal)?))
        .filter(Column::ExpiresAt.gt(app.now()))
        .order_by(Column::CreatedAt, Order::Desc)
        .limit(MOST)
        .all()
        .await?;
    reader.close().await?;
    Ok(Answer::ok(&ApiTokens { items: rows.into_iter().map(shown).collect::<Result<_>>()? })?.into())
}

async fn create(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Caller(mut ctx): Caller,
    Body(input): Body<CreateApiToken>,
) -> Result<Response, Problem> {
    if principal.elevated.is_some() {
        let message = "a superadmin's session cannot leave a token behind";
        return Err(Error::forbidden("identity.not_elevated", message).into());
    }
    let user = person_of(&principal)?;
    let wrong =
        |field: &str, why: String| Error::invalid("request.invalid_body", "the body is not valid").field(field, why);
    let days = input.expires_in_days.unwrap_or(USUAL_DAYS);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(wrong("expiresInDays", format!("must be from 1 to {MOST_DAYS}")).into());
    }
    let scopes = input.scopes.map(|mut scopes| {
        scopes.sort();
        scopes.dedup();
        scopes
    });
    if let Some(scope) = scopes.iter().flatten().find(|scope| !principal.permissions.allows(scope)) {
        let known: String = scope.chars().take(100).collect();
        return Err(wrong("scopes", format!("{known} is not a permission that you have")).into());
    }
    let secret = Secret::create()?;
    let mut writer = app.store.write(&mut ctx).await?;
    let now = writer.now();
    let mine = writer.select::<Entity>().filter(Column::UserId.eq(user)).filter(Column::ExpiresAt.gt(now));
    if mine.limit(MOST).all().await?.len() as u64 >= MOST {
        let message = format!("you have {MOST} API tokens here: revoke those that are not needed");
        return Err(Error::conflict("identity.too_many_tokens", message).into());
    }
    let row = ActiveModel {
        id: Set(secret.id),
        user_id: Set(user),
        name: Set(input.name.into()),
        secret_hash: Set(secret.hash()),
        expires_at: Set(now.plus(Duration::from_secs(days * 24 * 3600))),
        scopes: Set(scopes.map(|scopes| serde_json::json!(scopes).to_string())),
        last_used_at: Set(None),
        ..Default::default()
    };
    let row = writer.insert::<Entity>(row).await?;
    let location = format!("/api/auth/tokens/{}", row.id);
    let created = NewApiToken { token: secret.text(), shown: shown(row)? };
    // The stored answer of a repeated request must not hold the token: it is shown once.
    writer.commit(Answer::created(location.clone(), &created.shown)?).await?;
    Ok(not_stored(Answer::created(location, &created)?))
}

async fn revoke(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Caller(mut ctx): Caller,
    Path(id): Path<TokenId>,
) -> web::Result {
    let mine = Column::UserId.eq(person_of(&principal)?);
    let mut writer = app.store.write(&mut ctx).await?;
    let revoked = writer.change::<Entity>(id).guard(mine).delete().run_if("revoked").await?;
    revoked.ok_or_else(not_found)?;
    Ok(writer.commit(Answer::no_content()).await?.into())
}
