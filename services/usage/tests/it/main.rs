//! The usage service on every engine that is there: its routes through the door, its functions as the gateway calls
//! them; one file per subject, found by itself. Who may do what is also the sweep's business, in the binary's tests.

automod::dir!("tests/it");

use std::time::Duration;

use http::Method;
use kernel::{Period, Rate};
use serde_json::{Value, json};
use testkit::{TestApp, TestResponse, TestTenant};
use usage::{Limit, Outcome, Per, Price, RecordId, Reserved, Spent, Tokens, Unit, Wanted};

const BUDGETS: &str = "/api/v1/usage/budgets";
const RECORDS: &str = "/api/v1/usage/records";
const SUMMARY: &str = "/api/v1/usage/summary";

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Returns the service on a fresh database of each engine.
async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, vec![usage::service()], store::Walls::default()).await);
    }
    apps
}

/// A budget of the gateway's.
fn limit(name: &str, per: Per, unit: Unit, most: i64, period: Period) -> Limit {
    Limit { name: name.into(), per, unit, period, most }
}

/// A call with a question of ten tokens that wants so many of answer, at one nano a token.
fn wanted(tenant: &TestTenant, answer: i64, limits: &[Limit]) -> Wanted {
    let price = Price { input: Rate(1_000_000), output: Rate(1_000_000) };
    Wanted {
        id: RecordId::new(),
        tenant: tenant.id,
        user: "anna".into(),
        credential: "token".into(),
        route: "/chat".into(),
        model: "large".into(),
        question: 10,
        least: answer,
        most: answer,
        price,
        limits: limits.to_vec(),
        lease: 15 * MINUTE,
    }
}

async fn reserve(app: &TestApp, wanted: &Wanted) -> Reserved {
    usage::reserve(app.store(), wanted).await.expect("the ledger answers")
}

/// Returns how many tokens of answer were granted.
async fn granted(app: &TestApp, wanted: &Wanted) -> i64 {
    match reserve(app, wanted).await {
        Reserved::Granted { answer } => answer,
        refused => panic!("{refused:?}"),
    }
}

/// Returns the name of the budget that had no room.
async fn refused(app: &TestApp, wanted: &Wanted) -> String {
    match reserve(app, wanted).await {
        Reserved::Exhausted(exhausted) => exhausted.budget,
        granted => panic!("{granted:?}"),
    }
}

async fn extend(app: &TestApp, wanted: &Wanted, answer: i64) -> bool {
    let tokens = Tokens { input: 10, output: answer, ..Tokens::default() };
    usage::extend(app.store(), wanted.tenant, wanted.id, tokens, tokens.total()).await.expect("the ledger answers")
}

/// A call that used ten tokens of question and so many of answer, at one nano each.
fn spent(answer: i64) -> Spent {
    let tokens = Tokens { input: 10, output: answer, ..Tokens::default() };
    Spent { tokens, cost_nano: tokens.total(), estimated: false, outcome: Outcome::Completed }
}

async fn settle(app: &TestApp, wanted: &Wanted, spent: Spent) {
    usage::settle(app.store(), wanted.tenant, wanted.id, spent).await.expect("settled");
}

async fn release(app: &TestApp, wanted: &Wanted) {
    usage::release(app.store(), wanted.tenant, wanted.id).await.expect("released");
}

/// Asks as the tenant's administrator.
async fn ask(app: &TestApp, tenant: &TestTenant, method: Method, path: &str, body: Value) -> TestResponse {
    // Minted, because it outlives the months that pass here.
    let token = app.mint(app.principal(tenant));
    let request = app.request(method, path).token(&token);
    if body.is_null() { request.send().await } else { request.json(&body).send().await }
}

async fn read(app: &TestApp, tenant: &TestTenant, path: &str) -> Value {
    ask(app, tenant, Method::GET, path, Value::Null).await.expect(200).json()
}

/// Creates a budget of the tenant's own and returns its path.
async fn budget(app: &TestApp, tenant: &TestTenant, body: Value) -> String {
    ask(app, tenant, Method::POST, BUDGETS, body).await.expect(201).header("location").to_owned()
}

/// Returns what is used and reserved of a budget of the tenant's own that is for the whole tenant.
async fn standing(app: &TestApp, tenant: &TestTenant, path: &str) -> (i64, i64) {
    let standing = read(app, tenant, path).await["standing"][0].clone();
    (standing["used"].as_i64().unwrap_or(0), standing["reserved"].as_i64().unwrap_or(0))
}

async fn records(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    read(app, tenant, &format!("{RECORDS}?limit=200")).await["items"].as_array().expect("items").clone()
}

/// Returns the tenant's events of one type.
async fn told(app: &TestApp, tenant: &TestTenant, kind: &str) -> Vec<Value> {
    app.relay().await;
    let page = read(app, tenant, &format!("/api/events?limit=200&type={kind}")).await;
    page["items"].as_array().expect("events").clone()
}

fn pass(app: &TestApp, time: Duration) {
    app.clock().shift(i64::try_from(time.as_micros()).expect("not for ever"));
}
