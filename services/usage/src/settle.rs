//! Ends a reservation: enters what was used and gives back the rest, gives back all, or enters what was reserved
//! because nobody said how the call ended. Not for finding those: see `lapse`.

use kernel::{Answer, PermissionSet, Result, TenantId};
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveEnum as _, ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde_json::json;
use store::{Event, Store, Writer};

use crate::again;
use crate::call::{Amounts, Outcome, Spent, Tokens};
use crate::extend::locked;
use crate::record::{self, Column, Entity, RecordId, State};
use crate::{counter, day};

/// Enters what a call used, and gives back the rest of what was reserved. A second time changes nothing; after the
/// lease has ended it takes the place of what was entered then.
pub async fn settle(store: &Store, tenant: TenantId, id: RecordId, spent: Spent) -> Result<()> {
    again::while_contended(|| end(store, tenant, id, Ending::Spent(spent))).await
}

/// Gives back all that was reserved: the call was not made. A call that has ended stays as it is.
pub async fn release(store: &Store, tenant: TenantId, id: RecordId) -> Result<()> {
    again::while_contended(|| end(store, tenant, id, Ending::NotMade)).await
}

/// Enters what was reserved as used, if the lease has ended and nobody has said what was.
pub(crate) async fn lapse(store: &Store, tenant: TenantId, id: RecordId) -> Result<()> {
    again::while_contended(|| end(store, tenant, id, Ending::Unknown)).await
}

#[derive(Clone, Copy)]
enum Ending {
    Spent(Spent),
    NotMade,
    Unknown,
}

async fn end(store: &Store, tenant: TenantId, id: RecordId, ending: Ending) -> Result<()> {
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await?;
    let Some(row) = writer.select_with_deleted::<Entity>().id(id).lock().one().await? else {
        return writer.roll_back().await;
    };
    match (ending, row.state) {
        (Ending::Spent(spent), State::Reserved | State::Lapsed) => enter(&mut writer, &row, spent).await?,
        (Ending::Unknown, State::Reserved) if row.lease_ends <= writer.now() => {
            enter(&mut writer, &row, unknown(&row)).await?;
        }
        (Ending::NotMade, State::Reserved) => {
            for mut held in locked(&writer, &row).await? {
                held.reserve(-row.reserved().of(held.row.unit));
                counter::write(&mut writer, &held).await?;
            }
            writer.remove::<Entity>(Column::Id.eq(id)).await?;
        }
        _ => return writer.roll_back().await,
    }
    writer.commit(Answer::no_content()).await.map(|_| ())
}

/// What a call of which nobody said how it ended counts for.
fn unknown(row: &record::Model) -> Spent {
    let tokens = Tokens { input: row.question, output: row.answer(), ..Tokens::default() };
    Spent { tokens, cost_nano: row.reserved_nano, estimated: true, outcome: Outcome::Lapsed }
}

async fn enter(writer: &mut Writer<'_>, row: &record::Model, spent: Spent) -> Result<()> {
    let now = writer.now();
    let amounts = Amounts { tokens: spent.tokens.total(), nano: spent.cost_nano };
    let entered = row.settled_at.filter(|_| row.state == State::Lapsed);
    for mut held in locked(writer, row).await? {
        let (unit, period) = (held.row.unit, held.row.period);
        match entered {
            None => {
                held.reserve(-row.reserved().of(unit));
                held.charge(amounts.of(unit));
            }
            // It was entered in full when the lease ended; now it is known. A period that is over stays as it is.
            Some(moment) if held.account.counts(period, moment, now) => {
                held.charge(amounts.of(unit).saturating_sub(row.reserved().of(unit)));
            }
            Some(_) => continue,
        }
        counter::write(writer, &held).await?;
    }
    let state = if spent.outcome == Outcome::Lapsed { State::Lapsed } else { State::Settled };
    let update = Entity::update_many()
        .col_expr(Column::State, Expr::val(state.to_value()))
        .col_expr(Column::Input, Expr::val(spent.tokens.input))
        .col_expr(Column::Cached, Expr::val(spent.tokens.cached))
        .col_expr(Column::CacheWrite, Expr::val(spent.tokens.cache_write))
        .col_expr(Column::Output, Expr::val(spent.tokens.output))
        .col_expr(Column::CostNano, Expr::val(spent.cost_nano))
        .col_expr(Column::Estimated, Expr::val(spent.estimated))
        .col_expr(Column::Outcome, Expr::val(spent.outcome.to_value()))
        .col_expr(Column::SettledAt, Expr::val(now))
        .filter(Column::Id.eq(row.id));
    writer.revise(update).await?;
    writer.record(recorded(row, spent, entered.is_some())).await?;
    let before = entered.map(|_| Spent {
        tokens: row.tokens(),
        cost_nano: row.cost_nano,
        estimated: row.estimated,
        outcome: Outcome::Lapsed,
    });
    let began = contracts::Day::of(row.created_at).number();
    day::enter(writer, began, &row.model, spent, before).await
}

/// Returns the event; that of a call that was entered before has version 2 and takes the first one's place.
fn recorded(row: &record::Model, spent: Spent, again: bool) -> Event {
    let data = json!({
        "model": row.model,
        "route": row.route,
        "user": row.caller,
        "credential": row.credential,
        "inputTokens": spent.tokens.input,
        "cachedTokens": spent.tokens.cached,
        "cacheWriteTokens": spent.tokens.cache_write,
        "outputTokens": spent.tokens.output,
        "costNano": spent.cost_nano,
        "estimated": spent.estimated,
        "outcome": spent.outcome,
        "beganAt": row.created_at,
    });
    let version = if again { 2 } else { 1 };
    Event { version, ..Event::about(crate::RECORDED, row.id, data) }
}
