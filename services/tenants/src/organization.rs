//! The caller's own organisation, as every member sees it and its administrators change it. Not for
//! other organisations and not for plans: see `tenant`.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::Method;
use kernel::{Answer, Result, TenantId, Text, Timestamp};
use serde::{Deserialize, Serialize};
use service::{App, Operation};
use store::TenantRecord;
use utoipa::ToSchema;
use web::{Body, Caller, IfMatch, IfNoneMatch, Reply};

use crate::change;
use crate::settings::{Currency, Settings, TimeZone};

const PATH: &str = "/api/organizations/current";

/// The caller's organisation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CurrentOrganization {
    /// Names it.
    id: TenantId,
    /// Its name for people.
    name: String,
    /// Its short name in addresses; it never changes.
    slug: String,
    /// What it has booked.
    plan: String,
    /// Whether its people may work.
    is_active: bool,
    /// Its IANA time zone.
    time_zone: String,
    /// Its ISO 4217 currency.
    currency: String,
    /// When it was made.
    created_at: Timestamp,
    /// When it last changed.
    updated_at: Timestamp,
}

/// What is to change of the caller's organisation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateCurrentOrganization {
    /// Its name for people.
    name: Option<Text<100>>,
    /// Its IANA time zone.
    time_zone: Option<TimeZone>,
    /// Its ISO 4217 currency.
    currency: Option<Currency>,
}

pub(crate) fn operations() -> [Operation; 2] {
    [
        Operation::get(PATH, "tenants_get_current_organization", get)
            .describe(
                "Get the caller's organisation",
                "For every member, and API tokens. Gives it with its ETag; `If-None-Match` answers 304 when it is \
                 unchanged.",
            )
            .gives::<CurrentOrganization>(200, "Found")
            .gives_other(304, "Unchanged", &[]),
        Operation::new(Method::PATCH, PATH, "tenants_update_current_organization", update)
            .permission("tenants.organization.write")
            .describe(
                "Change the caller's organisation",
                "For its administrators. Sets the fields that are named and leaves the others; slug, plan and state are \
                 not among them. With `If-Match`, only if that is still the current version, else 412. Writes \
                 `tenants.tenant.updated`; saying what is so already changes nothing, so the request is safe to repeat \
                 and an `Idempotency-Key` is not stored. A time zone is checked by its shape, `UTC` or `Area/Place`, \
                 not against the list of those that exist.",
            )
            .takes::<UpdateCurrentOrganization>()
            .gives::<CurrentOrganization>(200, "Changed, or as it was")
            .problems(&[400, 412, 415]),
    ]
}

fn answer(tenant: TenantRecord) -> Result<Answer> {
    let (version, is_active) = (tenant.version, tenant.is_active());
    let view = CurrentOrganization {
        id: tenant.id,
        name: tenant.name,
        slug: tenant.slug,
        plan: tenant.plan,
        is_active,
        time_zone: tenant.time_zone,
        currency: tenant.currency,
        created_at: tenant.created_at,
        updated_at: tenant.updated_at,
    };
    Ok(Answer::ok(&view)?.version(version))
}

async fn get(State(app): State<App>, Caller(ctx): Caller, known: IfNoneMatch) -> web::Result<Response> {
    let tenant = change::find(&app, ctx.tenant()).await?;
    if known.has(tenant.version) {
        return Ok(web::not_modified(tenant.version));
    }
    Ok(Reply(answer(tenant)?).into_response())
}

async fn update(
    State(app): State<App>,
    Caller(ctx): Caller,
    IfMatch(expected): IfMatch,
    Body(input): Body<UpdateCurrentOrganization>,
) -> web::Result {
    let UpdateCurrentOrganization { name, time_zone, currency } = input;
    let settings = Settings { name, time_zone, currency, plan: None };
    let tenant = change::change(&app, &ctx, ctx.tenant(), expected, |tenant| settings.decide(tenant)).await?;
    Ok(answer(tenant)?.into())
}
