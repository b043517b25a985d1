//! `POST /api/auth/login`: with e-mail and password, or with a one-use code. An unknown person, a
//! wrong password and an organisation that somebody does not belong to get the same answer after the
//! same work. Not for staying signed in: see `refresh`.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use kernel::{Answer, Error, Id, RequestId, Result, TenantId, Text};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde::Deserialize;
use serde_json::json;
use service::{Access, App, Operation};
use sha2::{Digest as _, Sha256};
use store::{Event, Purpose};
use utoipa::ToSchema;
use web::{Body, Problem, RequestIds};

use crate::admission::admit;
use crate::authenticate::{invalid_code, invalid_credentials, suspended};
use crate::credentials::password::{Checked, Password};
use crate::credentials::secret::code_hash;
use crate::credentials::throttle::{Attempt, SIGN_IN};
use crate::opening::{self, Opening, SignedIn, not_stored};
use crate::origin::Origin;
use crate::queries::{self, Account, Membership, Wanted};
use crate::state::Identity;
use crate::tables::user::Email;
use crate::tables::{code, refused};

/// What signing in takes: `email` and `password`, or `code`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignIn {
    /// The person's e-mail address.
    email: Option<Email>,
    /// The person's password.
    password: Option<Password>,
    /// The short name of the organisation to work in; without it, the first that the person joined.
    organization: Option<Text<64>>,
    /// A one-use code instead; `portico admin sign-in` prints one.
    code: Option<Text<64>>,
}

pub(crate) fn operation() -> Operation {
    Operation::post("/api/auth/login", "identity_sign_in", sign_in)
        .access(Access::Public)
        .describe(
            "Sign in",
            "With `email` and `password`, or with a one-use `code` that the first start or `portico admin sign-in` \
             printed. Gives an access token (a JWT after RFC 9068, ES256, verifiable with `/.well-known/jwks.json`) \
             and a refresh token. Whoever is unknown gets the same answer as whoever mistyped. After some failures \
             the next attempt has to wait: 429 says how long. While too many sign in at once: 503.",
        )
        .takes::<SignIn>()
        .gives::<SignedIn>(200, "Signed in")
        .problems(&[400, 401, 403, 415, 429, 503])
}

async fn sign_in(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(ids): Extension<RequestIds>,
    origin: Origin,
    Body(input): Body<SignIn>,
) -> Result<Response, Problem> {
    let signed_in = match input {
        SignIn { email: Some(email), password: Some(password), organization, code: None } => {
            let slug = organization.map(String::from);
            with_password(&app, &identity, &ids.request, &origin, &email, password, slug).await?
        }
        SignIn { email: None, password: None, organization: None, code: Some(code) } => {
            with_code(&app, &identity, &ids.request, &origin, code.as_str()).await?
        }
        _ => {
            let message = "send email and password, or code";
            return Err(Error::invalid("request.invalid_body", message).into());
        }
    };
    Ok(not_stored(Answer::ok(&signed_in)?))
}

async fn with_password(
    app: &App,
    identity: &Identity,
    request: &RequestId,
    origin: &Origin,
    email: &Email,
    password: Password,
    slug: Option<String>,
) -> Result<SignedIn> {
    let account = Some(email.as_str().to_owned());
    let attempt = Attempt { what: SIGN_IN, account, network: origin.network, tenant: slug.clone() };
    let attempt = admit(&app.store, identity, attempt).await?;
    // A flood is turned away here, before it asks the database anything.
    let slot = identity.passwords().reserve().inspect_err(|_| identity.throttle().abandoned(&attempt))?;
    let system = app.store.system_read(Purpose::SignIn).await?;
    let account = queries::account(&system, Wanted::Email(email.as_str())).await?;
    system.close().await?;
    let stored = account.as_ref().filter(|account| account.active).and_then(|found| found.password_hash.clone());
    let checked = identity.passwords().check(slot, password, stored).await?;
    let place = account.as_ref().map(|account| choose(account, slug.as_deref()));
    let (Some(account), Some(Ok(place))) = (&account, place.filter(|_| checked != Checked::Wrong)) else {
        let tenant =
            account.as_ref().and_then(|account| choose(account, slug.as_deref()).ok()).map(|place| place.tenant);
        let user = account.as_ref().map(|account| account.user.to_string());
        refuse(app, request, origin, email, tenant, user).await?;
        return Err(invalid_credentials());
    };
    identity.throttle().succeeded(&attempt);
    // Who runs the platform gets in, to look after it; `authenticate` leaves them nothing else to do.
    if place.state != "active" && !account.is_superadmin() {
        return Err(suspended());
    }
    let rehashed = match checked {
        Checked::Rehashed(hash) => Some(hash),
        Checked::Right | Checked::Wrong => None,
    };
    let (method, proof) = ("password", account.password_hash.clone());
    let opening = Opening { account, place, method, origin, request, elevation: None, proof, rehashed };
    opening::open(app, identity, opening).await
}

