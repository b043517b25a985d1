//! What the analytics service is asked and answers, and the client that asks it. Both sides use these
//! types. Not for how the figures are worked out: see `docs/analytics.md`.

mod views;

use std::sync::Arc;

use kernel::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use service::App;
use utoipa::ToSchema;
use web::Onward;

pub use views::{AsOf, Direction, InventorySummary, TopItem, TopItems, TrendingItem, TrendingItems};

use crate::day::Day;
use crate::peer::{Answered, Patience, Peer};

/// The service's name.
pub const SERVICE: &str = "analytics";
/// The permission that its inventory figures take.
pub const READ_INVENTORY: &str = "analytics.inventory.read";
/// Where the summary is.
pub const SUMMARY_PATH: &str = "/api/analytics/inventory/summary";
/// Where the trends are.
pub const TRENDING_PATH: &str = "/api/analytics/inventory/trending";
/// Where the top items are.
pub const TOP_PATH: &str = "/api/analytics/inventory/top";

/// What the summary may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummaryQuery {
    /// The first day of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Day>,
    /// The last day of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Day>,
}

/// What trends may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrendingQuery {
    /// How many items at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The first day of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Day>,
    /// The last day of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Day>,
}

/// What the top items may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopQuery {
    /// By what they are ranked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<TopBy>,
    /// How many items at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The first day of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Day>,
    /// The last day of the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Day>,
}

/// By what the top items are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TopBy {
    /// Units out.
    #[default]
    Quantity,
    /// What the units out were worth.
    Value,
    /// Units out a day, since the item's first movement.
    Velocity,
}

/// Asks the analytics service as the caller, wherever it runs. Cloning it is cheap, and clones share
/// what they know of the service.
#[derive(Clone)]
pub struct AnalyticsClient(Arc<Peer>);

impl Default for AnalyticsClient {
    fn default() -> Self {
        Self::new(Patience::default())
    }
}

impl AnalyticsClient {
    /// Returns a client with this patience.
    pub fn new(patience: Patience) -> Self {
        Self(Arc::new(Peer::new(SERVICE, patience)))
    }

    /// Returns figures over all items.
    pub async fn summary(
        &self,
        app: &App,
        onward: &Onward,
        query: &SummaryQuery,
    ) -> Result<Answered<InventorySummary>> {
        self.ask(app, onward, SUMMARY_PATH, query).await
    }

    /// Returns the items whose demand rises most.
    pub async fn trending(&self, app: &App, onward: &Onward, query: &TrendingQuery) -> Result<Answered<TrendingItems>> {
        self.ask(app, onward, TRENDING_PATH, query).await
    }

    /// Returns the items that most goes out of.
    pub async fn top(&self, app: &App, onward: &Onward, query: &TopQuery) -> Result<Answered<TopItems>> {
        self.ask(app, onward, TOP_PATH, query).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        app: &App,
        onward: &Onward,
        path: &str,
        query: &impl Serialize,
    ) -> Result<Answered<T>> {
        let query = serde_urlencoded::to_string(query)
            .map_err(|error| Error::internal("a question could not be written").source_error(error))?;
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.0.ask(app, onward, READ_INVENTORY, &target).await
    }
}
