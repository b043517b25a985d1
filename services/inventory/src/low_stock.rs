//! When an item has become short: once, and again only after what is available has been clearly above
//! its level. Not for telling anybody: whoever follows `inventory.item.low_stock` does that.

use sea_orm::Condition;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, SimpleExpr};
use serde_json::json;
use store::Event;

use crate::item::{Column, Model};

const EVENT: &str = "inventory.item.low_stock";

/// Returns what `short_since_version` becomes when `available` is what is left, in the statement that
/// changes it: two who take from one item at once make it short once. A level that is raised above the
/// stock makes an item short with the next removal.
pub(crate) fn short_since(available: SimpleExpr, removal: bool) -> SimpleExpr {
    let level = || Expr::col(Column::LowStockLevel);
    let tenth = CaseStatement::new().case(level().lt(10i64), 1i64).finally(level().add(9i64).div(10i64));
    let clearly_above = available.clone().gt(level().add(SimpleExpr::Case(Box::new(tenth))));
    let not_short_again = Condition::any().add(level().is_null()).add(clearly_above);
    let mut since = CaseStatement::new().case(not_short_again, SimpleExpr::Value(Option::<i64>::None.into()));
    if removal {
        let becomes_short =
            Condition::all().add(Expr::col(Column::ShortSinceVersion).is_null()).add(available.lte(level()));
        since = since.case(becomes_short, Expr::col(Column::Version).add(1i64));
    }
    SimpleExpr::Case(Box::new(since.finally(Expr::col(Column::ShortSinceVersion))))
}

/// Returns the event of a row that has just become short.
pub(crate) fn event(row: &Model) -> Option<Event> {
    let crossing = row.short_since_version.filter(|version| *version == row.version)?;
    let data = json!({
        "sku": row.sku,
        "name": row.name,
        "unit": row.unit,
        "quantity": row.quantity,
        "available": row.quantity.0 - row.reserved.0,
        "lowStockLevel": row.low_stock_level,
        "crossing": crossing,
    });
    Some(Event { kind: EVENT.to_owned(), subject: row.id.to_string(), version: row.version, data })
}