/// Chooses the organisation: the named one, or the first that lets people work.
pub(crate) fn choose<'a>(account: &'a Account, slug: Option<&str>) -> Result<&'a Membership> {
    let active = || account.places.iter().find(|place| place.state == "active").or_else(|| account.places.first());
    let found = match slug {
        Some(slug) => account.places.iter().find(|place| place.slug == slug),
        None => active(),
    };
    found.ok_or_else(invalid_credentials)
}

/// Writes a refused sign-in down: in the tenant's audit trail, or, where none is known, beside it.
/// One transaction with one row either way, so that the time it takes tells nothing.
async fn refuse(
    app: &App,
    request: &RequestId,
    origin: &Origin,
    email: &Email,
    tenant: Option<TenantId>,
    user: Option<String>,
) -> Result<()> {
    let system = app.store.system(Purpose::SignIn).await?;
    match tenant {
        Some(tenant) => {
            let told = json!({ "method": "password", "network": origin.network.to_string() });
            let event = Event::about("identity.sign_in.failed", user.unwrap_or_default(), told);
            system.record(tenant, "anonymous", request, &event).await?;
        }
        None => {
            let row = refused::ActiveModel {
                id: Set(Id::new()),
                account_hash: Set(Sha256::digest(email.as_str()).to_vec()),
                network: Set(origin.network.to_string()),
                request_id: Set(request.as_str().to_owned()),
                created_at: Set(system.now()),
            };
            system.insert(row).await?;
        }
    }
    system.commit().await
}

async fn with_code(
    app: &App,
    identity: &Identity,
    request: &RequestId,
    origin: &Origin,
    typed: &str,
) -> Result<SignedIn> {
    let attempt = Attempt { what: "code", account: None, network: origin.network, tenant: None };
    let attempt = admit(&app.store, identity, attempt).await?;
    let hash = code_hash(typed);
    let system = app.store.system(Purpose::SignIn).await?;
    // One statement, so that of two who use a code at the same moment one is refused.
    let used = code::Entity::update_many()
        .col_expr(code::Column::UsedAt, Expr::val(system.now()))
        .filter(code::Column::CodeHash.eq(hash.clone()))
        .filter(code::Column::UsedAt.is_null())
        .filter(Expr::col(code::Column::ExpiresAt).gt(system.now()));
    if system.execute(used.as_query()).await? == 0 {
        system.close().await?;
        tracing::info!(request.id = request.as_str(), "a sign-in with a one-use code was refused");
        return Err(invalid_code());
    }
    let lost = || queries::lost("the member of a sign-in code");
    let found = system.one(code::Entity::find_by_id(hash)).await?.ok_or_else(lost)?;
    let account = queries::account(&system, Wanted::User(found.user_id)).await?.ok_or_else(lost)?;
    let place = account.places.iter().find(|place| place.tenant == found.tenant_id).filter(|_| account.active);
    let Some(place) = place else {
        system.close().await?;
        return Err(invalid_code());
    };
    system.commit().await?;
    identity.throttle().succeeded(&attempt);
    if place.state != "active" && !account.is_superadmin() {
        return Err(suspended());
    }
    let (method, elevation, proof, rehashed) = ("code", None, None, None);
    let opening = Opening { account: &account, place, method, origin, request, elevation, proof, rehashed };
    opening::open(app, identity, opening).await
}
