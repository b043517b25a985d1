//! Every operation that the binary serves, tried as everybody, behind both walls between tenants
//! and behind each of them alone. A new operation fails here until it has a fixture.

use std::sync::Arc;

use portico::config::Config;
use portico::services::{self, States};
use portico::{docs, health, operator};
use serde_json::json;
use service::Service;
use store::{Engine, Vault, Walls};
use testkit::{Attempt, Database, Sweep, TestApp, TestTenant};

use crate::{
    sweep_analytics, sweep_batches, sweep_events, sweep_export, sweep_flags, sweep_live, sweep_notifications,
    sweep_people, sweep_provision, sweep_quality, sweep_tasks, sweep_usage, sweep_webhooks,
};

/// What no answer to anybody but the owner may show.
pub(crate) const SENTINEL: &str = "sentinel-7f3a";

fn everything(states: &States) -> Vec<Service> {
    let mut all = services::all(states);
    let names = all.iter().map(|service| service.name).collect();
    all.push(health::service(names, health::Readiness::default(), Arc::default()));
    let document = docs::written(&service::document(&all));
    all.push(docs::service(Arc::new(surface::Published::new(document))));
    let own = operator::service(states.identity.clone(), &all, &[]);
    all.push(own);
    all
}

/// Creates an item of the owner's and returns its path.
pub(crate) async fn item(app: &TestApp, owner: &TestTenant) -> String {
    let sku = kernel::TenantId::new().to_string();
    let body = json!({ "sku": sku, "name": SENTINEL });
    let made = app.post("/api/inventory").token(&owner.admin_token).json(&body).send().await.expect(201);
    let path = made.header("location").to_owned();
    let adjust = json!({ "delta": 5, "reason": "opening", "note": SENTINEL });
    app.post(&format!("{path}/adjust")).token(&owner.admin_token).json(&adjust).send().await.expect(200);
    app.relay().await;
    path
}

async fn deleted_item(app: &TestApp, owner: &TestTenant) -> String {
    let path = item(app, owner).await;
    app.request(http::Method::DELETE, &format!("{path}?force=true")).token(&owner.admin_token).send().await.expect(200);
    path
}

/// What the first services do, whose fixtures stand even where there is no wall.
fn core() -> Sweep {
    let public = [
        ("health_get_health", "/health"),
        ("health_get_live", "/health/live"),
        ("health_get_ready", "/health/ready"),
        ("health_get_database", "/health/database"),
        ("docs_get_openapi", "/openapi.json"),
        ("docs_get_page", "/docs"),
        ("health_get_metrics", "/metrics"),
    ];
    let sweep = public.into_iter().fold(Sweep::default(), |sweep, (id, path)| sweep.plain(id, Attempt::at(path)));
    sweep
        .operation("inventory_list_items", |app, owner| {
            Box::pin(async move {
                item(app, owner).await;
                Attempt::at("/api/inventory?limit=200").shows(SENTINEL).own()
            })
        })
        .operation("inventory_create_item", |_, _| {
            Box::pin(async move {
                let sku = kernel::TenantId::new().to_string();
                let body = json!({ "sku": sku, "name": "of whoever creates it" });
                Attempt::at("/api/inventory").body(body).status(201).own()
            })
        })
        .operation("inventory_get_item", |app, owner| {
            Box::pin(async move { Attempt::at(item(app, owner).await).shows(SENTINEL) })
        })
        .operation("inventory_update_item", |app, owner| {
            Box::pin(async move { Attempt::at(item(app, owner).await).body(json!({ "unit": "gram" })).shows(SENTINEL) })
        })
        .operation("inventory_delete_item", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}?force=true", item(app, owner).await)) })
        })
        .plain("inventory_get_settings", Attempt::at("/api/inventory/settings").own())
        .plain(
            "inventory_update_settings",
            Attempt::at("/api/inventory/settings").body(json!({ "negativeStock": "warn" })).own(),
        )
        .plain("inventory_verify_ledger", Attempt::at("/operator/inventory/ledger"))
        .operation("inventory_restore_item", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}/restore", deleted_item(app, owner).await)).shows(SENTINEL) })
        })
        .operation("inventory_adjust_item", |app, owner| {
            Box::pin(async move {
                let body = json!({ "delta": -1, "reason": "sold" });
                Attempt::at(format!("{}/adjust", item(app, owner).await)).body(body).shows(SENTINEL)
            })
        })
        .operation("inventory_list_movements", |app, owner| {
            Box::pin(async move { Attempt::at(format!("{}/logs", item(app, owner).await)).shows(SENTINEL) })
        })
        .operation("inventory_export_items", |app, owner| {
            Box::pin(async move {
                item(app, owner).await;
                Attempt::at("/api/inventory/export/inventory?format=csv").shows(SENTINEL).own()
            })
        })
        .operation("events_list_events", |app, owner| {
            Box::pin(async move {
                item(app, owner).await;
                Attempt::at("/api/events?type=inventory.item.created&limit=200").shows(SENTINEL).own()
            })
        })
}

