//! The live service through the door, on every engine that is there: a Socket.IO client over polling,
//! which needs no socket. WebSocket and the clients of others are the conformance suite's business.

automod::dir!("tests/it");

use kernel::{Answer, Id, IdKind, PermissionSet, TenantId};
use serde_json::{Value, json};
use service::{Audience, EventType, Service};
use store::Event;
use testkit::TestApp;

const ADJUSTED: &str = "inventory.item.adjusted";
const RAISED: &str = "notifications.notification.raised";

/// Names what the events of these tests are about.
struct Thing;
impl IdKind for Thing {
    const PREFIX: &'static str = "itm";
}

/// Returns services that publish what sockets are told of, on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        let event = |name, audience| EventType { name, audience, retention_days: None, summary: "for a test" };
        let mut services = vec![
            Service::new("inventory", "Publishes").events([event(ADJUSTED, Audience::Staff)]),
            Service::new("notifications", "Publishes too").events([event(RAISED, Audience::Admins)]),
        ];
        services.push(live::service(&services));
        apps.push(TestApp::start(engine, services, Default::default()).await);
    }
    apps
}

/// Writes events of one type in one transaction.
async fn record(app: &TestApp, tenant: TenantId, kind: &str, all: impl IntoIterator<Item = Value>) {
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = app.store().write(&mut ctx).await.expect("a writer");
    for data in all {
        writer.record(Event::about(kind, Id::<Thing>::new(), data)).await.expect("recorded");
    }
    writer.commit(Answer::no_content()).await.expect("kept");
}

/// Publishes events, and gives them their positions.
async fn publish(app: &TestApp, tenant: TenantId, kind: &str, all: impl IntoIterator<Item = Value>) {
    record(app, tenant, kind, all).await;
    app.relay().await;
}

/// Publishes that stock was adjusted, once for each amount.
async fn adjust(app: &TestApp, tenant: TenantId, amounts: impl IntoIterator<Item = i64>) {
    publish(app, tenant, ADJUSTED, amounts.into_iter().map(|amount| json!({ "quantity": amount }))).await;
}
