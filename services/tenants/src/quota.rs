//! What a tenant may use at most, by name. Not for counting what it does use, and not for refusing:
//! whoever counts asks for the number.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::Method;
use kernel::{Answer, Ctx, Error, Id, IdKind, Kind, Result, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, QueryOrder as _, QueryTrait as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use service::{App, Operation};
use store::{Event, Purpose, System, TenantChange, TenantRecord};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};
use web::{Body, Caller, IfMatch, IfNoneMatch, Path, Reply};

use crate::change;
use crate::tenant::may_name;

const PATH: &str = "/api/v1/tenants/{tenantId}/quotas";
/// How many quotas a tenant may have.
const MOST_NAMES: usize = 100;
/// What JSON numbers carry exactly everywhere.
const MOST: i64 = 9_000_000_000_000_000;

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenants_quota")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Quota>,
    pub name: String,
    pub most: i64,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

/// Marks the ids of quotas.
#[derive(Debug)]
pub struct Quota;
impl IdKind for Quota {
    const PREFIX: &'static str = "quo";
}

/// Numbers by name.
type Numbers = BTreeMap<String, i64>;

/// What a tenant may use.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Quotas {
    /// The most that it may use, by name, such as `users`; what is not named is not limited.
    #[schema(value_type = QuotaNumbers)]
    quotas: Numbers,
}

/// Numbers by name, as the document says them.
pub(crate) enum QuotaNumbers {}

impl PartialSchema for QuotaNumbers {
    fn schema() -> RefOr<Schema> {
        let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z][A-Za-z0-9_.-]{0,59}$"));
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(0))
            .maximum(Some(MOST));
        let numbers = ObjectBuilder::new().property_names(Some(name)).additional_properties(Some(number));
        numbers.max_properties(Some(MOST_NAMES)).into()
    }
}
impl ToSchema for QuotaNumbers {}

pub(crate) fn operations() -> [Operation; 2] {
    [
        Operation::get(PATH, "tenants_get_quotas", get)
            .path::<TenantId>("tenantId")
            .permission("tenants.quotas.read")
            .describe(
                "Get a tenant's quotas",
                "For the tenant's administrators, to whom every other id is 404, and for superadmins, who may name any. \
                 Gives all quotas; the ETag is the tenant's, which counts their changes too. `If-None-Match` answers \
                 304 when it is unchanged.",
            )
            .gives::<Quotas>(200, "Found")
            .gives_other(304, "Unchanged", &[])
            .problems(&[400, 404]),
        Operation::new(Method::PUT, PATH, "tenants_replace_quotas", put)
            .path::<TenantId>("tenantId")
            .permission("tenants.quotas.write")
            .describe(
                "Replace a tenant's quotas",
                "For superadmins. Takes all quotas, up to 100: what is not named is not limited any more. A name has 1 \
                 to 60 of A-Z, a-z, 0-9, `_`, `.` and `-` and begins with a small letter; a number is from 0 to \
                 9000000000000000. With `If-Match`, only if that is still the tenant's version, else 412. Writes \
                 `tenants.quota.changed` with what differs into the log of that tenant; saying what is so already \
                 changes nothing, so the request is safe to repeat and an `Idempotency-Key` is not stored.",
            )
            .takes::<Quotas>()
            .gives::<Quotas>(200, "Replaced, or as they were")
            .problems(&[400, 404, 409, 412, 415]),
    ]
}

/// Refuses what cannot be quotas.
pub(crate) fn check(quotas: &Numbers) -> Result<()> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let is_name = |name: &str| {
        (1..=60).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(letter)
    };
    let wrong = |field: String, why: String| {
        Err(Error::invalid("request.invalid_body", "the body is not valid").field(field, why))
    };
    if quotas.len() > MOST_NAMES {
        return wrong("quotas".to_owned(), format!("must have at most {MOST_NAMES} names"));
    }
    if !quotas.keys().all(|name| is_name(name)) {
        let why = "a name must have 1 to 60 of A-Z, a-z, 0-9, _, . and - and begin with a small letter";
        return wrong("quotas".to_owned(), why.to_owned());
    }
    match quotas.iter().find(|(_, most)| !(0..=MOST).contains(*most)) {
        Some((name, _)) => wrong(format!("quotas.{name}"), format!("must be from 0 to {MOST}")),
        None => Ok(()),
    }
}

/// Returns the tenant's quotas.
pub(crate) async fn of_tenant(system: &System, tenant: TenantId) -> Result<Numbers> {
    let rows = Entity::find().filter(Column::TenantId.eq(tenant)).order_by_asc(Column::Name);
    Ok(system.all(rows).await?.into_iter().map(|row| (row.name, row.most)).collect())
}