/// Every operation.
fn sweep() -> Sweep {
    let adders = [
        sweep_people::add,
        sweep_live::add,
        sweep_provision::add,
        sweep_events::add,
        sweep_flags::add,
        sweep_tasks::add,
        sweep_notifications::add,
        sweep_usage::add,
        sweep_webhooks::add,
        sweep_quality::add,
        sweep_analytics::add,
        sweep_batches::add,
        sweep_export::add,
    ];
    adders.into_iter().fold(core(), |sweep, add| add(sweep))
}

async fn app(engine: Engine, walls: Walls) -> TestApp {
    let (database, all, identity) = parts(engine, walls).await;
    TestApp::with(database, all, identity).await
}

async fn parts(engine: Engine, walls: Walls) -> (Database, Vec<Service>, identity::Identity) {
    let mut database = Database::new(engine).await;
    database.config.walls = walls;
    let states = States::new(&Config::default()).expect("sound settings");
    let all = everything(&states);
    let types = all.iter().flat_map(|service| service.events.iter().copied());
    states.webhooks.open(Vault::new(&[7; 32]), types).expect("opened once");
    states.inventory.open(Vault::new(&[7; 32])).expect("opened once");
    (database, all, states.identity)
}

/// What is not the same by nature: the process describes itself.
const APART: [&str; 6] = [
    "health_get_health",
    "health_get_live",
    "health_get_ready",
    "health_get_database",
    "health_get_metrics",
    // It takes the sessions away that the next try would need.
    "identity_logout_all",
];

/// A service in this process and one elsewhere cannot be told apart.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_the_same_from_elsewhere() {
    let (database, all, identity) = parts(Engine::Sqlite, Walls::default()).await;
    sweep().run_both_ways(&TestApp::both_ways(database, all, identity).await, &APART).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_the_same_from_elsewhere_on_postgres() {
    if testkit::postgres_url().is_some() {
        let (database, all, identity) = parts(Engine::Postgres, Walls::default()).await;
        sweep().run_both_ways(&TestApp::both_ways(database, all, identity).await, &APART).await;
    }
}

async fn swept(engine: Engine, walls: Walls) {
    sweep().run(&app(engine, walls).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_on_sqlite() {
    swept(Engine::Sqlite, Walls::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_on_postgres() {
    if testkit::postgres_url().is_some() {
        swept(Engine::Postgres, Walls::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_with_the_filter_alone() {
    if testkit::postgres_url().is_some() {
        swept(Engine::Postgres, Walls { filter: true, row_security: false }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_with_row_level_security_alone() {
    if testkit::postgres_url().is_some() {
        swept(Engine::Postgres, Walls { filter: false, row_security: true }).await;
    }
}

/// The sweep is worth nothing if it stays green without any wall.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_wall_the_sweep_fails() {
    let app = app(Engine::Sqlite, Walls { filter: false, row_security: false }).await;
    let ran = tokio::spawn(async move { core().run(&app).await }).await;
    let panic = ran.expect_err("the sweep must fail").into_panic();
    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    for operation in ["inventory_get_item", "inventory_list_items", "inventory_adjust_item", "events_list_events"] {
        assert!(text.contains(&format!("{operation} as the other tenant")), "{operation} is not caught:\n{text}");
    }
}
