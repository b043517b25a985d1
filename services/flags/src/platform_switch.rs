//! Turns a flag of the platform on or off for every tenant, or leaves it to the tenants again. Off is
//! the kill switch: nothing beats it. Not for a tenant's own flags: see `switch`.

use axum::Extension;
use axum::extract::State;
use http::Method;
use kernel::{Answer, Ctx, Error, Result};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QuerySelect as _, QueryTrait as _};
use serde_json::json;
use service::{App, Operation, Shape};
use store::{Event, Purpose, System, version_mismatch};
use web::{Caller, IfMatch, Path};

use crate::PLATFORM_CHANGED;
use crate::platform::{ActiveModel, Column, Entity, MOST, Model, PlatformFlag};
use crate::state::Flags;
use crate::turning::{Key, Said, TurnFlag, check_path};

const ONE: &str = "/api/v1/platform/features/{key}";

pub(crate) fn operations() -> [Operation; 3] {
    let enable = Operation::post(
        "/api/v1/platform/features/{key}/enable",
        "flags_enable_platform_flag",
        async |state: State<App>,
               caller: Caller,
               flags: Extension<Flags>,
               key: Path<String>,
               expected: IfMatch,
               Said(said): Said| { turn(state, caller, flags, key, expected, said, Some(true)).await },
    );
    let disable = Operation::post(
        "/api/v1/platform/features/{key}/disable",
        "flags_disable_platform_flag",
        async |state: State<App>,
               caller: Caller,
               flags: Extension<Flags>,
               key: Path<String>,
               expected: IfMatch,
               Said(said): Said| { turn(state, caller, flags, key, expected, said, Some(false)).await },
    );
    let withdraw = Operation::new(
        Method::DELETE,
        ONE,
        "flags_withdraw_platform_flag",
        async |state: State<App>, caller: Caller, flags: Extension<Flags>, key: Path<String>, expected: IfMatch| {
            turn(state, caller, flags, key, expected, TurnFlag::default(), None).await
        },
    );
    let turned = "Makes the flag where the key has none yet; 500 at most, else 409 `flags.too_many`. A body is not \
                  needed; with one, its `description` is kept.";
    [
        described(
            enable,
            "Turn a flag on for everybody",
            &format!("From now on it is on for every tenant, whatever the tenant says. {turned}"),
        )
        .may_take::<TurnFlag>()
        .problems(&[400, 409, 412, 415]),
        described(
            disable,
            "Turn a flag off for everybody",
            &format!(
                "The kill switch: from now on what stands behind it answers 503 `flags.feature_disabled` to every \
                 tenant, whatever the tenant says. {turned}"
            ),
        )
        .may_take::<TurnFlag>()
        .problems(&[400, 409, 412, 415]),
        described(
            withdraw,
            "Leave a flag to the tenants",
            "From now on what the tenant says holds again. A key that the platform never turned is 404 \
             `flags.never_turned`.",
        )
        .problems(&[400, 404, 412]),
    ]
}

fn described(operation: Operation, summary: &str, what: &str) -> Operation {
    operation
        .path::<Key>("key")
        .permission("flags.platform.write")
        .shape(Shape::Success)
        .describe(
            summary,
            format!(
                "For superadmins, who say why in `X-Audit-Reason`. {what} It holds for the next request in this process \
                 and within a second in others. With `If-Match`, only if that is still the flag's version, else 412. \
                 Writes `flags.platform_flag.changed` with the reason into the log of the tenant that the superadmin \
                 works in. Saying what is so already changes nothing and appends nothing, so the request is safe to \
                 repeat and an `Idempotency-Key` is not stored."
            ),
        )
        .gives::<PlatformFlag>(200, "As it is now")
}

