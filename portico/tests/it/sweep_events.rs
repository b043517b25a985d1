//! How the sweep tries what operators do with subscriptions, and a subscriber that never succeeds for
//! it to be done to. Not a test by itself: see `sweep`.

use events::{Dispatcher, Kinds, Subscriber, Subscription};
use futures_util::future::BoxFuture;
use kernel::Error;
use serde_json::json;
use store::{EventRow, Writer};
use testkit::{Attempt, Sweep, TestApp, TestTenant};

use crate::sweep::item;

/// The subscription that is stuck.
pub(crate) const STUCK: &str = "sweep.stuck";
pub(crate) const PATH: &str = "/operator/events";

struct Stuck;

impl Subscriber for Stuck {
    fn apply<'a, 'c: 'a>(&'a self, _: &'a mut Writer<'c>, _: &'a EventRow) -> BoxFuture<'a, kernel::Result<()>> {
        Box::pin(async { Err(Error::internal("it never succeeds")) })
    }
}

/// Returns a dispatcher of the subscription that is stuck.
pub(crate) fn dispatcher(app: &TestApp) -> Dispatcher {
    let stuck = Subscription::new(STUCK, Kinds::Of(&["inventory.item.created"]), Stuck);
    Dispatcher::new(app.store().clone(), vec![stuck])
}

/// Leaves an event of the owner's that the subscription could not apply; gives its position.
pub(crate) async fn stuck(app: &TestApp, owner: &TestTenant) -> i64 {
    item(app, owner).await;
    dispatcher(app).run_until_idle().await.expect("the log can be read");
    let listed = events::list(app.store(), &[]).await.expect("the data can be read");
    let streams = listed.into_iter().filter(|listed| listed.name == STUCK).flat_map(|listed| listed.streams);
    streams.filter(|stream| stream.tenant == owner.id).map(|stream| stream.position).max().expect("one is stuck")
}

pub fn add(sweep: Sweep) -> Sweep {
    sweep
        .plain("operator_list_subscriptions", Attempt::at(format!("{PATH}/subscriptions")))
        .operation("operator_retry_events", |app, owner| {
            Box::pin(async move {
                stuck(app, owner).await;
                Attempt::at(format!("{PATH}/retry")).body(json!({ "subscription": STUCK, "tenantId": owner.id }))
            })
        })
        .operation("operator_skip_event", |app, owner| {
            Box::pin(async move {
                let body = json!({ "subscription": STUCK, "position": stuck(app, owner).await, "reason": "the sweep" });
                Attempt::at(format!("{PATH}/skip")).body(body).status(204)
            })
        })
        .plain("operator_replay_events", {
            let body = json!({ "subscription": "webhooks.deliveries", "from": 0, "dryRun": true });
            Attempt::at(format!("{PATH}/replay")).body(body)
        })
        .operation("operator_forget_subscription", |app, _| {
            Box::pin(async move {
                let gone = Subscription::new("sweep.gone", Kinds::Of(&["sweep.nothing"]), Stuck);
                let gone = Dispatcher::new(app.store().clone(), vec![gone]);
                gone.run_until_idle().await.expect("the log can be read");
                Attempt::at(format!("{PATH}/forget")).body(json!({ "subscription": "sweep.gone" })).status(204)
            })
        })
}
