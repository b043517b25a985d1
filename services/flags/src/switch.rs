//! Turns a flag on or off; a key that has no flag yet gets one. Not for what the flag switches.

use axum::extract::State;
use kernel::{Answer, Ctx, Error, Id, Result};
use sea_orm::ActiveValue::Set;
use sea_orm::ColumnTrait as _;
use service::{App, Operation, Shape};
use store::{Event, TenantEntity as _, Writer, version_mismatch};
use web::{Caller, IfMatch, Path};

use crate::flag::{ActiveModel, Column, Entity, Flag, MOST, Model, check_key};

pub(crate) fn operations() -> [Operation; 2] {
    [
        described(Operation::post("/api/features/{key}/enable", "flags_enable_flag", enable), "on"),
        described(Operation::post("/api/features/{key}/disable", "flags_disable_flag", disable), "off"),
    ]
}

fn described(operation: Operation, on_or_off: &'static str) -> Operation {
    operation
        .permission("flags.flags.write")
        .shape(Shape::Success)
        .describe(
            format!("Turn a flag {on_or_off}"),
            format!(
                "For the tenant's administrators. Turns the flag {on_or_off}, and makes it where the key has none yet; \
                 500 flags at most, else 409 `flags.too_many`. A key has 1 to 100 of a-z, 0-9, `_`, `.` and `-` and \
                 begins with a letter. With `If-Match`, only if that is still the flag's version, else 412. Writes \
                 `flags.flag.changed`; a flag that is {on_or_off} already stays as it is, without an event."
            ),
        )
        .gives::<Flag>(200, "As it is now")
        .problems(&[400, 409, 412])
}

async fn enable(state: State<App>, caller: Caller, key: Path<String>, expected: IfMatch) -> web::Result {
    turn(state, caller, key, expected, true).await
}

async fn disable(state: State<App>, caller: Caller, key: Path<String>, expected: IfMatch) -> web::Result {
    turn(state, caller, key, expected, false).await
}

async fn turn(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Path(key): Path<String>,
    IfMatch(expected): IfMatch,
    enabled: bool,
) -> web::Result {
    check_key(&key).map_err(|why| Error::invalid("request.invalid_path", why).field("key", why))?;
    Ok(set(&app, &mut ctx, &key, expected, enabled).await?.into())
}

async fn set(app: &App, ctx: &mut Ctx, key: &str, expected: Option<i64>, enabled: bool) -> Result<Answer> {
    let mut writer = app.store.write(ctx).await?;
    // Two may turn a key for the first time at once, and both are right.
    writer.alone("flags").await?;
    let found = writer.select::<Entity>().filter(Column::Key.eq(key)).one().await?;
    let row = match found {
        Some(row) if expected.is_some_and(|version| version != row.version) => return Err(version_mismatch()),
        Some(row) if row.enabled == enabled => row,
        Some(row) => writer.change::<Entity>(row.id).set(Column::Enabled, enabled).run("changed").await?,
        None if expected.is_some() => return Err(version_mismatch()),
        None => create(&mut writer, key, enabled).await?,
    };
    let version = row.version;
    writer.commit(Answer::ok(&Flag::from(row))?.version(version)).await
}

async fn create(writer: &mut Writer<'_>, key: &str, enabled: bool) -> Result<Model> {
    if writer.select::<Entity>().limit(MOST).all().await?.len() as u64 >= MOST {
        return Err(Error::conflict("flags.too_many", format!("there are {MOST} flags already")));
    }
    // Not `insert`: whoever follows flags hears of one kind of event, whether there was a row or not.
    let row = writer.append::<Entity>(row(writer.actor(), writer.now(), key, enabled)).await?;
    let (kind, subject) = ("flags.flag.changed".to_owned(), row.id.to_string());
    writer.record(Event { kind, subject, version: row.version, data: Entity::snapshot(&row) }).await?;
    Ok(row)
}

/// Returns the first version of a flag.
pub(crate) fn row(actor: &str, now: kernel::Timestamp, key: &str, enabled: bool) -> ActiveModel {
    ActiveModel {
        id: Set(Id::new()),
        key: Set(key.to_owned()),
        enabled: Set(enabled),
        version: Set(1),
        updated_at: Set(now),
        updated_by: Set(actor.to_owned()),
        deleted_at: Set(None),
        ..Default::default()
    }
}
