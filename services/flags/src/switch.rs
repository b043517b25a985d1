//! Turns a flag of the tenant on or off; a key that has no flag yet gets one. Not for what the flag
//! switches, and not for the platform's flags: see `platform_switch`.

use axum::Extension;
use axum::extract::State;
use kernel::{Answer, Ctx, Error, Id, Result, Timestamp};
use sea_orm::ActiveValue::Set;
use sea_orm::ColumnTrait as _;
use service::{App, Operation, Shape};
use store::{Event, TenantEntity as _, Writer, version_mismatch};
use web::{Caller, IfMatch, Path};

use crate::CHANGED;
use crate::flag::{ActiveModel, Column, Entity, Flag, MOST, Model};
use crate::state::Flags;
use crate::turning::{Key, Said, TurnFlag, check_path};

pub(crate) fn operations() -> [Operation; 2] {
    [
        described(Operation::post("/api/features/{key}/enable", "flags_enable_flag", enable), "on"),
        described(Operation::post("/api/features/{key}/disable", "flags_disable_flag", disable), "off"),
    ]
}

fn described(operation: Operation, on_or_off: &'static str) -> Operation {
    operation
        .path::<Key>("key")
        .permission("flags.flags.write")
        .shape(Shape::Success)
        .describe(
            format!("Turn a flag {on_or_off}"),
            format!(
                "For the tenant's administrators. Turns the flag {on_or_off}, and makes it where the key has none yet; \
                 500 flags at most, else 409 `flags.too_many`. A key has 1 to 100 of a-z, 0-9, `_`, `.` and `-` and \
                 begins with a letter. A body is not needed; with one, its `description` is kept. With `If-Match`, \
                 only if that is still the flag's version, else 412. It holds for the next request in this process and \
                 within a second in others, unless the platform turned the key for everybody: `effective` says what \
                 holds. Writes `flags.flag.changed`; a flag that is {on_or_off} already stays as it is, without an event."
            ),
        )
        .may_take::<TurnFlag>()
        .gives::<Flag>(200, "As it is now")
        .problems(&[400, 409, 412, 415])
}

async fn enable(
    state: State<App>,
    caller: Caller,
    flags: Extension<Flags>,
    key: Path<String>,
    expected: IfMatch,
    said: Said,
) -> web::Result {
    turn(state, caller, flags, key, expected, said, true).await
}

async fn disable(
    state: State<App>,
    caller: Caller,
    flags: Extension<Flags>,
    key: Path<String>,
    expected: IfMatch,
    said: Said,
) -> web::Result {
    turn(state, caller, flags, key, expected, said, false).await
}

async fn turn(
    State(app): State<App>,
    Caller(mut ctx): Caller,
    Extension(flags): Extension<Flags>,
    Path(key): Path<String>,
    IfMatch(expected): IfMatch,
    Said(said): Said,
    enabled: bool,
) -> web::Result {
    check_path(&key)?;
    Ok(set(&app, &mut ctx, &flags, &key, expected, enabled, &said).await?.into())
}

async fn set(
    app: &App,
    ctx: &mut Ctx,
    flags: &Flags,
    key: &str,
    expected: Option<i64>,
    enabled: bool,
    said: &TurnFlag,
) -> Result<Answer> {
    let mut writer = app.store.write(ctx).await?;
    // Two may turn a key for the first time at once, and both are right.
    writer.alone("flags").await?;
    let found = writer.select::<Entity>().filter(Column::Key.eq(key)).one().await?;
    let row = match found {
        Some(row) if expected.is_some_and(|version| version != row.version) => return Err(version_mismatch()),
        Some(row) => change(&mut writer, row, enabled, said).await?,
        None if expected.is_some() => return Err(version_mismatch()),
        None => create(&mut writer, key, enabled, said).await?,
    };
    let (tenant, version) = (row.tenant_id, row.version);
    let decision = flags.decision_with(key, enabled);
    let answer = Answer::ok(&Flag::turned(row, flags, decision))?.version(version);
    let answer = writer.commit(answer).await?;
    // Before the answer leaves: it holds for the next request.
    flags.learn(|standing| standing.turn(tenant, key, version, enabled));
    Ok(answer)
}

async fn change(writer: &mut Writer<'_>, row: Model, enabled: bool, said: &TurnFlag) -> Result<Model> {
    let description = said.new_description(row.description.as_deref());
    if row.enabled == enabled && description.is_none() {
        return Ok(row);
    }
    let mut change = writer.change::<Entity>(row.id).set(Column::Enabled, enabled);
    if let Some(description) = description {
        change = change.set(Column::Description, description);
    }
    change.run("changed").await
}

async fn create(writer: &mut Writer<'_>, key: &str, enabled: bool, said: &TurnFlag) -> Result<Model> {
    if writer.select::<Entity>().limit(MOST).all().await?.len() as u64 >= MOST {
        return Err(Error::conflict("flags.too_many", format!("there are {MOST} flags already")));
    }
    let first = ActiveModel {
        description: Set(said.new_description(None).map(str::to_owned)),
        ..row(writer.actor(), writer.now(), key, enabled)
    };
    // Not `insert`: whoever follows flags hears of one kind of event, whether there was a row or not.
    let row = writer.append::<Entity>(first).await?;
    let (kind, subject) = (CHANGED.to_owned(), row.id.to_string());
    writer.record(Event { kind, subject, version: row.version, data: Entity::snapshot(&row) }).await?;
    Ok(row)
}

/// Returns the first version of a flag.
pub(crate) fn row(actor: &str, now: Timestamp, key: &str, enabled: bool) -> ActiveModel {
    ActiveModel {
        id: Set(Id::new()),
        key: Set(key.to_owned()),
        enabled: Set(enabled),
        description: Set(None),
        version: Set(1),
        updated_at: Set(now),
        updated_by: Set(actor.to_owned()),
        deleted_at: Set(None),
        ..Default::default()
    }
}
