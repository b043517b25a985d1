//! `GET /api/analytics/inventory/trending`: the items whose demand rises most. Formulas:
//! `docs/analytics.md`. Not for the slope itself: that is `trend`.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::State;
use contracts::Day;
use contracts::analytics::{
    Direction, READ_INVENTORY, TRENDING_PATH, TopBy, TrendingItem, TrendingItems, TrendingQuery,
};
use contracts::inventory::ItemId;
use kernel::{Answer, Ctx, Quantity, Result};
use service::{App, Operation, Shape, UpTo};
use web::{Caller, Query};

use crate::pace::Pace;
use crate::queries::{self, Demand, fit};
use crate::summary::rounded;
use crate::tables::item;
use crate::top::share;
use crate::trend;
use crate::window::{self, Window};

/// A longer window has a point a week instead of a day.
const DAILY: i64 = 400;
/// How many items are looked at, those with most demand first.
const MOST_ITEMS: i64 = 1_000;
/// And this many at least, however long the window.
const FEWEST_ITEMS: i64 = 100;
/// How many pairs of points may be compared for one answer.
const MOST_PAIRS: i64 = 20_000_000;
/// The series of how many items are read at a time.
const AT_A_TIME: usize = 100;

pub(crate) fn operation() -> Operation {
    Operation::get(TRENDING_PATH, "analytics_list_trending_items", list)
        .permission(READ_INVENTORY)
        .shape(Shape::Success)
        .query::<UpTo<100>>("limit", "How many at most, up to 100; 10 unless said.")
        .query::<Day>("from", "The first day of the window, in UTC; 29 days before `to` unless said.")
        .query::<Day>("to", "The last day of the window, in UTC; today unless said.")
        .describe(
            "List the items whose demand rises most",
            "Draws a line through each item's demand a day in a window of days of UTC, at most ten years long, and \
             gives the items with the steepest rise: the Theil-Sen slope, in units a day each day, which a few wild days \
             do not move. A day without demand counts as 0. Looks at the up to 1,000 items with most demand, fewer \
             in a long window, never fewer than 100; more than 400 days are taken by weeks. Ties: more demand first, then \
             the order of ids.",
        )
        .gives::<TrendingItems>(200, "The items")
        .problems(&[400, 503])
}

async fn list(
    State(app): State<App>,
    Extension(pace): Extension<Pace>,
    Caller(ctx): Caller,
    Query(asked): Query<TrendingQuery>,
) -> web::Result {
    let window = Window::read(asked.from, asked.to, app.now())?;
    let limit = window::rows(asked.limit)?;
    Ok(Answer::ok(&trending(&app, &pace, &ctx, window, limit).await?)?.into())
}

/// An item's demand, and where it goes.
struct Trend {
    demand: Demand,
    series: Vec<i64>,
    slope: f64,
}

async fn trending(app: &App, pace: &Pace, ctx: &Ctx, window: Window, limit: u64) -> Result<TrendingItems> {
    let (bucket_days, points, most) = plan(window);
    let reader = app.store.read(ctx).await?;
    let candidates = queries::top(&reader, window, TopBy::Quantity, most).await?;
    let total = queries::movements(&reader, window).await?.demand();
    let as_of = queries::as_of(&reader).await?;
    let mut trends: Vec<Trend> = Vec::with_capacity(candidates.len());
    let mut candidates = candidates.into_iter().peekable();
    while candidates.peek().is_some() {
        let some: Vec<Demand> = candidates.by_ref().take(AT_A_TIME).collect();
        let ids: Vec<ItemId> = some.iter().map(|demand| demand.item_id).collect();
        let mut series: HashMap<ItemId, Vec<i64>> = ids.iter().map(|id| (*id, vec![0; points])).collect();
        for point in queries::series(&reader, window, bucket_days, &ids).await? {
            // The oldest days may be no whole bucket: they are left out.
            let place = usize::try_from(point.bucket).ok().filter(|bucket| *bucket < points);
            if let (Some(bucket), Some(series)) = (place, series.get_mut(&point.item_id)) {
                series[points - 1 - bucket] = point.demanded;
            }
        }
        trends.extend(some.into_iter().map(|demand| {
            let series = series.remove(&demand.item_id).unwrap_or_default();
            Trend { demand, series, slope: 0.0 }
        }));
    }
    reader.close().await?;
    let considered = trends.len() as i64;
    let steepest = pace.work(move || steepest(trends, bucket_days, limit as usize)).await?;
    let reader = app.store.read(ctx).await?;
    let found = queries::find(&reader, steepest.iter().map(|trend| trend.demand.item_id)).await?;
    reader.close().await?;
    let found: HashMap<ItemId, item::Model> = found.into_iter().map(|item| (item.id, item)).collect();
    let shown = steepest.iter().filter_map(|trend| Some(view(trend, total, found.get(&trend.demand.item_id)?)));
    Ok(TrendingItems {
        from: window.from,
        to: window.to,
        bucket_days,
        considered,
        units_out: Quantity(fit(total)),
        items: shown.collect(),
        as_of,
    })
}

/// Returns how many days are a point, how many points a series has, and how many items are looked at.
fn plan(window: Window) -> (i64, usize, u64) {
    let bucket_days = if window.days() > DAILY { 7 } else { 1 };
    let points = window.days() / bucket_days;
    let most = (MOST_PAIRS / trend::pairs(points).max(1)).clamp(FEWEST_ITEMS, MOST_ITEMS);
    (bucket_days, points as usize, most as u64)
}

fn steepest(mut trends: Vec<Trend>, bucket_days: i64, limit: usize) -> Vec<Trend> {
    let mut room = Vec::new();
    // Units in a bucket are units a day times its days, and so is the step to the next one.
    let scale = (bucket_days * bucket_days) as f64;
    for trend in &mut trends {
        trend.slope = rounded(trend::slope(&trend.series, &mut room) / scale);
    }
    trends.sort_by(|one, other| {
        let steeper = other.slope.total_cmp(&one.slope);
        let more = other.demand.demanded.cmp(&one.demand.demanded);
        steeper.then(more).then(one.demand.item_id.cmp(&other.demand.item_id))
    });
    trends.truncate(limit);
    trends
}

fn view(trend: &Trend, total: i128, item: &item::Model) -> TrendingItem {
    TrendingItem {
        item_id: item.id,
        sku: item.sku.clone(),
        name: item.name.clone(),
        unit: item.unit.clone(),
        deleted: item.deleted,
        units_out: Quantity(trend.demand.demanded),
        share: share(trend.demand.demanded, total),
        slope: trend.slope,
        direction: match trend.slope {
            slope if slope > 0.0 => Direction::Up,
            slope if slope < 0.0 => Direction::Down,
            _ => Direction::Flat,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_long_the_window_the_work_is_bounded() {
        let day = |text| Day::parse(text).expect("a day");
        let planned = |from| plan(Window { from: day(from), to: day("2026-11-21") });
        assert_eq!(planned("2026-11-21"), (1, 1, 1_000));
        assert_eq!(planned("2026-10-23"), (1, 30, 1_000));
        assert_eq!(planned("2025-10-18"), (1, 400, 250));
        assert_eq!(planned("2025-10-17"), (7, 57, 1_000));
        assert_eq!(planned("2016-11-14"), (7, 522, 147));
    }
}
