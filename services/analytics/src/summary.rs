//! `GET /api/analytics/inventory/summary`: figures over all items. Formulas: `docs/analytics.md`. Not for
//! single items.

use axum::extract::State;
use contracts::Day;
use contracts::analytics::{InventorySummary, READ_INVENTORY, SUMMARY_PATH, SummaryQuery};
use kernel::{Answer, Ctx, Money, Quantity, Result};
use service::{App, Operation, Shape};
use web::{Caller, Query};

use crate::queries::{self, Change, fit, whole};
use crate::window::Window;

/// Days of the year that turns are counted for.
const YEAR: f64 = 365.0;

pub(crate) fn operation() -> Operation {
    Operation::get(SUMMARY_PATH, "analytics_get_inventory_summary", get)
        .permission(READ_INVENTORY)
        .shape(Shape::Success)
        .query::<Day>("from", "The first day of the window, in UTC; 29 days before `to` unless said.")
        .query::<Day>("to", "The last day of the window, in UTC; today unless said.")
        .describe(
            "Summarise the inventory",
            "Gives figures over all items and over what moved in a window of days of UTC, at most ten years long: \
             how many items there are, short, without stock, or with stock that nobody wants; what the stock costs; \
             units in and out and what they were worth; how often the stock is turned over and for how long it \
             lasts. Made from the inventory's events: `asOf` says up to which, and `lagging` whether the log has \
             more. Deleted items are in no figure of stock; what moved of them stays in the history.",
        )
        .gives::<InventorySummary>(200, "The figures")
        .problems(&[400])
}

async fn get(State(app): State<App>, Caller(ctx): Caller, Query(asked): Query<SummaryQuery>) -> web::Result {
    let window = Window::read(asked.from, asked.to, app.now())?;
    Ok(Answer::ok(&summary(&app, &ctx, window).await?)?.into())
}

async fn summary(app: &App, ctx: &Ctx, window: Window) -> Result<InventorySummary> {
    let reader = app.store.read(ctx).await?;
    let stock = queries::stock(&reader).await?;
    let moved = queries::movements(&reader, window).await?;
    let changes = queries::changes_from(&reader, window.from).await?;
    let summary = InventorySummary {
        from: window.from,
        to: window.to,
        items: queries::items(&reader).await?,
        live_items: stock.live.unwrap_or(0),
        out_of_stock: stock.out_of_stock.unwrap_or(0),
        short: stock.short.unwrap_or(0),
        dead_stock: queries::dead_stock(&reader, window).await?,
        units_on_hand: Quantity(fit(whole(stock.units_high, stock.units_low))),
        stock_value: Money(fit(whole(stock.value_high, stock.value_low))),
        items_without_cost: stock.without_cost.unwrap_or(0),
        movements: moved.movements.unwrap_or(0),
        units_in: Quantity(fit(whole(moved.in_high, moved.in_low))),
        units_out: Quantity(fit(moved.demand())),
        units_corrected: Quantity(fit(whole(moved.corrected_high, moved.corrected_low))),
        amount_in: Money(fit(whole(moved.in_amount_high, moved.in_amount_low))),
        amount_out: Money(fit(whole(moved.out_amount_high, moved.out_amount_low))),
        units_out_without_amount: Quantity(fit(whole(moved.unpriced_high, moved.unpriced_low))),
        turns_per_year: None,
        days_of_cover: None,
        as_of: queries::as_of(&reader).await?,
    };
    reader.close().await?;
    let (turns_per_year, days_of_cover) = pace(window, whole(stock.units_high, stock.units_low), &changes);
    Ok(InventorySummary { turns_per_year, days_of_cover, ..summary })
}

/// Returns turns a year and days of cover. `on_hand` is the stock now; what it was at the end of a day
/// follows from what changed after that day.
fn pace(window: Window, on_hand: i128, changes: &[Change]) -> (Option<f64>, Option<f64>) {
    let days = i128::from(window.days());
    let (mut demand, mut stock_days) = (0, on_hand.saturating_mul(days));
    for change in changes {
        let after = i128::from(change.day - window.from.number());
        if after < days {
            demand += whole(change.out_high, change.out_low);
        }
        // It is not in the stock of the days before it.
        stock_days -= whole(change.net_high, change.net_low) * after.clamp(0, days);
    }
    let turns = (stock_days > 0).then(|| rounded(demand as f64 * YEAR / stock_days as f64));
    let cover = (demand > 0).then(|| rounded(on_hand.max(0) as f64 * days as f64 / demand as f64));
    (turns, cover)
}

/// Rounds to six decimals, which every reader of JSON reads alike.
pub(crate) fn rounded(number: f64) -> f64 {
    let rounded = (number * 1e6).round() / 1e6;
    // There is one zero for people.
    if rounded == 0.0 { 0.0 } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_follows_from_the_stock_now_and_what_changed_since() {
        let day = |text| Day::parse(text).expect("a day");
        let window = Window { from: day("2026-01-01"), to: day("2026-01-10") };
        let change = |text, net: i64, out: i64| Change {
            day: day(text).number(),
            net_high: Some(0),
            net_low: Some(net),
            out_high: Some(0),
            out_low: Some(out),
        };
        // 100 at the end of the first four days, 90 afterwards; 5 more after the window.
        let changes = [change("2026-01-01", 100, 0), change("2026-01-05", -10, 10), change("2026-01-20", 5, 1)];
        let stock_days = 4.0 * 100.0 + 6.0 * 90.0;
        let wanted = (Some(rounded(10.0 * 365.0 / stock_days)), Some(95.0 * 10.0 / 10.0));
        assert_eq!(pace(window, 95, &changes), wanted);
        assert_eq!(pace(window, 0, &[]), (None, None));
        assert_eq!(pace(window, 7, &[]), (Some(0.0), None));
    }

    #[test]
    fn six_decimals_and_one_zero() {
        assert_eq!((rounded(1.0 / 3.0), rounded(-2.0 / 3.0)), (0.333_333, -0.666_667));
        assert!(rounded(-1e-9).is_sign_positive());
    }
}
