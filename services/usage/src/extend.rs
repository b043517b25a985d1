//! Makes room for a call that needs more than was reserved. Not for the first reservation.

use kernel::{Answer, PermissionSet, Result, TenantId};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use store::{Store, Writer};

use crate::call::{Amounts, Tokens};
use crate::counter::{self, Held};
use crate::record::{self, Column, Entity, RecordId, State};
use crate::{again, budget};

/// Makes room for a call up to so much in all: `false` where there is none, or the call is not under way any more.
pub async fn extend(store: &Store, tenant: TenantId, id: RecordId, upto: Tokens, cost_nano: i64) -> Result<bool> {
    let upto = Amounts { tokens: upto.total(), nano: cost_nano };
    again::while_contended(|| extend_once(store, tenant, id, upto)).await
}

async fn extend_once(store: &Store, tenant: TenantId, id: RecordId, upto: Amounts) -> Result<bool> {
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = store.write(&mut ctx).await?;
    let row = writer.select_with_deleted::<Entity>().id(id).lock().one().await?;
    let Some(row) = row.filter(|row| row.state == State::Reserved) else {
        writer.roll_back().await?;
        return Ok(false);
    };
    let reserved = row.reserved();
    let wanted = Amounts { tokens: upto.tokens.max(reserved.tokens), nano: upto.nano.max(reserved.nano) };
    let more = Amounts {
        tokens: wanted.tokens.saturating_sub(reserved.tokens),
        nano: wanted.nano.saturating_sub(reserved.nano),
    };
    let mut counters = locked(&writer, &row).await?;
    if let Some(full) = counters.iter().find(|held| held.left() < more.of(held.row.unit)) {
        let name = name_of(&writer, full).await?;
        if counter::tell(&mut writer, full, &name).await? {
            writer.commit(Answer::no_content()).await?;
        } else {
            writer.roll_back().await?;
        }
        return Ok(false);
    }
    for held in &mut counters {
        held.reserve(more.of(held.row.unit));
        counter::write(&mut writer, held).await?;
    }
    let update = Entity::update_many()
        .col_expr(Column::ReservedTokens, Expr::val(wanted.tokens))
        .col_expr(Column::ReservedNano, Expr::val(wanted.nano))
        .filter(Column::Id.eq(id));
    writer.revise(update).await?;
    writer.commit(Answer::no_content()).await?;
    Ok(true)
}

/// Locks the counters that a call is entered in, where they still count what they did.
pub(crate) async fn locked(writer: &Writer<'_>, row: &record::Model) -> Result<Vec<Held>> {
    let holds = row.held_in();
    let ids: Vec<_> = holds.iter().map(|hold| hold.id).collect();
    let mut held = counter::lock(writer, &ids).await?;
    let still = |hold: &record::Hold| held.remove(&hold.id).filter(|held| held.row.unit == hold.unit);
    Ok(holds.iter().filter_map(still).collect())
}

/// Returns what people call the budget of a counter.
async fn name_of(writer: &Writer<'_>, held: &Held) -> Result<String> {
    let own = held.row.budget.parse().ok().filter(|_| held.row.source == "tenant");
    let Some(own) = own else { return Ok(held.row.budget.clone()) };
    let row = writer.select_with_deleted::<budget::Entity>().id(own).one().await?;
    Ok(row.map_or_else(|| held.row.budget.clone(), |row| row.name))
}