async fn turn(
    State(app): State<App>,
    Caller(ctx): Caller,
    Extension(flags): Extension<Flags>,
    Path(key): Path<String>,
    IfMatch(expected): IfMatch,
    said: TurnFlag,
    wanted: Option<bool>,
) -> web::Result {
    check_path(&key)?;
    let system = app.store.system(Purpose::Switches).await?;
    let row = match set(&system, &ctx, &key, expected, wanted, &said).await {
        Ok((row, true)) => {
            system.commit().await?;
            // Before the answer leaves: it holds for the next request.
            flags.learn(|standing| standing.turn_for_all(&key, row.version, row.enabled));
            row
        }
        Ok((row, false)) => {
            system.close().await?;
            row
        }
        Err(error) => {
            system.close().await?;
            return Err(error.into());
        }
    };
    let version = row.version;
    Ok(Answer::ok(&PlatformFlag::turned(row, &flags))?.version(version).into())
}

/// Returns the flag as it is to be, and whether that is another than it was.
async fn set(
    system: &System,
    ctx: &Ctx,
    key: &str,
    expected: Option<i64>,
    wanted: Option<bool>,
    said: &TurnFlag,
) -> Result<(Model, bool)> {
    let present = match find(system, key).await? {
        Some(row) => row,
        None if expected.is_some() => return Err(version_mismatch()),
        None if wanted.is_none() => {
            return Err(Error::not_found("flags.never_turned", "the platform never turned this flag"));
        }
        None => create(system, ctx, key).await?,
    };
    if expected.is_some_and(|version| version != present.version) {
        return Err(version_mismatch());
    }
    let description = said.new_description(present.description.as_deref());
    if present.version > 0 && present.enabled == wanted && description.is_none() {
        return Ok((present, false));
    }
    let row = Model {
        enabled: wanted,
        description: description.map(str::to_owned).or(present.description),
        reason: ctx.reason().map(str::to_owned),
        version: present.version + 1,
        updated_at: system.now(),
        updated_by: ctx.actor().to_string(),
        key: present.key,
    };
    let update = Entity::update_many()
        .col_expr(Column::Enabled, Expr::val(row.enabled))
        .col_expr(Column::Description, Expr::val(row.description.clone()))
        .col_expr(Column::Reason, Expr::val(row.reason.clone()))
        .col_expr(Column::Version, Expr::val(row.version))
        .col_expr(Column::UpdatedAt, Expr::val(row.updated_at))
        .col_expr(Column::UpdatedBy, Expr::val(row.updated_by.clone()))
        .filter(Column::Key.eq(key));
    system.execute(update.as_query()).await?;
    let data = json!({ "key": row.key, "enabled": row.enabled, "description": row.description });
    let event = Event { kind: PLATFORM_CHANGED.to_owned(), subject: row.key.clone(), version: row.version, data };
    system.record_for(ctx.tenant(), ctx, &event).await?;
    Ok((row, true))
}

/// Finds a flag, and keeps it as it is until the transaction ends.
async fn find(system: &System, key: &str) -> Result<Option<Model>> {
    system.one_locked(Entity::find_by_id(key)).await
}

/// Makes a flag that says nothing yet. Two may do so at once: the second waits for the first and finds its.
async fn create(system: &System, ctx: &Ctx, key: &str) -> Result<Model> {
    let row = ActiveModel {
        key: Set(key.to_owned()),
        enabled: Set(None),
        description: Set(None),
        reason: Set(None),
        version: Set(0),
        updated_at: Set(system.now()),
        updated_by: Set(ctx.actor().to_string()),
    };
    let unless_there = OnConflict::column(Column::Key).do_nothing().to_owned();
    system.execute(&Entity::insert(row).on_conflict(unless_there).into_query()).await?;
    let known = Entity::find().select_only().column(Column::Key).limit(MOST + 1).into_query();
    if system.rows(&known).await?.len() as u64 > MOST {
        return Err(Error::conflict("flags.too_many", format!("there are {MOST} flags already")));
    }
    let lost = || Error::internal("a flag of the platform that was just made is not there");
    find(system, key).await?.ok_or_else(lost)
}
