//! Tenants as whoever runs the platform sees them, and each tenant's administrators their own. Not
//! for suspending, and not for making or erasing them.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::Method;
use kernel::{Actor, Answer, Ctx, Cursor, Error, Result, TenantId, Text, Timestamp};
use serde::{Deserialize, Serialize};
use service::{App, Operation};
use store::{Purpose, TenantFilter, TenantRecord};
use utoipa::ToSchema;
use web::{Body, Caller, IfMatch, IfNoneMatch, Path, Query, Reply};

use crate::settings::{Currency, PlanName, Settings, TimeZone, is_short_name};
use crate::{WRITE_PLAN, change};

const ONE: &str = "/api/v1/tenants/{tenantId}";
const MOST: u64 = 200;

/// Tenants are listed in the order of their making, which is that of their ids.
const SORT: &str = "id";

/// A tenant: an organisation and all that belongs to it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tenant {
    /// Names it.
    id: TenantId,
    /// Its name for people.
    name: String,
    /// Its short name in addresses; it never changes.
    slug: String,
    /// `provisioning` while it is being made, then `active` or `suspended`.
    state: String,
    /// Whether its people may work: whether it is `active`.
    is_active: bool,
    /// What it has booked.
    plan: String,
    /// Its IANA time zone.
    time_zone: String,
    /// Its ISO 4217 currency.
    currency: String,
    /// Counts its changes; the ETag is `"v<version>"`.
    version: i64,
    /// When it was made.
    created_at: Timestamp,
    /// When it last changed.
    updated_at: Timestamp,
}

impl From<TenantRecord> for Tenant {
    fn from(tenant: TenantRecord) -> Self {
        let is_active = tenant.is_active();
        let is_provisioning = tenant.is_provisioning();
        let TenantRecord { id, slug, name, state, plan, time_zone, currency, version, created_at, updated_at } = tenant;
        // Whether it is being made or taken back is the task's to tell.
        let state = if is_provisioning { TenantState::Provisioning.name().to_owned() } else { state };
        Self { id, name, slug, state, is_active, plan, time_zone, currency, version, created_at, updated_at }
    }
}

/// A page of tenants.
#[derive(Debug, Serialize, ToSchema)]
struct TenantPage {
    /// The tenants, oldest first.
    items: Vec<Tenant>,
    /// Send it back as `cursor` to read on; null on the last page.
    next: Option<String>,
}

/// Whether a tenant's people may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TenantState {
    /// It is still being made.
    Provisioning,
    /// They may.
    Active,
    /// They may not.
    Suspended,
}

impl TenantState {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    state: Option<TenantState>,
    slug_prefix: Option<String>,
    limit: Option<u64>,
    cursor: Option<String>,
}

/// What is to change of a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateTenant {
    /// Its name for people.
    name: Option<Text<100>>,
    /// Its IANA time zone.
    time_zone: Option<TimeZone>,
    /// Its ISO 4217 currency.
    currency: Option<Currency>,
    /// What it has booked; needs `tenants.plan.write`.
    plan: Option<PlanName>,
}

pub(crate) fn operations() -> [Operation; 3] {
    [
        Operation::get("/api/v1/tenants", "tenants_list_tenants", list)
            .permission("tenants.tenants.read")
            .query::<TenantState>("state", "Only those in this state.")
            .query::<PlanName>("slugPrefix", "Only those whose slug begins so.")
            .paged()
            .describe(
                "List tenants",
                "For superadmins. Gives a page of all tenants in the order of their making and the cursor of the next.",
            )
            .gives::<TenantPage>(200, "A page")
            .problems(&[400]),
        Operation::get(ONE, "tenants_get_tenant", get)
            .path::<TenantId>("tenantId")
            .permission("tenants.tenant.read")
            .describe(
                "Get a tenant",
                "For the tenant's administrators, to whom every other id is 404, and for superadmins, who may name any. \
                 Gives it with its ETag; `If-None-Match` answers 304 when it is unchanged.",
            )
            .gives::<Tenant>(200, "Found")
            .gives_other(304, "Unchanged", &[])
            .problems(&[400, 404]),
        Operation::new(Method::PATCH, ONE, "tenants_update_tenant", update)
            .path::<TenantId>("tenantId")
            .permission("tenants.tenant.write")
            .describe(
                "Change a tenant",
                "For the tenant's administrators, to whom every other id is 404, and for superadmins, who may name any. \
                 Sets the fields that are named and leaves the others; `plan` needs `tenants.plan.write`, which only \
                 superadmins have. With `If-Match`, only if that is still the current version, else 412. Writes \
                 `tenants.tenant.updated` into the log of that tenant; saying what is so already changes nothing, so \
                 the request is safe to repeat and an `Idempotency-Key` is not stored. A time zone is checked by its \
                 shape, `UTC` or `Area/Place`, not against the list of those that exist.",
            )
            .takes::<UpdateTenant>()
            .gives::<Tenant>(200, "Changed, or as it was")
            .problems(&[400, 404, 409, 412, 415]),
    ]
}

