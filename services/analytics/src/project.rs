//! Counts the events of the inventory: what an item is like now, and what moved of it on which day. An
//! event that was counted before changes nothing, except that an item's first event begins it anew: so
//! a replay from the start makes everything again, whatever is there. Not for showing it.

use contracts::Day;
use contracts::inventory::{
    ITEM_ADJUSTED, ITEM_CREATED, ITEM_DELETED, ITEM_RESTORED, ITEM_UPDATED, ItemAdjusted, ItemId, ItemState,
};
use events::{Kinds, Subscriber, Subscription};
use futures_util::future::BoxFuture;
use kernel::{Error, Money, Quantity, Result};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, SimpleExpr};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
};
use serde::de::DeserializeOwned;
use store::{EventRow, Writer};

use crate::tables::{day, item, progress};

/// What the figures are made of.
pub(crate) const KINDS: &[&str] = &[ITEM_CREATED, ITEM_UPDATED, ITEM_ADJUSTED, ITEM_DELETED, ITEM_RESTORED];

/// What a day of an item counts at most: ten years of it do not overflow.
pub(crate) const MOST: i64 = 1_000_000_000_000_000;

/// Returns the subscription.
pub(crate) fn subscription() -> Subscription {
    Subscription::new("analytics.inventory", Kinds::Of(KINDS), Projector)
}

struct Projector;

impl Subscriber for Projector {
    fn apply<'a, 'c: 'a>(&'a self, writer: &'a mut Writer<'c>, event: &'a EventRow) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let id: ItemId = event.subject.parse()?;
            let found = writer.select_with_deleted::<item::Entity>().id(id).one().await?;
            // A replay: what follows counts it from the start.
            let anew = found.is_none() || event.kind == ITEM_CREATED;
            if anew {
                writer.remove::<day::Entity>(day::Column::ItemId.eq(id)).await?;
            }
            let counted = found.as_ref().is_some_and(|found| event.subject_version <= found.last_version);
            if anew || !counted {
                count(writer, event, id, found, anew).await?;
            }
            advance(writer, event, anew).await
        })
    }
}

fn read<T: DeserializeOwned>(event: &EventRow) -> Result<T> {
    let unreadable =
        |error| Error::internal(format!("{} says nothing that can be counted", event.kind)).source_error(error);
    serde_json::from_str(&event.data).map_err(unreadable)
}

async fn count(
    writer: &mut Writer<'_>,
    event: &EventRow,
    id: ItemId,
    found: Option<item::Model>,
    anew: bool,
) -> Result<()> {
    let there = found.is_some();
    let mut row = found.unwrap_or_else(|| blank(writer, id));
    if anew {
        (row.first_day, row.deleted) = (None, false);
    }
    row.last_version = event.subject_version;
    let moved = if event.kind == ITEM_ADJUSTED {
        let said: ItemAdjusted = read(event)?;
        row.quantity = said.quantity;
        row.sku.clone_from(&said.sku);
        if row.name.is_empty() {
            // Its first event is not in the log: the next one that tells the name corrects it.
            row.name.clone_from(&said.sku);
        }
        let on = Day::of(said.occurred_at.unwrap_or(event.occurred_at)).number();
        row.first_day = Some(row.first_day.map_or(on, |first| Ord::min(first, on)));
        Some((on, Moved::of(&said)))
    } else {
        let said: ItemState = read(event)?;
        (row.sku, row.name, row.unit) = (said.sku, said.name, said.unit);
        (row.quantity, row.low_stock_level, row.unit_cost) = (said.quantity, said.low_stock_level, said.unit_cost);
        match event.kind.as_str() {
            ITEM_DELETED => row.deleted = true,
            ITEM_RESTORED => row.deleted = false,
            _ => {}
        }
        None
    };
    row.stock_value = value(row.quantity, row.unit_cost);
    keep(writer, row, there).await?;
    match moved {
        Some((on, moved)) => add(writer, id, on, moved).await,
        None => Ok(()),
    }
}

fn blank(writer: &Writer<'_>, id: ItemId) -> item::Model {
    item::Model {
        tenant_id: writer.tenant(),
        id,
        sku: String::new(),
        name: String::new(),
        unit: String::new(),
        quantity: Quantity(0),
        low_stock_level: None,
        unit_cost: None,
        stock_value: None,
        first_day: None,
        deleted: false,
        last_version: 0,
        created_at: writer.now(),
        created_by: writer.actor().to_owned(),
    }
}

