//! Opens sessions: what signing in, accepting an invitation, confirming a registration and entering
//! a tenant as superadmin have in common, and the answer that all of them give. Not for proving who
//! somebody is.

use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use kernel::{Actor, Answer, Id, RequestId, Result, TenantId, Timestamp, UserId};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};
use serde::Serialize;
use serde_json::json;
use service::App;
use store::{Event, Place, Purpose, System, TenantRecord};
use utoipa::ToSchema;
use web::Reply;

use crate::authenticate::invalid_credentials;
use crate::credentials::access_token::{self, Subject};
use crate::credentials::refresh_token::{Generations, RefreshToken, SEED_BYTES};
use crate::credentials::secret::random;
use crate::origin::Origin;
use crate::queries::{Account, Membership};
use crate::state::Identity;
use crate::tables::session::{self, SessionId};
use crate::tables::user;

/// How many sessions a person may have in one organisation; the oldest ends for a new one.
const MOST_SESSIONS: u64 = 50;

/// A signed-in person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SignedIn {
    /// The bearer token: a JWT that works for minutes.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// When the access token stops working.
    pub expires_at: Timestamp,
    /// In how many seconds that is.
    pub expires_in: i64,
    /// Gets the next access token, once.
    pub refresh_token: String,
    /// When the session ends unless it is refreshed before.
    pub refresh_expires_at: Timestamp,
    /// Names the session.
    pub session_id: SessionId,
    /// The organisation that it is for.
    pub organization: Organization,
    /// Who it is.
    pub user: Person,
}

/// An organisation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Organization {
    /// Names it.
    pub id: TenantId,
    /// Its short name in addresses.
    pub slug: String,
    /// Its name for people.
    pub name: String,
}

impl From<TenantRecord> for Organization {
    fn from(tenant: TenantRecord) -> Self {
        Self { id: tenant.id, slug: tenant.slug, name: tenant.name }
    }
}

impl From<&Membership> for Organization {
    fn from(place: &Membership) -> Self {
        Self { id: place.tenant, slug: place.slug.clone(), name: place.name.clone() }
    }
}

/// A person in the organisation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Person {
    /// Names the person.
    pub id: UserId,
    /// The person's name.
    pub name: String,
    /// The person's e-mail address.
    pub email: Option<String>,
    /// The person's role in the organisation.
    pub role: String,
}

/// A session to be opened.
pub(crate) struct Opening<'a> {
    pub account: &'a Account,
    pub place: &'a Membership,
    /// `password`, `code`, `invitation`, `registration` or `elevation`.
    pub method: &'static str,
    pub origin: &'a Origin,
    pub request: &'a RequestId,
    /// Why a superadmin enters.
    pub elevation: Option<String>,
    /// The stored hash that a password was checked against, if one was; when it is another by now, the
    /// password that was typed is not the person's any more.
    pub proof: Option<String>,
    /// A stronger hash of the password that was just checked.
    pub rehashed: Option<String>,
}

/// Where a session's seed lies sealed.
pub(crate) fn seed_place<'a>(tenant: TenantId, row: &'a str) -> Place<'a> {
    Place { table: "identity_session", column: "seed_sealed", tenant: Some(tenant), row }
}

