//! The analytics service through the door, on every engine that is there. The events are written as the
//! inventory service writes them; that it does is the business of the binary's tests.

automod::dir!("tests/it");

use std::sync::atomic::{AtomicI64, Ordering};

use contracts::inventory::{ITEM_ADJUSTED, ITEM_CREATED, ITEM_DELETED, ITEM_RESTORED, ITEM_UPDATED, ItemId};
use kernel::{Answer, PermissionSet};
use serde_json::{Value, json};
use store::Event;
use testkit::{TestApp, TestResponse, TestTenant};

const SUMMARY: &str = "/api/analytics/inventory/summary";
const TRENDING: &str = "/api/analytics/inventory/trending";
const TOP: &str = "/api/analytics/inventory/top";

/// Returns the service on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, vec![analytics::service()], Default::default()).await);
    }
    apps
}

/// An item of the inventory, as far as its events tell.
struct Item {
    id: ItemId,
    sku: String,
    version: AtomicI64,
    quantity: AtomicI64,
    level: Option<i64>,
    cost: Option<i64>,
}

/// A movement.
#[derive(Clone, Debug)]
struct Movement {
    delta: i64,
    reason: &'static str,
    on: String,
    amount: Option<i64>,
}

impl Item {
    fn new(sku: &str) -> Self {
        let (version, quantity) = (AtomicI64::new(0), AtomicI64::new(0));
        Self { id: ItemId::new(), sku: sku.to_owned(), version, quantity, level: None, cost: None }
    }

    fn state(&self) -> Value {
        json!({
            "id": self.id, "sku": self.sku, "name": format!("{} by name", self.sku), "unit": "piece",
            "quantity": self.quantity.load(Ordering::SeqCst), "lowStockLevel": self.level, "unitCost": self.cost,
            "something": "that nobody knows yet",
        })
    }

    fn event(&self, kind: &str, data: Value) -> Event {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        Event { kind: kind.to_owned(), subject: self.id.to_string(), version, data }
    }

    fn created(&self) -> Event {
        self.event(ITEM_CREATED, self.state())
    }

    fn updated(&self) -> Event {
        self.event(ITEM_UPDATED, self.state())
    }

    fn deleted(&self) -> Event {
        self.event(ITEM_DELETED, self.state())
    }

    fn restored(&self) -> Event {
        self.event(ITEM_RESTORED, self.state())
    }

    fn moved(&self, movement: &Movement) -> Event {
        let quantity = self.quantity.fetch_add(movement.delta, Ordering::SeqCst) + movement.delta;
        let mut data = json!({
            "delta": movement.delta, "reason": movement.reason, "quantity": quantity, "sku": self.sku,
            "occurredAt": format!("{}T12:00:00Z", movement.on),
        });
        if let Some(amount) = movement.amount {
            data["amount"] = json!(amount);
        }
        self.event(ITEM_ADJUSTED, data)
    }

    fn sold(&self, units: i64, on: &str) -> Event {
        self.moved(&Movement { delta: -units, reason: "sold", on: on.to_owned(), amount: None })
    }

    fn opened(&self, units: i64, on: &str) -> Event {
        self.moved(&Movement { delta: units, reason: "opening", on: on.to_owned(), amount: None })
    }
}

/// Writes events into the log of a tenant.
async fn write(app: &TestApp, tenant: &TestTenant, events: impl IntoIterator<Item = Event>) {
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        let mut ctx = store::system_context(tenant.id, PermissionSet::default());
        let mut writer = app.store().write(&mut ctx).await.expect("a writer");
        // A slow machine must not hold a writer for too long.
        for event in events.by_ref().take(100) {
            writer.record(event).await.expect("an event");
        }
        writer.commit(Answer::no_content()).await.expect("kept");
    }
}

/// Writes events and has them counted.
async fn tell(app: &TestApp, tenant: &TestTenant, events: impl IntoIterator<Item = Event>) {
    write(app, tenant, events).await;
    app.settle().await;
}

async fn ask(app: &TestApp, tenant: &TestTenant, target: &str) -> TestResponse {
    app.get(target).token(&tenant.viewer_token).send().await
}

async fn figures(app: &TestApp, tenant: &TestTenant, target: &str) -> Value {
    ask(app, tenant, target).await.expect(200).data()
}

/// Returns the answer without up to where it knows, which differs between logs.
fn without_place(mut answer: Value) -> Value {
    answer.as_object_mut().expect("an object").remove("asOf");
    answer
}