fn value(quantity: Quantity, cost: Option<Money>) -> Option<Money> {
    let product = i128::from(quantity.0) * i128::from(cost?.0);
    Some(Money(product.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
}

async fn keep(writer: &mut Writer<'_>, row: item::Model, there: bool) -> Result<()> {
    use item::Column;
    if !there {
        return writer.append::<item::Entity>(row.into_active_model().reset_all()).await.map(|_| ());
    }
    let update = item::Entity::update_many()
        .col_expr(Column::Sku, Expr::val(row.sku))
        .col_expr(Column::Name, Expr::val(row.name))
        .col_expr(Column::Unit, Expr::val(row.unit))
        .col_expr(Column::Quantity, Expr::val(row.quantity))
        .col_expr(Column::LowStockLevel, Expr::val(row.low_stock_level))
        .col_expr(Column::UnitCost, Expr::val(row.unit_cost))
        .col_expr(Column::StockValue, Expr::val(row.stock_value))
        .col_expr(Column::FirstDay, Expr::val(row.first_day))
        .col_expr(Column::Deleted, Expr::val(row.deleted))
        .col_expr(Column::LastVersion, Expr::val(row.last_version))
        .filter(Column::Id.eq(row.id));
    writer.revise(update).await.map(|_| ())
}

/// What a movement adds to its day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moved {
    received: i64,
    demanded: i64,
    corrected: i64,
    received_amount: i64,
    demanded_amount: i64,
    demanded_without_amount: i64,
}

impl Moved {
    /// A movement that takes another one back has the other sign, and so takes back what it added.
    fn of(said: &ItemAdjusted) -> Self {
        let delta = said.delta.0.clamp(-MOST, MOST);
        let worth = said.amount.map(|amount| Ord::min(amount.0.saturating_abs(), MOST));
        let amount = |signed: i64| worth.unwrap_or(0) * signed.signum();
        match said.reason.as_str() {
            "received" | "returned" => Self { received: delta, received_amount: amount(delta), ..Self::default() },
            "sold" | "consumed" => Self {
                demanded: -delta,
                demanded_amount: amount(-delta),
                demanded_without_amount: if worth.is_none() { -delta } else { 0 },
                ..Self::default()
            },
            _ => Self { corrected: delta, ..Self::default() },
        }
    }
}

async fn add(writer: &mut Writer<'_>, id: ItemId, on: i64, moved: Moved) -> Result<()> {
    use day::Column;
    let figures = [
        (Column::InQuantity, moved.received),
        (Column::OutQuantity, moved.demanded),
        (Column::CorrectedQuantity, moved.corrected),
        (Column::InAmount, moved.received_amount),
        (Column::OutAmount, moved.demanded_amount),
        (Column::OutWithoutAmount, moved.demanded_without_amount),
    ];
    let mut update = day::Entity::update_many().col_expr(Column::Movements, Expr::col(Column::Movements).add(1i64));
    for (column, more) in figures.into_iter().filter(|(_, more)| *more != 0) {
        update = update.col_expr(column, bounded(column, more));
    }
    if writer.revise(update.filter(Column::ItemId.eq(id)).filter(Column::Day.eq(on))).await? > 0 {
        return Ok(());
    }
    let row = day::ActiveModel {
        item_id: Set(id),
        day: Set(on),
        in_quantity: Set(moved.received),
        out_quantity: Set(moved.demanded),
        corrected_quantity: Set(moved.corrected),
        in_amount: Set(moved.received_amount),
        out_amount: Set(moved.demanded_amount),
        out_without_amount: Set(moved.demanded_without_amount),
        movements: Set(1),
        ..Default::default()
    };
    writer.append::<day::Entity>(row).await.map(|_| ())
}

/// The column and this, but no more than a day counts.
fn bounded(column: day::Column, more: i64) -> SimpleExpr {
    let sum = || Expr::col(column).add(more);
    SimpleExpr::Case(Box::new(
        CaseStatement::new().case(sum().gt(MOST), MOST).case(sum().lt(-MOST), -MOST).finally(sum()),
    ))
}

/// Notes up to where events were counted. An event that comes again says nothing new of that, unless it
/// begins an item anew: then what follows is still to be counted.
async fn advance(writer: &mut Writer<'_>, event: &EventRow, anew: bool) -> Result<()> {
    use progress::Column;
    let (id, position) = (progress::id_of(writer.tenant()), event.position.unwrap_or(0));
    let mut update = progress::Entity::update_many()
        .col_expr(Column::Position, Expr::val(position))
        .col_expr(Column::OccurredAt, Expr::val(event.occurred_at))
        .filter(Column::Id.eq(id));
    if !anew {
        update = update.filter(Column::Position.lt(position));
    }
    if writer.revise(update).await? > 0 {
        return Ok(());
    }
    if writer.select_with_deleted::<progress::Entity>().id(id).one().await?.is_none() {
        let (position, occurred_at) = (Set(position), Set(event.occurred_at));
        let row = progress::ActiveModel { id: Set(id), position, occurred_at, ..Default::default() };
        writer.append::<progress::Entity>(row).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(delta: i64, reason: &str, amount: Option<i64>) -> Moved {
        Moved::of(&ItemAdjusted {
            sku: "S".to_owned(),
            delta: Quantity(delta),
            quantity: Quantity(0),
            reason: reason.to_owned(),
            occurred_at: None,
            amount: amount.map(Money),
            batch_id: None,
            reference: None,
        })
    }

    #[test]
    fn a_movement_counts_by_its_reason_and_what_takes_it_back_takes_it_back() {
        for reason in ["received", "returned"] {
            let wanted = Moved { received: 5, received_amount: 70, ..Moved::default() };
            assert_eq!(moved(5, reason, Some(70)), wanted);
        }
        for reason in ["sold", "consumed"] {
            let wanted = Moved { demanded: 5, demanded_amount: 70, ..Moved::default() };
            assert_eq!(moved(-5, reason, Some(70)), wanted);
            let back = Moved { demanded: -5, demanded_amount: -70, ..Moved::default() };
            assert_eq!((moved(5, reason, Some(70)), moved(5, reason, Some(-70))), (back, back));
            let unknown = Moved { demanded: 5, demanded_without_amount: 5, ..Moved::default() };
            assert_eq!(moved(-5, reason, None), unknown);
        }
        for reason in ["opening", "counted", "damaged", "something new"] {
            assert_eq!(moved(-5, reason, Some(70)), Moved { corrected: -5, ..Moved::default() });
        }
    }

    #[test]
    fn what_is_too_much_counts_as_much_as_can_be_counted() {
        assert_eq!(moved(i64::MIN, "sold", Some(i64::MIN)).demanded, MOST);
        assert_eq!(moved(i64::MIN, "sold", Some(i64::MIN)).demanded_amount, MOST);
        assert_eq!(value(Quantity(3), Some(Money(-7))), Some(Money(-21)));
        assert_eq!(value(Quantity(i64::MAX), Some(Money(2))), Some(Money(i64::MAX)));
        assert_eq!(value(Quantity(3), None), None);
    }
}
