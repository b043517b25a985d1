//! How the sweep tries budgets and records of language models. Not a test by itself: see `sweep`.

use std::time::Duration;

use http::Method;
use kernel::Rate;
use serde_json::{Value, json};
use testkit::{Attempt, Sweep, TestApp, TestTenant};
use usage::{Price, RecordId, Reserved, Wanted};

const BUDGETS: &str = "/api/v1/usage/budgets";
/// What no answer to anybody but the owner may show.
const SENTINEL: &str = "sentinel-7f3a";

fn named(name: &str) -> Value {
    json!({ "name": name, "per": "tenant", "period": "month", "tokens": 1_000_000 })
}

/// Creates a budget of the owner's and returns its path.
async fn budget(app: &TestApp, owner: &TestTenant) -> String {
    // The sweep makes more budgets than a tenant may have.
    let page = app.get(&format!("{BUDGETS}?limit=200")).token(&owner.admin_token).send().await.expect(200).json();
    for item in page["items"].as_array().expect("items") {
        let path = format!("{BUDGETS}/{}", item["id"].as_str().expect("an id"));
        app.request(Method::DELETE, &path).token(&owner.admin_token).send().await.expect(204);
    }
    let made = app.post(BUDGETS).token(&owner.admin_token).json(&named(SENTINEL)).send().await.expect(201);
    made.header("location").to_owned()
}

/// Makes a call of the owner's with a model that nobody else uses.
async fn call(app: &TestApp, owner: &TestTenant) {
    let wanted = Wanted {
        id: RecordId::new(),
        tenant: owner.id,
        user: SENTINEL.into(),
        credential: SENTINEL.into(),
        route: SENTINEL.into(),
        model: SENTINEL.into(),
        question: 1,
        least: 1,
        most: 1,
        price: Price { input: Rate(1), output: Rate(1) },
        limits: Vec::new(),
        lease: Duration::from_secs(60),
    };
    let reserved = usage::reserve(app.store(), &wanted).await.expect("the ledger answers");
    assert_eq!(reserved, Reserved::Granted { answer: 1 });
    let spent = usage::Spent {
        tokens: usage::Tokens { input: 1, output: 1, ..usage::Tokens::default() },
        cost_nano: 1,
        estimated: false,
        outcome: usage::Outcome::Completed,
    };
    usage::settle(app.store(), owner.id, wanted.id, spent).await.expect("settled");
}

pub fn add(sweep: Sweep) -> Sweep {
    sweep
        .operation("usage_list_budgets", |app, owner| {
            Box::pin(async move {
                budget(app, owner).await;
                Attempt::at(format!("{BUDGETS}?limit=200")).shows(SENTINEL).own()
            })
        })
        .operation("usage_create_budget", |_, _| {
            Box::pin(async move {
                let name = kernel::TenantId::new().to_string();
                Attempt::at(BUDGETS).body(named(&name)).status(201).own()
            })
        })
        .operation("usage_get_budget", |app, owner| {
            Box::pin(async move { Attempt::at(budget(app, owner).await).shows(SENTINEL) })
        })
        .operation("usage_update_budget", |app, owner| {
            Box::pin(async move { Attempt::at(budget(app, owner).await).body(named(SENTINEL)).shows(SENTINEL) })
        })
        .operation("usage_delete_budget", |app, owner| {
            Box::pin(async move { Attempt::at(budget(app, owner).await).status(204) })
        })
        .operation("usage_list_records", |app, owner| {
            Box::pin(async move {
                call(app, owner).await;
                Attempt::at("/api/v1/usage/records?limit=200").shows(SENTINEL).own()
            })
        })
        .operation("usage_get_summary", |app, owner| {
            Box::pin(async move {
                call(app, owner).await;
                Attempt::at("/api/v1/usage/summary").shows(SENTINEL).own()
            })
        })
}
