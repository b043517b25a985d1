//! What the engine works out: sums over items and days, as expressions that both engines read alike.
//! Sums over many items are taken in two halves, since either engine refuses, or rounds, a sum that 64
//! bits do not hold. Not for what follows from the figures.

use contracts::Day;
use contracts::analytics::{AsOf, TopBy};
use contracts::inventory::ItemId;
use kernel::{Result, TenantId, Timestamp};
use sea_orm::sea_query::{
    Alias, CaseStatement, Condition, Expr, ExprTrait as _, Func, Order, Query, SelectStatement, SimpleExpr,
};
use sea_orm::{ColumnTrait as _, FromQueryResult};
use store::{EventFilter, Figures, Reader};

use crate::project::KINDS;
use crate::tables::{day, item, progress};
use crate::window::Window;

const HALF: i64 = 1 << 31;

fn bigint(value: impl Into<SimpleExpr>) -> SimpleExpr {
    value.into().cast_as(Alias::new("BIGINT"))
}

fn sum(value: impl Into<SimpleExpr>) -> SimpleExpr {
    bigint(Func::sum(value.into()))
}

fn count() -> SimpleExpr {
    bigint(Func::count(Expr::val(1i64)))
}

fn count_if(condition: impl Into<Condition>) -> SimpleExpr {
    sum(SimpleExpr::Case(Box::new(CaseStatement::new().case(condition.into(), 1i64).finally(0i64))))
}

