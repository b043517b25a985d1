//! Writes down how an attempt went and what follows from it, all in one transaction: the ledger, the
//! delivery, how the endpoint is doing, and whether it is switched off. Not for trying.

use kernel::{Answer, Result, Timestamp};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;
use store::Writer;
use tasks::{Outcome, Run};

use crate::deliver::Bundle;
use crate::delivery::{self, State};
use crate::schedule::{PATIENCE, asked_to_wait, until, wait_after};
use crate::send::Tried;
use crate::{attempt, endpoint, standing};

/// What an attempt makes of its delivery.
struct Verdict {
    state: State,
    next_at: Option<Timestamp>,
}

/// Writes an attempt down.
pub(crate) async fn settle(run: &mut Run, bundle: Bundle, tried: Tried) -> Result<Outcome> {
    let mut ctx = run.ctx();
    let store = run.store().clone();
    let mut writer = store.write(&mut ctx).await?;
    let now = writer.now();
    let verdict = match &tried.failure {
        None => {
            if bundle.standing.failures > 0 || bundle.standing.wait_until.is_some() {
                standing::clear(&mut writer, bundle.endpoint.id).await?;
            }
            Verdict { state: State::Delivered, next_at: None }
        }
        Some(_) => failed(&mut writer, &bundle, &tried).await?,
    };
    if !note(&mut writer, &bundle, &tried, &verdict).await? {
        // Somebody else has tried it meanwhile: look again.
        writer.roll_back().await?;
        return Ok(Outcome::Later(std::time::Duration::from_secs(1)));
    }
    if let Some(next) = verdict.next_at {
        writer.commit(Answer::no_content()).await?;
        return Ok(Outcome::Later(until(now, next).unwrap_or_default()));
    }
    run.complete(&mut writer, json!({ "state": verdict.state })).await?;
    writer.commit(Answer::no_content()).await?;
    Ok(Outcome::Completed)
}

/// Gives a delivery up whose endpoint is switched off; it can be sent again later.
pub(crate) async fn give_up(run: &mut Run, bundle: &Bundle) -> Result<Outcome> {
    let mut ctx = run.ctx();
    let store = run.store().clone();
    let mut writer = store.write(&mut ctx).await?;
    let now = writer.now();
    let update = delivery::Entity::update_many()
        .col_expr(delivery::Column::State, Expr::val(State::Failed.name()))
        .col_expr(delivery::Column::NextAt, Expr::val(None::<i64>))
        .col_expr(delivery::Column::Error, Expr::val("switched_off: the endpoint is switched off"))
        .col_expr(delivery::Column::EndedAt, Expr::val(now))
        .filter(delivery::Column::Id.eq(bundle.delivery.id))
        .filter(delivery::Column::State.eq(State::Pending.name()));
    writer.revise(update).await?;
    run.complete(&mut writer, json!({ "state": State::Failed })).await?;
    writer.commit(Answer::no_content()).await?;
    Ok(Outcome::Completed)
}

/// Says what follows from a failure.
async fn failed(writer: &mut Writer<'_>, bundle: &Bundle, tried: &Tried) -> Result<Verdict> {
    let now = writer.now();
    let given_up = Verdict { state: State::Failed, next_at: None };
    let status = tried.status.map_or(0, |status| status.as_u16());
    if status == 410 {
        switch_off(writer, bundle, "gone", tried).await?;
        return Ok(given_up);
    }
    let asked = tried.retry_after.as_deref().filter(|_| matches!(status, 429 | 503));
    let asked = asked.and_then(|header| asked_to_wait(header, now));
    let asked_until = asked.map(|wait| now.plus(wait));
    let standing = standing::failed(writer, bundle.endpoint.id, asked_until).await?;
    let since = standing.and_then(|standing| standing.failing_since);
    if since.is_some_and(|since| since.plus(PATIENCE) <= now) {
        switch_off(writer, bundle, "failing", tried).await?;
        return Ok(given_up);
    }
    let Some(wait) = wait_after(bundle.delivery.tries + 1)? else { return Ok(given_up) };
    Ok(Verdict { state: State::Pending, next_at: Some(now.plus(wait).max(asked_until.unwrap_or(now))) })
}

/// Switches the endpoint off, and tells its tenant why.
async fn switch_off(writer: &mut Writer<'_>, bundle: &Bundle, why: &'static str, tried: &Tried) -> Result<()> {
    let now = writer.now();
    let error = tried.failure.as_ref().map(ToString::to_string);
    let told = json!({
        "url": bundle.endpoint.url,
        "reason": why,
        "failingSince": bundle.standing.failing_since.filter(|_| why == "failing"),
        "lastError": error,
    });
    let off = writer
        .change::<endpoint::Entity>(bundle.endpoint.id)
        .set(endpoint::Column::Enabled, false)
        .set(endpoint::Column::DisabledAt, Some(now))
        .set(endpoint::Column::DisabledReason, Some(why.to_owned()))
        .guard(endpoint::Column::Enabled.eq(true))
        .event_data(move |_| told)
        .run_if("disabled")
        .await?;
    if off.is_some() {
        standing::clear(writer, bundle.endpoint.id).await?;
    }
    Ok(())
}

/// Adds the line of the ledger and moves the delivery on; says no when another attempt was first.
async fn note(writer: &mut Writer<'_>, bundle: &Bundle, tried: &Tried, verdict: &Verdict) -> Result<bool> {
    let now = writer.now();
    let (delivery, number) = (&bundle.delivery, bundle.delivery.attempts + 1);
    let status = tried.status.map(|status| i64::from(status.as_u16()));
    let error = tried.failure.as_ref().map(ToString::to_string);
    let ended = (verdict.state != State::Pending).then_some(now);
    let update = delivery::Entity::update_many()
        .col_expr(delivery::Column::State, Expr::val(verdict.state.name()))
        .col_expr(delivery::Column::Attempts, Expr::val(number))
        .col_expr(delivery::Column::Tries, Expr::val(delivery.tries + 1))
        .col_expr(delivery::Column::NextAt, Expr::val(verdict.next_at))
        .col_expr(delivery::Column::Status, Expr::val(status))
        .col_expr(delivery::Column::Error, Expr::val(error.clone()))
        .col_expr(delivery::Column::EndedAt, Expr::val(ended))
        .filter(delivery::Column::Id.eq(delivery.id))
        .filter(delivery::Column::Attempts.eq(delivery.attempts))
        .filter(delivery::Column::State.eq(State::Pending.name()));
    if writer.revise(update).await? == 0 {
        return Ok(false);
    }
    let row = attempt::ActiveModel {
        delivery_id: Set(delivery.id),
        number: Set(number),
        status: Set(status),
        duration_ms: Set(i64::try_from(tried.duration.as_millis()).unwrap_or(i64::MAX)),
        error: Set(error),
        response: Set(tried.response.clone()),
        ..Default::default()
    };
    writer.append::<attempt::Entity>(row).await?;
    Ok(true)
}
