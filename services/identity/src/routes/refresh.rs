//! `POST /api/auth/refresh`: exchanges a refresh token for the next one and a new access token. Each
//! works once. Whoever presents one again within the grace gets the same successor, so parallel tabs
//! and lost answers do no harm; later it means that somebody has a copy, and the session ends for
//! both. Not for API tokens, which do not change.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kernel::{Answer, Error, RequestId, Result, Text};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde::Deserialize;
use serde_json::json;
use service::{Access, App, Operation};
use store::{Event, Purpose, System};
use utoipa::ToSchema;
use web::{Body, Problem, RequestIds};

use crate::authenticate::suspended;
use crate::credentials::access_token::{self, Subject};
use crate::credentials::refresh_token::{Presented, RefreshToken};
use crate::opening::{SignedIn, Tokens, not_stored, seed_place};
use crate::origin::Origin;
use crate::queries::{self, Membership, Wanted};
use crate::state::Identity;
use crate::tables::session::{self, Column, Entity};

/// How often a race for the same token is run again; each time somebody else won.
const ROUNDS: usize = 8;

/// What refreshing takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefreshSession {
    /// The refresh token of the last sign-in or refresh.
    refresh_token: Text<200>,
}

pub(crate) fn operation() -> Operation {
    Operation::post("/api/auth/refresh", "identity_refresh_session", refresh)
        .access(Access::Public)
        .describe(
            "Stay signed in",
            "Exchanges a refresh token for a new access token and the next refresh token. A token that was exchanged in \
             the last 10 seconds gives what came of it again. One that was exchanged longer ago is a copy in other \
             hands: the session ends, `identity.session.reused` tells the organisation, and everybody signs in again.",
        )
        .takes::<RefreshSession>()
        .gives::<SignedIn>(200, "Refreshed")
        .problems(&[400, 401, 403, 415, 429])
}

fn invalid_token() -> Error {
    Error::unauthenticated("identity.invalid_refresh_token", "this refresh token does not work: sign in again")
}

async fn refresh(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(ids): Extension<RequestIds>,
    origin: Origin,
    Body(input): Body<RefreshSession>,
) -> Result<Response, Problem> {
    // Only what is not genuine counts: colleagues behind one address refresh as often as they need to.
    let now = app.now();
    let forged = || -> Error {
        let counted = identity.throttle().failed(origin.network, now);
        counted.err().unwrap_or_else(invalid_token)
    };
    let token = RefreshToken::parse(input.refresh_token.as_str()).ok_or_else(forged)?;
    identity.throttle().may_look(origin.network, now)?;
    if !is_genuine(&app, &identity, &token).await? {
        return Err(forged().into());
    }
    for _ in 0..ROUNDS {
        if let Some(signed_in) = exchange(&app, &identity, &ids.request, &origin, &token).await? {
            return Ok(not_stored(Answer::ok(&signed_in)?));
        }
    }
    let message = "this token is being exchanged by others; try again";
    Err(Error::unavailable("identity.busy", message).retry_after(1).into())
}

fn seed_of(identity: &Identity, row: &session::Model) -> Result<Vec<u8>> {
    identity.vault()?.open(&seed_place(row.tenant_id, &row.id.to_string()), &row.seed_sealed)
}

/// Says whether the token was once issued. A read: the write lane is not for what strangers make up.
async fn is_genuine(app: &App, identity: &Identity, token: &RefreshToken) -> Result<bool> {
    let system = app.store.system_read(Purpose::SignIn).await?;
    let found = system.one(Entity::find().filter(Column::Id.eq(token.session))).await?;
    system.close().await?;
    Ok(match found {
        Some(row) => token.is_genuine(&seed_of(identity, &row)?),
        None => false,
    })
}

/// Exchanges the token, or says that somebody else did in the same moment.
async fn exchange(
    app: &App,
    identity: &Identity,
    request: &RequestId,
    origin: &Origin,
    token: &RefreshToken,
) -> Result<Option<SignedIn>> {
    let system = app.store.system(Purpose::SignIn).await?;
    let now = system.now();
    let found = system.one(Entity::find().filter(Column::Id.eq(token.session))).await?;
    let row = found.filter(|row| row.stands(now)).ok_or_else(invalid_token)?;
    let seed = seed_of(identity, &row)?;
    let generations = row.generations();
    if token.generation > generations.current {
        return Err(invalid_token());
    }
    let mut next = generations;
    let idle_expires_at = now.plus(identity.settings().session_idle()).min(row.expires_at);
    match generations.judge(token.generation, now) {
        Presented::Current => {
            next = generations.exchanged(now);
            let update = Entity::update_many()
                .col_expr(Column::Generation, Expr::val(next.current))
                .col_expr(Column::WindowGeneration, Expr::val(next.window))
                .col_expr(Column::WindowBeganAt, Expr::val(next.window_began))
                .col_expr(Column::EarlierGeneration, Expr::val(next.earlier))
                .col_expr(Column::IdleExpiresAt, Expr::val(idle_expires_at))
                .col_expr(Column::LastUsedAt, Expr::val(now))
                .filter(Column::TenantId.eq(row.tenant_id))
                .filter(Column::Id.eq(row.id))
                .filter(Column::Generation.eq(generations.current))
                .filter(Column::DeletedAt.is_null());
            if system.execute(update.as_query()).await? == 0 {
                system.close().await?;
                return Ok(None);
            }
        }
        Presented::Lately => {}
        Presented::Replayed => {
            end_family(system, &row, request, origin).await?;
            return Err(invalid_token());
        }
    }
    let account = queries::account(&system, Wanted::User(row.user_id)).await?.filter(|account| account.active);
    let account = account.ok_or_else(invalid_token)?;
    let place = match &row.elevation {
        Some(_) if account.is_superadmin() => Some(Membership::elevated(system.tenant(row.tenant_id).await?)),
        Some(_) => None,
        None => account.places.iter().find(|place| place.tenant == row.tenant_id).cloned(),
    };
    let place = place.ok_or_else(invalid_token)?;
    if place.state != "active" && !account.is_superadmin() {
        return Err(suspended());
    }
    let subject = Subject { user: row.user_id, tenant: row.tenant_id, session: row.id, role: &place.role };
    let (access_token, expires_at) =
        access_token::sign(identity.keys(), identity.settings(), &subject, now, row.expires_at)?;
    system.commit().await?;
    let tokens = Tokens { access_token, expires_at, refresh: RefreshToken::of(&seed, row.id, next.current) };
    Ok(Some(SignedIn::new(&account, &place, tokens, idle_expires_at, now)))
}

/// Ends a session whose token came twice, and says so in the tenant's audit trail.
async fn end_family(system: System, row: &session::Model, request: &RequestId, origin: &Origin) -> Result<()> {
    let update = Entity::update_many()
        .col_expr(Column::DeletedAt, Expr::val(system.now()))
        .filter(Column::TenantId.eq(row.tenant_id))
        .filter(Column::Id.eq(row.id))
        .filter(Column::DeletedAt.is_null());
    if system.execute(update.as_query()).await? == 0 {
        return system.close().await;
    }
    let told = json!({ "user": row.user_id, "network": origin.network.to_string() });
    for kind in ["identity.session.reused", "identity.session.revoked"] {
        system.record(row.tenant_id, "anonymous", request, &Event::about(kind, row.id, told.clone())).await?;
    }
    tracing::warn!(session.id = %row.id, request.id = request.as_str(), "a refresh token came twice: its session ends");
    system.commit().await
}
