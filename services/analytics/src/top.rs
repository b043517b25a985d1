//! `GET /api/analytics/inventory/top`: the items that most goes out of, and when their stock is used up.
//! Formulas: `docs/analytics.md`. Not for how demand changes: that is `trending`.

use std::collections::HashMap;

use axum::extract::State;
use contracts::Day;
use contracts::analytics::{READ_INVENTORY, TOP_PATH, TopBy, TopItem, TopItems, TopQuery};
use contracts::inventory::ItemId;
use kernel::{Answer, Ctx, Money, Quantity, Result};
use service::{App, Operation, Shape, UpTo};
use web::{Caller, Query};

use crate::queries::{self, Demand, fit};
use crate::summary::rounded;
use crate::tables::item;
use crate::window::{self, Window};

/// A stock that lasts longer is not said to end: a hundred years.
const FAR: i128 = 36_500;

pub(crate) fn operation() -> Operation {
    Operation::get(TOP_PATH, "analytics_list_top_items", list)
        .permission(READ_INVENTORY)
        .shape(Shape::Success)
        .query::<TopBy>(
            "by",
            "By what items are ranked: units out, what they were worth, or units out a day; `quantity` unless said.",
        )
        .query::<UpTo<100>>("limit", "How many at most, up to 100; 10 unless said.")
        .query::<Day>("from", "The first day of the window, in UTC; 29 days before `to` unless said.")
        .query::<Day>("to", "The last day of the window, in UTC; today unless said.")
        .describe(
            "List the items that most goes out of",
            "Gives the items with most demand in a window of days of UTC, at most ten years long: by `quantity`, \
             units sold and consumed; by `value`, what they were worth where that was said; by `velocity`, units a day \
             from the item's first movement. Items without any are left out; ties are in the order of ids. \
             `stockOutOn` is the day on which the stock of today is used up at that pace. Deleted items are there \
             and say so.",
        )
        .gives::<TopItems>(200, "The items")
        .problems(&[400])
}

async fn list(State(app): State<App>, Caller(ctx): Caller, Query(asked): Query<TopQuery>) -> web::Result {
    let window = Window::read(asked.from, asked.to, app.now())?;
    let (by, limit) = (asked.by.unwrap_or_default(), window::rows(asked.limit)?);
    Ok(Answer::ok(&top(&app, &ctx, window, by, limit).await?)?.into())
}

async fn top(app: &App, ctx: &Ctx, window: Window, by: TopBy, limit: u64) -> Result<TopItems> {
    let today = Day::of(app.now());
    let reader = app.store.read(ctx).await?;
    let first = queries::top(&reader, window, by, limit).await?;
    let total = queries::movements(&reader, window).await?.demand();
    let found = queries::find(&reader, first.iter().map(|row| row.item_id)).await?;
    let as_of = queries::as_of(&reader).await?;
    reader.close().await?;
    let found: HashMap<ItemId, item::Model> = found.into_iter().map(|item| (item.id, item)).collect();
    let shown = first.iter().filter_map(|row| Some(view(window, total, today, row, found.get(&row.item_id)?)));
    let units_out = Quantity(fit(total));
    Ok(TopItems { from: window.from, to: window.to, by, units_out, items: shown.collect(), as_of })
}

fn view(window: Window, total: i128, today: Day, row: &Demand, item: &item::Model) -> TopItem {
    let from = window.from.number();
    let days = window.to.number() + 1 - item.first_day.map_or(from, |first| first.max(from));
    TopItem {
        item_id: item.id,
        sku: item.sku.clone(),
        name: item.name.clone(),
        unit: item.unit.clone(),
        deleted: item.deleted,
        quantity: item.quantity,
        units_out: Quantity(row.demanded),
        amount_out: Money(row.worth),
        share: share(row.demanded, total),
        units_per_day: rounded(row.demanded as f64 / days.max(1) as f64),
        stock_out_on: if item.deleted { None } else { stock_out(today, item.quantity.0, row.demanded, days.max(1)) },
    }
}

/// Returns a part of a whole.
pub(crate) fn share(part: i64, whole: i128) -> f64 {
    if whole > 0 { rounded(part as f64 / whole as f64) } else { 0.0 }
}

/// Returns the day on which the stock is used up at `demand` units in `days` days.
fn stock_out(today: Day, quantity: i64, demand: i64, days: i64) -> Option<Day> {
    if demand <= 0 {
        return None;
    }
    let lasts = i128::from(quantity.max(0)) * i128::from(days) / i128::from(demand);
    today.later(fit(lasts)).filter(|_| lasts <= FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_is_used_up_on_the_day_that_the_pace_says() {
        let today = Day::parse("2026-11-21").expect("a day");
        let on = |quantity, demand, days| stock_out(today, quantity, demand, days).map(|day| day.to_string());
        assert_eq!(on(30, 30, 30).as_deref(), Some("2026-12-21"));
        assert_eq!(on(29, 60, 30).as_deref(), Some("2026-12-05"), "14.5 days are 14 whole ones");
        assert_eq!((on(0, 1, 30).as_deref(), on(-5, 1, 30).as_deref()), (Some("2026-11-21"), Some("2026-11-21")));
        assert_eq!((on(10, 0, 30), on(10, -3, 30)), (None, None), "without demand never");
        assert_eq!(on(36_500, 1, 1).map(|_| ()), Some(()));
        assert_eq!((on(36_501, 1, 1), on(i64::MAX, 1, 3_660)), (None, None));
    }

    #[test]
    fn a_share_is_of_something() {
        assert_eq!((share(1, 3), share(3, 3), share(0, 0), share(-1, 0)), (0.333_333, 1.0, 0.0, 0.0));
    }
}