/// Answers with the tenant and its ETag.
pub(crate) fn answer(tenant: TenantRecord) -> Result<Answer> {
    let version = tenant.version;
    Ok(Answer::ok(&Tenant::from(tenant))?.version(version))
}

/// Lets a superadmin name any tenant and everybody else their own; another is said not to exist,
/// in the words for one that does not.
pub(crate) fn may_name(ctx: &Ctx, id: TenantId) -> Result<()> {
    if id == ctx.tenant() || matches!(ctx.actor(), Actor::Superadmin(_)) {
        return Ok(());
    }
    Err(Error::not_found("tenants.not_found", "there is no such tenant"))
}

async fn list(State(app): State<App>, Caller(_): Caller, Query(asked): Query<Asked>) -> web::Result {
    let wrong = |field: &str, message: &str| {
        Error::invalid("request.invalid_query", "the query is not valid").field(field, message)
    };
    let limit = asked.limit.unwrap_or(50);
    if !(1..=MOST).contains(&limit) {
        return Err(wrong("limit", "must be a number from 1 to 200").into());
    }
    if asked.slug_prefix.as_deref().is_some_and(|prefix| !is_short_name(prefix)) {
        return Err(wrong("slugPrefix", "must have 1 to 40 of a-z, 0-9 and -").into());
    }
    let cursor = asked.cursor.map(|text| Cursor::decode(&text, SORT)).transpose()?;
    let filter = TenantFilter {
        after: cursor.map(|cursor| TenantId::from_uuid(cursor.id)),
        state: asked.state.map(|state| state.name().to_owned()),
        slug_prefix: asked.slug_prefix,
    };
    let system = app.store.system_read(Purpose::Tenancy).await?;
    let mut tenants = system.tenants(&filter, limit + 1).await?;
    system.close().await?;
    let more = tenants.len() as u64 > limit;
    tenants.truncate(limit as usize);
    let last = tenants.last().filter(|_| more);
    let next = last.map(|tenant| Cursor::after(SORT, serde_json::Value::Null, tenant.id.uuid()).encode());
    let items = tenants.into_iter().map(Tenant::from).collect();
    Ok(Answer::ok(&TenantPage { items, next })?.into())
}

async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<TenantId>,
    known: IfNoneMatch,
) -> web::Result<Response> {
    may_name(&ctx, id)?;
    let tenant = change::find(&app, id).await?;
    if known.has(tenant.version) {
        return Ok(web::not_modified(tenant.version));
    }
    Ok(Reply(answer(tenant)?).into_response())
}

async fn update(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<TenantId>,
    IfMatch(expected): IfMatch,
    Body(input): Body<UpdateTenant>,
) -> web::Result {
    may_name(&ctx, id)?;
    if input.plan.is_some() {
        ctx.require(WRITE_PLAN)?;
    }
    let UpdateTenant { name, time_zone, currency, plan } = input;
    let settings = Settings { name, time_zone, currency, plan };
    let tenant = change::change(&app, &ctx, id, expected, |tenant| settings.decide(tenant)).await?;
    Ok(answer(tenant)?.into())
}
