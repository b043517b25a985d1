//! Making a tenant for somebody else: takes what it is to be, starts the saga that makes it, and waits
//! a moment for its end. Not for the steps: see `making`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract;
use http::{HeaderMap, HeaderName, HeaderValue};
use kernel::{Answer, Ctx, Error, Kind, Result, TenantId, Text};
use serde::{Deserialize, Serialize};
use service::{App, NewTenant, Operation};
use store::{Purpose, TenantRecord};
use tasks::{State, TaskId, start_saga};
use tokio::time::{Instant, sleep};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use web::{Body, Caller};

use crate::making::Making;
use crate::quota::QuotaNumbers;
use crate::settings::{Currency, PlanName, TimeZone};
use crate::tenant::Tenant;

/// How long the answer waits for the tenant.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon, and how rarely at most, it looks whether the tenant is there.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(160));

/// Says `respond-async` when the caller does not want to wait (RFC 7240).
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What the tenant is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProvisionTenant {
    /// Its short name in addresses, for good: 3 to 40 of a-z, 0-9 and -.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{1,38}[a-z0-9]$")]
    slug: String,
    /// Its name for people.
    name: Text<100>,
    /// What it has booked; `free` unless said.
    plan: Option<PlanName>,
    /// Its IANA time zone; `UTC` unless said.
    time_zone: Option<TimeZone>,
    /// Its ISO 4217 currency; `EUR` unless said.
    currency: Option<Currency>,
    /// Its first administrator.
    admin: FirstAdministrator,
    /// The most that it may use, by name; see its quotas.
    #[serde(default)]
    #[schema(value_type = QuotaNumbers)]
    quotas: BTreeMap<String, i64>,
    /// Its first flags, by key; see its features.
    #[serde(default)]
    #[schema(value_type = FirstFlags)]
    flags: BTreeMap<String, bool>,
}

/// Flags by key, as the document says them.
enum FirstFlags {}

impl PartialSchema for FirstFlags {
    fn schema() -> RefOr<Schema> {
        let key = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z][a-z0-9_.-]{0,99}$"));
        let on = ObjectBuilder::new().schema_type(Type::Boolean);
        ObjectBuilder::new().property_names(Some(key)).additional_properties(Some(on)).into()
    }
}
impl ToSchema for FirstFlags {}

/// Who is to run the tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FirstAdministrator {
    /// Where the invitation goes.
    #[schema(format = Email, min_length = 3, max_length = 254)]
    email: String,
}

/// Making a tenant, under way or done.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Provisioned {
    /// The task that makes it: `GET /api/tasks/{taskId}` has its history.
    task_id: TaskId,
    /// The tenant's id, from the beginning.
    tenant_id: TenantId,
    /// `running` or `completed`.
    status: String,
    /// The tenant, when it is made.
    #[serde(skip_deserializing)]
    tenant: Option<Tenant>,
}

/// Returns `POST /api/v1/tenants/provision`.
pub(crate) fn operation() -> Operation {
    Operation::post("/api/v1/tenants/provision", "tenants_provision_tenant", provision)
        .permission("tenants.tenants.provision")
        .describe(
            "Make a tenant for somebody else",
            "For superadmins. Makes the tenant, its quotas, its flags and an invitation for its first administrator, \
             in steps of a durable task that is the caller's tenant's: all of them happen or none, whatever crashes. \
             Nobody gets into the tenant before the last step, which writes `tenants.tenant.provisioned` into its log \
             and lets the invitation's letter go; its code is in the letter and nowhere else. Waits up to 2 s for the \
             end: 201 with the tenant, else 202 and `Location` with the task, which is also what `Prefer: \
             respond-async` gives at once. A task that fails leaves nothing behind, and says why. A short name that is \
             taken is 409 `tenants.slug_taken`. Repeating with the same `Idempotency-Key` starts nothing new and tells \
             how far the first one is.",
        )
        .takes::<ProvisionTenant>()
        .gives::<Provisioned>(201, "Made")
        .gives::<Provisioned>(202, "Being made")
        .problems(&[400, 409, 415, 422])
}

