//! Decides for each event which endpoints get it, and sends it on its way in one transaction with the
//! subscription's cursor. Not for calling them.
//!
//! Endpoints are looked up for each event, by the beginning of their primary key. A list of tenants
//! without endpoints in memory would be quicker and wrong: the process that reads the log is not
//! always the one that an endpoint was made in, and what such a list is late for is never sent.

use std::time::Duration;

use events::Subscriber;
use futures_util::future::BoxFuture;
use kernel::Result;
use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::Order;
use store::{EventRow, Writer};

use crate::delivery;
use crate::endpoint::{self, Column, EndpointId};
use crate::pattern::{self, DISABLED, TESTED};
use crate::standing;
use crate::state::Webhooks;

/// Clocks of processes may differ by this much.
pub(crate) const SKEW: Duration = Duration::from_secs(300);

/// The subscription `webhooks.deliveries`.
pub(crate) struct Matching(pub Webhooks);

impl Subscriber for Matching {
    fn apply<'a, 'c: 'a>(&'a self, writer: &'a mut Writer<'c>, event: &'a EventRow) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.queue(writer, event))
    }
}

impl Matching {
    async fn queue(&self, writer: &mut Writer<'_>, event: &EventRow) -> Result<()> {
        if event.kind == "webhooks.endpoint.restored"
            && let Ok(endpoint) = event.subject.parse::<EndpointId>()
        {
            return standing::clear(writer, endpoint).await;
        }
        // What is seen again after its deliveries have left the log is not sent again.
        let old = event.occurred_at <= writer.now().minus(self.0.settings().kept());
        if old || !self.0.kinds()?.contains(event.kind.as_str()) {
            return Ok(());
        }
        let most = self.0.settings().endpoints_per_tenant;
        let endpoints = writer.select::<endpoint::Entity>().filter(Column::Enabled.eq(true));
        let mut endpoints = endpoints.order_by(Column::Id, Order::Asc).limit(most + 1).all().await?;
        if endpoints.len() as u64 > most {
            // The limit was lowered: the oldest go on, the same ones each time.
            tracing::warn!(tenant.id = %event.tenant_id, limit = most, "a tenant has more webhook endpoints than it may");
            endpoints.pop();
        }
        for endpoint in endpoints {
            // An endpoint gets what happens after it was made, also when the log is read anew.
            let since = endpoint.created_at.minus(SKEW);
            if event.occurred_at >= since && goes_to(&endpoint, event) {
                delivery::send(writer, endpoint.id, event, false).await?;
            }
        }
        Ok(())
    }
}

/// Says whether an endpoint gets this event, of those that may leave the house.
pub(crate) fn goes_to(endpoint: &endpoint::Model, event: &EventRow) -> bool {
    let itself = event.subject == endpoint.id.to_string();
    match event.kind.as_str() {
        TESTED => itself,
        DISABLED if itself => false,
        kind => pattern::wanted(&endpoint.patterns(), kind),
    }
}