/// Opens the session: row, event and answer, all or nothing.
pub(crate) async fn open(app: &App, identity: &Identity, opening: Opening<'_>) -> Result<SignedIn> {
    let Opening { account, place, method, origin, request, elevation, proof, rehashed } = opening;
    let settings = identity.settings();
    let system = app.store.system(Purpose::SignIn).await?;
    let now = system.now();
    hold_account(&system, account, proof, rehashed).await?;
    let id: SessionId = Id::new();
    let lifetime = if elevation.is_some() { settings.elevated_lifetime() } else { settings.session_lifetime() };
    let expires_at = now.plus(lifetime);
    let idle_expires_at = now.plus(settings.session_idle()).min(expires_at);
    let seed = random::<SEED_BYTES>()?;
    let generations = Generations::new(now);
    let actor = match elevation {
        Some(_) => Actor::Superadmin(account.user).to_string(),
        None => account.user.to_string(),
    };
    let row = session::ActiveModel {
        tenant_id: Set(place.tenant),
        id: Set(id),
        user_id: Set(account.user),
        method: Set(method.to_owned()),
        network: Set(Some(origin.network.to_string())),
        user_agent: Set(origin.user_agent.clone()),
        expires_at: Set(expires_at),
        idle_expires_at: Set(idle_expires_at),
        last_used_at: Set(now),
        elevation: Set(elevation.clone()),
        seed_sealed: Set(identity.vault()?.seal(&seed_place(place.tenant, &id.to_string()), &seed)?),
        generation: Set(generations.current),
        window_generation: Set(generations.window),
        window_began_at: Set(generations.window_began),
        earlier_generation: Set(generations.earlier),
        created_at: Set(now),
        created_by: Set(actor.clone()),
        version: Set(1),
        updated_at: Set(now),
        updated_by: Set(actor.clone()),
        deleted_at: Set(None),
    };
    system.insert(row).await?;
    end_oldest(&system, account.user, place.tenant, &actor, request).await?;
    let mut told = json!({ "session": id, "method": method, "network": origin.network.to_string() });
    let kind = match &elevation {
        Some(reason) => {
            told["reason"] = json!(reason);
            "identity.superadmin.entered"
        }
        None => "identity.sign_in.succeeded",
    };
    system.record(place.tenant, &actor, request, &Event::about(kind, account.user, told)).await?;
    let subject = Subject { user: account.user, tenant: place.tenant, session: id, role: &place.role };
    let (access_token, token_expires_at) = access_token::sign(identity.keys(), settings, &subject, now, expires_at)?;
    system.commit().await?;
    let tokens = Tokens { access_token, expires_at: token_expires_at, refresh: RefreshToken::of(&seed, id, 0) };
    Ok(SignedIn::new(account, place, tokens, idle_expires_at, now))
}

/// What a session hands out.
pub(crate) struct Tokens {
    pub access_token: String,
    pub expires_at: Timestamp,
    pub refresh: RefreshToken,
}

impl SignedIn {
    /// Returns what whoever signed in or stayed signed in is told.
    pub(crate) fn new(
        account: &Account,
        place: &Membership,
        tokens: Tokens,
        refresh_expires_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            access_token: tokens.access_token,
            token_type: "Bearer",
            expires_at: tokens.expires_at,
            expires_in: tokens.expires_at.seconds() - now.seconds(),
            refresh_token: tokens.refresh.text(),
            refresh_expires_at,
            session_id: tokens.refresh.session,
            organization: place.into(),
            user: Person {
                id: account.user,
                name: account.name.clone(),
                email: account.email.clone(),
                role: place.role.clone(),
            },
        }
    }
}

/// Holds the person's row to the end of the transaction, if it still is what the person proved
/// themselves against. A change of password that comes at the same moment either has come before,
/// and this is refused, or waits, and ends the new session with all others.
async fn hold_account(
    system: &System,
    account: &Account,
    proof: Option<String>,
    rehashed: Option<String>,
) -> Result<()> {
    let kept = Expr::col(user::Column::PasswordHash);
    let mut hold = user::Entity::update_many()
        .col_expr(user::Column::PasswordHash, rehashed.map_or(kept, Expr::val))
        .filter(user::Column::Id.eq(account.user))
        .filter(user::Column::State.eq(user::ACTIVE));
    if let Some(proof) = proof {
        hold = hold.filter(user::Column::PasswordHash.eq(proof));
    }
    if system.execute(hold.as_query()).await? == 0 { Err(invalid_credentials()) } else { Ok(()) }
}

/// Ends the oldest sessions of a person in a tenant when there are too many.
async fn end_oldest(system: &System, user: UserId, tenant: TenantId, actor: &str, request: &RequestId) -> Result<()> {
    let surplus = session::Entity::find()
        .filter(session::Column::UserId.eq(user))
        .filter(session::Column::TenantId.eq(tenant))
        .filter(session::Column::DeletedAt.is_null())
        .filter(session::Column::ExpiresAt.gt(system.now()))
        .order_by_desc(session::Column::CreatedAt)
        .order_by_desc(session::Column::Id)
        .offset(MOST_SESSIONS)
        .limit(MOST_SESSIONS);
    for row in system.all(surplus).await? {
        let end = session::Entity::update_many()
            .col_expr(session::Column::DeletedAt, Expr::val(system.now()))
            .filter(session::Column::TenantId.eq(tenant))
            .filter(session::Column::Id.eq(row.id));
        system.execute(end.as_query()).await?;
        let event = Event::about("identity.session.revoked", row.id, json!({ "user": user, "why": "too many" }));
        system.record(tenant, actor, request, &event).await?;
    }
    Ok(())
}

/// Turns an answer with secrets in it into a response that nobody keeps (RFC 6749, section 5.1).
pub(crate) fn not_stored(answer: Answer) -> Response {
    let mut response = Reply(answer).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