impl ProvisionTenant {
    fn into_new(self, ctx: &Ctx) -> NewTenant {
        NewTenant {
            id: TenantId::new(),
            slug: self.slug,
            name: self.name.into(),
            plan: self.plan.map(String::from),
            time_zone: self.time_zone.map(String::from),
            currency: self.currency.map(String::from),
            admin_email: self.admin.email,
            quotas: self.quotas,
            flags: self.flags,
            asked_by: ctx.actor().to_string(),
            reason: ctx.reason().map(str::to_owned),
        }
    }
}

async fn provision(
    extract::State(app): extract::State<App>,
    Extension(making): Extension<Arc<Making>>,
    Caller(mut ctx): Caller,
    headers: HeaderMap,
    Body(input): Body<ProvisionTenant>,
) -> web::Result {
    let new = input.into_new(&ctx);
    making.check(&new)?;
    let begun = begin(&app, &making, &mut ctx, &new).await?;
    let hurries = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("respond-async"));
    let patience = if headers.get_all(PREFER).iter().any(hurries) { Duration::ZERO } else { PATIENCE };
    Ok(wait(&app, &ctx, begun, patience).await?.into())
}

/// Starts the saga and gives the answer of a request that does not wait; a repeated request gets the
/// first one's.
async fn begin(app: &App, making: &Making, ctx: &mut Ctx, new: &NewTenant) -> Result<Answer> {
    let system = app.store.system_read(Purpose::Tenancy).await?;
    let taken = system.tenant_by_slug(&new.slug).await?.is_some();
    system.close().await?;
    // Before the slug is judged: a request that comes again finds its slug taken, by itself.
    let mut writer = match app.store.write(ctx).await {
        Ok(writer) => writer,
        Err(error) => return error.into_replay(),
    };
    if taken {
        writer.roll_back().await?;
        return Err(slug_taken());
    }
    let input =
        serde_json::to_value(new).map_err(|error| Error::internal("a new tenant as JSON").source_error(error))?;
    let task_id = start_saga(&mut writer, &making.saga, &new.id.to_string(), input).await?;
    let begun = Provisioned { task_id, tenant_id: new.id, status: "running".to_owned(), tenant: None };
    let location = Some(format!("/api/tasks/{task_id}"));
    writer.commit(Answer { status: 202, location, ..Answer::ok(&begun)? }).await
}

/// Waits for the end of it, for a moment; looks at least once.
async fn wait(app: &App, ctx: &Ctx, begun: Answer, patience: Duration) -> Result<Answer> {
    let known: Provisioned = serde_json::from_str(&begun.body)
        .map_err(|error| Error::internal("the first answer of a provisioning").source_error(error))?;
    let (ends, (mut pause, longest)) = (Instant::now() + patience, LOOKS);
    loop {
        if let Some(tenant) = made(app, ctx, &known).await? {
            let (status, location) = ("completed".to_owned(), format!("/api/v1/tenants/{}", tenant.id));
            let done = Provisioned { status, tenant: Some(tenant.into()), ..known };
            return Ok(Answer { replayed: begun.replayed, ..Answer::created(location, &done)? });
        }
        if Instant::now() + pause > ends {
            return Ok(begun);
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Returns the tenant when it is made; fails when it will not be.
async fn made(app: &App, ctx: &Ctx, known: &Provisioned) -> Result<Option<TenantRecord>> {
    // Before the tenant: a task that is over by now has left it as it will be.
    let reader = app.store.read(ctx).await?;
    let task = tasks::find(&reader, known.task_id).await?;
    reader.close().await?;
    let over = [State::Failed, State::Cancelled].iter().any(|state| state.name() == task.state);
    let system = app.store.system_read(Purpose::Tenancy).await?;
    let found = system.tenant(known.tenant_id).await;
    system.close().await?;
    match found {
        Ok(tenant) if !tenant.is_provisioning() => Ok(Some(tenant)),
        Err(error) if error.kind() != Kind::NotFound => Err(error),
        _ if !over => Ok(None),
        _ if task.error_code.as_deref() == Some(SLUG_TAKEN) => Err(slug_taken()),
        _ => {
            let why = task.error.unwrap_or_default();
            let message = format!("making it failed, and nothing of it is left: {why} (task {})", known.task_id);
            Err(Error::conflict("tenants.not_provisioned", message))
        }
    }
}

const SLUG_TAKEN: &str = "tenants.slug_taken";

fn slug_taken() -> Error {
    Error::conflict(SLUG_TAKEN, "another organisation has this short name").field("slug", "is taken")
}