/// A sum that 64 bits may not hold.
fn halves<'s>(figures: Figures<'s>, names: [&'static str; 2], value: impl Fn() -> SimpleExpr) -> Figures<'s> {
    figures.figure(names[0], sum(value().div(HALF))).figure(names[1], sum(value().modulo(HALF)))
}

/// Returns a sum of two halves.
pub(crate) fn whole(high: Option<i64>, low: Option<i64>) -> i128 {
    i128::from(high.unwrap_or(0)) * i128::from(HALF) + i128::from(low.unwrap_or(0))
}

/// Returns the nearest number of 64 bits.
pub(crate) fn fit(number: i128) -> i64 {
    number.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn within(window: Window) -> SimpleExpr {
    day::Column::Day.between(window.from.number(), window.to.number())
}

/// What is in stock, of items that are not deleted.
#[derive(Debug, Default, FromQueryResult)]
pub(crate) struct Stock {
    pub live: Option<i64>,
    pub out_of_stock: Option<i64>,
    pub short: Option<i64>,
    pub without_cost: Option<i64>,
    pub units_high: Option<i64>,
    pub units_low: Option<i64>,
    pub value_high: Option<i64>,
    pub value_low: Option<i64>,
}

pub(crate) async fn stock(reader: &Reader<'_>) -> Result<Stock> {
    use item::Column;
    let items = reader.select_with_deleted::<item::Entity>().filter(Column::Deleted.eq(false)).figures();
    let short = Expr::col(Column::Quantity).lte(Expr::col(Column::LowStockLevel));
    let figures = items
        .figure("live", count())
        .figure("out_of_stock", count_if(Condition::all().add(Column::Quantity.lte(0i64))))
        .figure("short", count_if(Condition::all().add(short)))
        .figure("without_cost", count_if(Condition::all().add(Column::UnitCost.is_null())));
    let figures = halves(figures, ["units_high", "units_low"], || Expr::col(Column::Quantity));
    let figures = halves(figures, ["value_high", "value_low"], || Expr::col(Column::StockValue));
    Ok(figures.one().await?.unwrap_or_default())
}

#[derive(FromQueryResult)]
struct Count {
    count: i64,
}

pub(crate) async fn items(reader: &Reader<'_>) -> Result<i64> {
    let counted = reader.select_with_deleted::<item::Entity>().figures().figure("count", count());
    Ok(counted.one::<Count>().await?.map_or(0, |row| row.count))
}

/// Returns how many live items have stock, and no demand in the window.
pub(crate) async fn dead_stock(reader: &Reader<'_>, window: Window) -> Result<i64> {
    let demanded = Query::select()
        .column(day::Column::ItemId)
        .from(day::Entity)
        .and_where(day::Column::TenantId.eq(reader.tenant()))
        .and_where(within(window))
        .group_by_col(day::Column::ItemId)
        .and_having(sum(Expr::col(day::Column::OutQuantity)).gt(0i64))
        .take();
    let dead = reader
        .select_with_deleted::<item::Entity>()
        .filter(item::Column::Deleted.eq(false))
        .filter(item::Column::Quantity.gt(0i64))
        .filter(item::Column::Id.not_in_subquery(demanded));
    Ok(dead.figures().figure("count", count()).one::<Count>().await?.map_or(0, |row| row.count))
}

/// What moved in a window, of all items.
#[derive(Debug, Default, FromQueryResult)]
pub(crate) struct Movements {
    pub movements: Option<i64>,
    pub in_high: Option<i64>,
    pub in_low: Option<i64>,
    pub out_high: Option<i64>,
    pub out_low: Option<i64>,
    pub corrected_high: Option<i64>,
    pub corrected_low: Option<i64>,
    pub in_amount_high: Option<i64>,
    pub in_amount_low: Option<i64>,
    pub out_amount_high: Option<i64>,
    pub out_amount_low: Option<i64>,
    pub unpriced_high: Option<i64>,
    pub unpriced_low: Option<i64>,
}

impl Movements {
    /// Returns the units out.
    pub fn demand(&self) -> i128 {
        whole(self.out_high, self.out_low)
    }
}

pub(crate) async fn movements(reader: &Reader<'_>, window: Window) -> Result<Movements> {
    use day::Column;
    let mut figures = reader.select_with_deleted::<day::Entity>().filter(within(window)).figures();
    figures = figures.figure("movements", sum(Expr::col(Column::Movements)));
    for (names, column) in [
        (["in_high", "in_low"], Column::InQuantity),
        (["out_high", "out_low"], Column::OutQuantity),
        (["corrected_high", "corrected_low"], Column::CorrectedQuantity),
        (["in_amount_high", "in_amount_low"], Column::InAmount),
        (["out_amount_high", "out_amount_low"], Column::OutAmount),
        (["unpriced_high", "unpriced_low"], Column::OutWithoutAmount),
    ] {
        figures = halves(figures, names, || Expr::col(column));
    }
    Ok(figures.one().await?.unwrap_or_default())
}

/// How the stock of live items changed on a day, and their demand then.
#[derive(Debug, FromQueryResult)]
pub(crate) struct Change {
    pub day: i64,
    pub net_high: Option<i64>,
    pub net_low: Option<i64>,
    pub out_high: Option<i64>,
    pub out_low: Option<i64>,
}

/// Returns the changes of live items from a day on, one row a day.
pub(crate) async fn changes_from(reader: &Reader<'_>, from: Day) -> Result<Vec<Change>> {
    use day::Column;
    let days = reader
        .select_with_deleted::<day::Entity>()
        .filter(Column::Day.gte(from.number()))
        .filter(Column::ItemId.in_subquery(live(reader.tenant())));
    let net =
        || Expr::col(Column::InQuantity).sub(Expr::col(Column::OutQuantity)).add(Expr::col(Column::CorrectedQuantity));
    let figures = days.figures().figure("day", Expr::col(Column::Day)).group_by(Expr::col(Column::Day));
    let figures = halves(figures, ["net_high", "net_low"], net);
    halves(figures, ["out_high", "out_low"], || Expr::col(Column::OutQuantity)).all().await
}

fn live(tenant: TenantId) -> SelectStatement {
    Query::select()
        .column(item::Column::Id)
        .from(item::Entity)
        .and_where(item::Column::TenantId.eq(tenant))
        .and_where(item::Column::Deleted.eq(false))
        .take()
}

/// An item's figures in a window.
#[derive(Debug, FromQueryResult)]
pub(crate) struct Demand {
    pub item_id: ItemId,
    pub demanded: i64,
    pub worth: i64,
}

/// Returns the first items by what is asked for, ties by id; only items that there is some of.
pub(crate) async fn top(reader: &Reader<'_>, window: Window, by: TopBy, limit: u64) -> Result<Vec<Demand>> {
    use day::Column;
    let days = reader.select_with_deleted::<day::Entity>().filter(within(window));
    let (demanded, worth) = (|| sum(Expr::col(Column::OutQuantity)), || sum(Expr::col(Column::OutAmount)));
    // What has parameters is sorted by its name: PostgreSQL takes no two parameters for the same.
    let (rank, some) = match by {
        TopBy::Quantity => (demanded(), demanded()),
        TopBy::Value => (worth(), worth()),
        TopBy::Velocity => (velocity(reader.tenant(), window), demanded()),
    };
    days.figures()
        .figure("item_id", Expr::col(Column::ItemId))
        .figure("demanded", demanded())
        .figure("worth", worth())
        .figure("place", rank)
        .group_by(Expr::col(Column::ItemId))
        .having(some.gt(0i64))
        .order_by(Expr::col(Alias::new("place")), Order::Desc)
        .order_by(Expr::col(Column::ItemId), Order::Asc)
        .limit(limit)
        .all()
        .await
}

/// Units out a day, from the window's first day or the item's first movement if that was later.
fn velocity(tenant: TenantId, window: Window) -> SimpleExpr {
    let first = || {
        let select = Query::select()
            .column(item::Column::FirstDay)
            .from(item::Entity)
            .and_where(item::Column::TenantId.eq(tenant))
            .and_where(item::Column::Id.into_expr().eq(day::Column::ItemId.into_expr()))
            .take();
        SimpleExpr::SubQuery(None, Box::new(select.into()))
    };
    let (from, after) = (window.from.number(), window.to.number() + 1);
    let later = CaseStatement::new().case(Condition::all().add(first().gt(from)), first()).finally(from);
    let days = Expr::val(after).sub(SimpleExpr::Case(Box::new(later)));
    Expr::val(1.0f64).mul(sum(Expr::col(day::Column::OutQuantity))).div(days)
}

/// A point of an item's series: `bucket` counts back from the end of the window.
#[derive(Debug, FromQueryResult)]
pub(crate) struct Point {
    pub item_id: ItemId,
    pub bucket: i64,
    pub demanded: i64,
}

/// Returns the demand of these items by buckets of days, where there is any.
pub(crate) async fn series(
    reader: &Reader<'_>,
    window: Window,
    bucket_days: i64,
    items: &[ItemId],
) -> Result<Vec<Point>> {
    use day::Column;
    let bucket = Expr::val(window.to.number()).sub(Expr::col(Column::Day)).div(bucket_days);
    let days = reader.select_with_deleted::<day::Entity>().filter(within(window));
    days.filter(Column::ItemId.is_in(items.iter().copied()))
        .figures()
        .figure("item_id", Expr::col(Column::ItemId))
        .figure("bucket", bucket)
        .figure("demanded", sum(Expr::col(Column::OutQuantity)))
        .group_by(Expr::col(Column::ItemId))
        .group_by(Expr::col(Alias::new("bucket")))
        .all()
        .await
}

/// Returns these items, as far as they are known.
pub(crate) async fn find(reader: &Reader<'_>, ids: impl IntoIterator<Item = ItemId>) -> Result<Vec<item::Model>> {
    reader.select_with_deleted::<item::Entity>().filter(item::Column::Id.is_in(ids)).all().await
}

/// Returns up to where events were counted, and whether the log has more.
pub(crate) async fn as_of(reader: &Reader<'_>) -> Result<AsOf> {
    let id = progress::id_of(reader.tenant());
    let row = reader.select_with_deleted::<progress::Entity>().id(id).one().await?;
    let (position, at): (i64, Option<Timestamp>) = row.map_or((0, None), |row| (row.position, Some(row.occurred_at)));
    let kinds = EventFilter { kinds: KINDS.to_vec(), ..EventFilter::default() };
    let lagging = !reader.events_after(position, &kinds, 1).await?.is_empty();
    Ok(AsOf { position, at, lagging })
}