/// Sets the tenant's quotas, in place of those that it has.
pub(crate) async fn set(system: &System, tenant: TenantId, actor: &str, quotas: &Numbers) -> Result<()> {
    remove(system, tenant).await?;
    for (name, most) in quotas {
        let row = ActiveModel {
            tenant_id: Set(tenant),
            id: Set(Id::new()),
            name: Set(name.clone()),
            most: Set(*most),
            created_at: Set(system.now()),
            created_by: Set(actor.to_owned()),
        };
        system.insert(row).await?;
    }
    Ok(())
}

/// Removes all quotas of the tenant.
pub(crate) async fn remove(system: &System, tenant: TenantId) -> Result<()> {
    let delete = Entity::delete_many().filter(Column::TenantId.eq(tenant));
    system.execute(&delete.into_query()).await.map(|_| ())
}

async fn get(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<TenantId>,
    known: IfNoneMatch,
) -> web::Result<Response> {
    may_name(&ctx, id)?;
    let system = app.store.system_read(Purpose::Tenancy).await?;
    let tenant = system.tenant(id).await?;
    let quotas = of_tenant(&system, id).await?;
    system.close().await?;
    if known.has(tenant.version) {
        return Ok(web::not_modified(tenant.version));
    }
    Ok(Reply(Answer::ok(&Quotas { quotas })?.version(tenant.version)).into_response())
}

async fn put(
    State(app): State<App>,
    Caller(ctx): Caller,
    Path(id): Path<TenantId>,
    IfMatch(expected): IfMatch,
    Body(input): Body<Quotas>,
) -> web::Result {
    may_name(&ctx, id)?;
    check(&input.quotas)?;
    let tenant = replace(&app, &ctx, id, expected, &input.quotas).await?;
    Ok(Answer::ok(&input)?.version(tenant.version).into())
}

async fn replace(app: &App, ctx: &Ctx, id: TenantId, expected: Option<i64>, wanted: &Numbers) -> Result<TenantRecord> {
    let system = app.store.system(Purpose::Tenancy).await?;
    loop {
        let tenant = system.tenant(id).await?;
        if let Err(error) = change::may_change(&tenant, expected) {
            system.close().await?;
            return Err(error);
        }
        let present = of_tenant(&system, id).await?;
        if present == *wanted {
            system.close().await?;
            return Ok(tenant);
        }
        // Of two who replace at once on PostgreSQL the second waits here, and decides anew.
        let tenant = match system.change_tenant(id, Some(tenant.version), TenantChange::default()).await {
            Ok(tenant) => tenant,
            Err(error) if error.kind() == Kind::Precondition => continue,
            Err(error) => return Err(error),
        };
        set(&system, id, &ctx.actor().to_string(), wanted).await?;
        let event = Event {
            kind: "tenants.quota.changed".to_owned(),
            subject: id.to_string(),
            version: tenant.version,
            data: json!({ "changed": difference(&present, wanted) }),
        };
        system.record_for(id, ctx, &event).await?;
        system.commit().await?;
        return Ok(tenant);
    }
}

fn difference(present: &Numbers, wanted: &Numbers) -> Map<String, serde_json::Value> {
    let names: BTreeSet<&String> = present.keys().chain(wanted.keys()).collect();
    let differs = names.into_iter().filter(|name| present.get(*name) != wanted.get(*name));
    differs.map(|name| (name.clone(), json!({ "from": present.get(name), "to": wanted.get(name) }))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_have_short_names_and_numbers_that_json_carries() {
        let one = |name: &str, most: i64| check(&Numbers::from([(name.to_owned(), most)]));
        for sound in ["users", "apiCallsPerMonth", "storage.bytes", "a", "gpu-hours_2"] {
            one(sound, 0).expect(sound);
        }
        one("users", MOST).expect("the most");
        for wrong in ["", "Users", "1users", "us ers", "ü", "a/b", &"x".repeat(61)] {
            one(wrong, 1).expect_err(wrong);
        }
        for wrong in [-1, MOST + 1, i64::MIN, i64::MAX] {
            assert_eq!(one("users", wrong).expect_err("refused").fields()[0].field, "quotas.users");
        }
        let many: Numbers = (0..=MOST_NAMES).map(|number| (format!("q{number}"), 1)).collect();
        check(&many).expect_err("too many");
    }

    #[test]
    fn the_difference_names_what_came_went_and_changed() {
        let (present, wanted) = (
            Numbers::from([("a".into(), 1), ("b".into(), 2), ("c".into(), 3)]),
            Numbers::from([("b".into(), 2), ("c".into(), 4), ("d".into(), 5)]),
        );
        let told = json!({
            "a": { "from": 1, "to": null }, "c": { "from": 3, "to": 4 }, "d": { "from": null, "to": 5 },
        });
        assert_eq!(json!(difference(&present, &wanted)), told);
    }
}
