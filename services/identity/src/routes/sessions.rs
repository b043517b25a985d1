//! The caller's own sessions in the organisation: which there are, and ending them. Not for other
//! people's: removing a member ends theirs.

use axum::Extension;
use axum::extract::State;
use kernel::{Answer, Timestamp};
use sea_orm::{ColumnTrait as _, Condition, Order};
use serde::Serialize;
use serde_json::json;
use service::{Access, App, Operation};
use store::{Event, not_found};
use utoipa::ToSchema;
use web::{Caller, Path, Principal};

use crate::ending::SIGNED_OUT;
use crate::routes::me::person_of;
use crate::tables::session::{Column, Entity, Model, SessionId};

const MOST: u64 = 200;

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionView {
    /// Names the session.
    id: SessionId,
    /// How it began: `password`, `code`, `invitation`, `registration`, `elevation`.
    method: String,
    /// The network that it began from.
    network: Option<String>,
    /// The program that it began with.
    user_agent: Option<String>,
    /// When it began.
    created_at: Timestamp,
    /// When it was last used, to about a minute.
    last_used_at: Timestamp,
    /// When it ends unless it is refreshed before.
    expires_at: Timestamp,
    /// Whether it is the one that asks.
    current: bool,
}

/// The sessions.
#[derive(Debug, Serialize, ToSchema)]
struct Sessions {
    /// The sessions, the last used first.
    items: Vec<SessionView>,
}

pub(crate) fn operations() -> [Operation; 3] {
    [
        Operation::get("/api/auth/sessions", "identity_list_sessions", list)
            .access(Access::Session)
            .describe("My sessions", "Lists where the caller is signed in to the organisation.")
            .gives::<Sessions>(200, "The sessions"),
        Operation::new(http::Method::DELETE, "/api/auth/sessions/{id}", "identity_revoke_session", revoke)
            .path::<SessionId>("id")
            .access(Access::Session)
            .describe(
                "End a session",
                "Ends one of the caller's own sessions; its tokens stop working within a second.",
            )
            .gives_other(204, "Ended", &[])
            .problems(&[400, 403, 404]),
        Operation::new(http::Method::DELETE, "/api/auth/sessions", "identity_revoke_other_sessions", revoke_others)
            .access(Access::Session)
            .describe("End all other sessions", "Ends all of the caller's sessions here but the one that asks.")
            .gives_other(204, "Ended", &[])
            .problems(&[403]),
    ]
}

async fn list(State(app): State<App>, Extension(principal): Extension<Principal>, Caller(ctx): Caller) -> web::Result {
    let reader = app.store.read(&ctx).await?;
    let now = app.now();
    let rows = reader
        .select::<Entity>()
        .filter(Column::UserId.eq(person_of(&principal)?))
        .filter(Column::IdleExpiresAt.gt(now))
        .order_by(Column::LastUsedAt, Order::Desc)
        .limit(MOST)
        .all()
        .await?;
    reader.close().await?;
    let shown = |row: Model| SessionView {
        current: *principal.credential == *row.id.to_string(),
        id: row.id,
        method: row.method,
        network: row.network,
        user_agent: row.user_agent,
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        expires_at: row.idle_expires_at,
    };
    Ok(Answer::ok(&Sessions { items: rows.into_iter().map(shown).collect() })?.into())
}

async fn revoke(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Caller(mut ctx): Caller,
    Path(id): Path<SessionId>,
) -> web::Result {
    let mine = Column::UserId.eq(person_of(&principal)?);
    let mut writer = app.store.write(&mut ctx).await?;
    let ended = writer.change::<Entity>(id).guard(mine).delete().run_if("revoked").await?;
    ended.ok_or_else(not_found)?;
    Ok(writer.commit(Answer::no_content()).await?.into())
}

async fn revoke_others(
    State(app): State<App>,
    Extension(principal): Extension<Principal>,
    Caller(mut ctx): Caller,
) -> web::Result {
    let (user, current) = (person_of(&principal)?, principal.credential.parse::<SessionId>()?);
    let others = Condition::all().add(Column::UserId.eq(user)).add(Column::Id.ne(current));
    let mut writer = app.store.write(&mut ctx).await?;
    if writer.delete_all::<Entity>(others).await? > 0 {
        writer.record(Event::about(SIGNED_OUT, user, json!({ "kept": current }))).await?;
    }
    Ok(writer.commit(Answer::no_content()).await?.into())
}
