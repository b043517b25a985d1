//! What was used by day and model, and how much of it is estimated. Not for single calls: see `records`.

use axum::extract::State as Within;
use contracts::Day;
use kernel::{Answer, Error, Result, Timestamp};
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::Order;
use serde::{Deserialize, Serialize};
use service::{App, Operation};
use utoipa::ToSchema;
use web::{Caller, Query};

use crate::day::{Column, Entity, Model};

/// How many days a summary has unless both ends are said.
const USUAL: i64 = 30;
/// How many it may have.
const LONGEST: i64 = 366;
/// How many rows it has at most; callers choose the names of models.
const ROWS: u64 = 5_000;
const MICROS: i64 = 86_400_000_000;

/// What calls used.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageFigures)]
struct Figures {
    /// How many calls were entered.
    calls: i64,
    /// How many of them are not, or not only, the provider's own word.
    estimated_calls: i64,
    /// Tokens of questions that were read anew.
    input_tokens: i64,
    /// Tokens of questions from the provider's cache.
    cached_tokens: i64,
    /// Tokens of questions that went into that cache.
    cache_write_tokens: i64,
    /// Tokens of answers.
    output_tokens: i64,
    /// All of these together.
    tokens: i64,
    /// How many of those belong to estimated calls.
    estimated_tokens: i64,
    /// What it cost, in billionths of the currency's major unit.
    cost_nano: i64,
    /// How much of that belongs to estimated calls.
    estimated_nano: i64,
    /// The part of the tokens that belongs to estimated calls, from 0 to 1; 0 where there are none.
    estimated_share: f64,
}

/// What calls of a model used on a day.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageDay)]
struct DayOfModel {
    /// The day of UTC on which the calls began.
    day: Day,
    /// The model.
    model: String,
    /// The figures.
    #[serde(flatten)]
    figures: Figures,
}

/// What was used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageSummary)]
struct Summary {
    /// The first day.
    from: Day,
    /// The last day.
    to: Day,
    /// By day, the last one first, and model.
    items: Vec<DayOfModel>,
    /// All of `items` together.
    total: Figures,
    /// Whether `items` are all there are: 5000 is the most.
    complete: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: Option<Day>,
    to: Option<Day>,
    model: Option<String>,
}

/// Returns `GET /api/v1/usage/summary`.
pub(crate) fn operation() -> Operation {
    Operation::get("/api/v1/usage/summary", "usage_get_summary", get)
        .permission("usage.records.read")
        .query::<Day>("from", "The first day, in UTC; 29 days before `to` unless said.")
        .query::<Day>("to", "The last day, in UTC; today unless said.")
        .query::<String>("model", "Only calls of this model.")
        .describe(
            "Summarise what language models used",
            "Gives calls, tokens and cost by day of UTC and model, over at most 366 days, and how much of it is \
             estimated. A call counts on the day on which it began, once it has ended.",
        )
        .gives::<Summary>(200, "The figures")
        .problems(&[400])
}

async fn get(Within(app): Within<App>, Caller(ctx): Caller, Query(asked): Query<Asked>) -> web::Result {
    let (from, to) = window(asked.from, asked.to, app.now())?;
    let reader = app.store.read(&ctx).await?;
    let mut query = reader
        .select_with_deleted::<Entity>()
        .filter(Column::Day.gte(from.number()))
        .filter(Column::Day.lte(to.number()));
    if let Some(model) = asked.model {
        if model.contains('\0') {
            return Err(wrong("model", "must not hold control characters").into());
        }
        query = query.filter(Column::Model.eq(model));
    }
    let query = query.order_by(Column::Day, Order::Desc).order_by(Column::Model, Order::Asc);
    let mut rows = query.limit(ROWS + 1).all().await?;
    reader.close().await?;
    let complete = rows.len() as u64 <= ROWS;
    rows.truncate(usize::try_from(ROWS).unwrap_or(usize::MAX));
    let total = rows.iter().map(Figures::of).fold(Figures::default(), Figures::and).shared();
    let items = rows.into_iter().map(DayOfModel::from).collect();
    Ok(Answer::ok(&Summary { from, to, items, total, complete })?.into())
}

fn window(from: Option<Day>, to: Option<Day>, now: Timestamp) -> Result<(Day, Day)> {
    let to = to.unwrap_or_else(|| Day::of(now));
    let from = match from {
        Some(from) => from,
        None => to.later(1 - USUAL).ok_or_else(|| wrong("to", "must be later"))?,
    };
    match to.number() - from.number() + 1 {
        ..=0 => Err(wrong("from", "must not be after `to`")),
        days if days > LONGEST => Err(wrong("from", "must be at most 366 days before `to`")),
        _ => Ok((from, to)),
    }
}

fn wrong(field: &'static str, why: &str) -> Error {
    Error::invalid("request.invalid_query", "the query is not valid").field(field, why)
}

impl Figures {
    fn of(row: &Model) -> Self {
        let tokens = [row.input, row.cached, row.cache_write, row.output].into_iter().fold(0, i64::saturating_add);
        Self {
            calls: row.calls,
            estimated_calls: row.estimated_calls,
            input_tokens: row.input,
            cached_tokens: row.cached,
            cache_write_tokens: row.cache_write,
            output_tokens: row.output,
            tokens,
            estimated_tokens: row.estimated_tokens,
            cost_nano: row.cost_nano,
            estimated_nano: row.estimated_nano,
            estimated_share: 0.0,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            estimated_calls: self.estimated_calls.saturating_add(other.estimated_calls),
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            tokens: self.tokens.saturating_add(other.tokens),
            estimated_tokens: self.estimated_tokens.saturating_add(other.estimated_tokens),
            cost_nano: self.cost_nano.saturating_add(other.cost_nano),
            estimated_nano: self.estimated_nano.saturating_add(other.estimated_nano),
            estimated_share: 0.0,
        }
    }

    fn shared(self) -> Self {
        let share = if self.tokens > 0 { self.estimated_tokens as f64 / self.tokens as f64 } else { 0.0 };
        Self { estimated_share: share, ..self }
    }
}

impl From<Model> for DayOfModel {
    fn from(row: Model) -> Self {
        let figures = Figures::of(&row).shared();
        Self { day: Day::of(Timestamp(row.day.saturating_mul(MICROS))), model: row.model, figures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_thirty_days_up_to_today_and_a_year_at_most() {
        let now = Timestamp::parse("2026-11-21T12:00:00Z").expect("a time");
        let day = |text: &str| Day::parse(text);
        let read = |from: Option<Day>, to: Option<Day>| window(from, to, now).ok();
        let days = |from: &str, to: &str| day(from).zip(day(to));
        assert_eq!(read(None, None), days("2026-10-23", "2026-11-21"));
        assert_eq!(read(day("2026-01-01"), None), days("2026-01-01", "2026-11-21"));
        assert_eq!(read(day("2026-11-22"), None), None);
        assert_eq!(read(day("2025-11-20"), None), None);
        assert!(read(day("2025-11-21"), None).is_some());
    }
}
