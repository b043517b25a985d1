//! How the installation is: alive, ready, its database, its services and its upstreams. Strangers
//! learn the state, never an internal. Not for looking at several at once; see `health/together.rs`.

mod member;
mod together;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use gateway::Metrics;
use http::header::CONTENT_TYPE;
use kernel::{Answer, Error, Result, Timestamp};
use serde::Serialize;
use service::{Access, App, Operation, Service};
use store::Store;
use utoipa::ToSchema;

pub use member::{Condition, Found, Member};
use together::{Health, LOOK_LIMIT, Together};

/// Whether this process wants requests; it stops wanting them before it stops.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<AtomicBool>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Readiness {
    /// Says that this process is about to stop.
    pub fn stop(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn is(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A single word on the state of the process.
#[derive(Debug, Serialize, ToSchema)]
struct Word {
    /// `live`, `ready`, `not_ready`.
    status: String,
}

/// The state of the database, in the words that the engineering suite's clients know.
#[derive(Debug, Serialize, ToSchema)]
struct DatabaseHealth {
    /// `healthy` or `unhealthy`.
    status: String,
    /// `ok` or `failed`.
    database_connection: String,
    /// The tables that everything stands on: `available` or `not_available`.
    core_tables: BTreeMap<String, String>,
    /// The ML monitoring tables: `available` or `not_available`.
    ml_tables: BTreeMap<String, String>,
    /// How many rows have an embedding, or `column_not_available`.
    vector_columns: BTreeMap<String, String>,
    /// When it was looked at.
    timestamp: Timestamp,
}

/// Returns the service; `names` are the services that run in this process.
pub fn service(names: Vec<&'static str>, readiness: Readiness, metrics: Arc<Metrics>) -> Service {
    service_with(names, readiness, metrics, Vec::new())
}

/// Returns the service, which says how these upstreams are too.
pub fn service_with(
    names: Vec<&'static str>,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    upstreams: Vec<Member>,
) -> Service {
    let (together, ready) = (Arc::new(Together::new(names, upstreams)), readiness);
    Service::new("health", "State, readiness and metrics").routes([
        Operation::get("/health", "health_get_health", move |State(app): State<App>| {
            health(app, together.clone())
        })
        .access(Access::Public)
        .describe(
            "State of the installation",
            "`healthy`; `degraded` when something is away that it can do without; 503 and `unhealthy` when the database \
             or a required upstream is away. Looked at once a second at most, however many ask.",
        )
        .gives::<Health>(200, "Healthy, or degraded")
        .gives::<Health>(503, "Unhealthy"),
        Operation::get("/health/live", "health_get_live", || async { web::Result::Ok(word(200, "live")?) })
            .access(Access::Public)
            .describe("Is the process alive", "Asks nothing of anything else; restart the process when this fails.")
            .gives::<Word>(200, "Alive"),
        Operation::get("/health/ready", "health_get_ready", move |State(app): State<App>| is_ready(app, ready.clone()))
            .access(Access::Public)
            .describe("Does the process want requests", "503 while it stops or its database is away.")
            .gives::<Word>(200, "Ready")
            .gives::<Word>(503, "Not ready"),
        Operation::get("/health/database", "health_get_database", |State(app): State<App>| database(app))
            .access(Access::Public)
            .describe(
                "State of the database",
                "Tables and embedding columns as the engineering suite's clients expect them.",
            )
            .gives::<DatabaseHealth>(200, "Healthy")
            .gives::<DatabaseHealth>(503, "Unhealthy"),
        Operation::get("/metrics", "health_get_metrics", move || {
            let page = prometheus(&metrics);
            async move { page }
        })
        .access(Access::Operator)
        .describe("Metrics", "OpenMetrics text, which Prometheus reads. Needs the operator token.")
        .gives_other(200, "The metrics", &["application/openmetrics-text"]),
    ])
}

fn word(status: u16, word: &str) -> Result<web::Reply> {
    Ok(Answer { status, ..Answer::ok(&Word { status: word.to_owned() })? }.into())
}

async fn database_answers(store: &Store) -> bool {
    matches!(tokio::time::timeout(LOOK_LIMIT, store.ping()).await, Ok(Ok(())))
}

async fn health(app: App, together: Arc<Together>) -> web::Result {
    let store = app.store.clone();
    let health = together.look(app.now(), Instant::now(), async move { database_answers(&store).await }).await;
    Ok(Answer { status: if health.state == Condition::Unhealthy { 503 } else { 200 }, ..Answer::ok(&*health)? }.into())
}

async fn is_ready(app: App, readiness: Readiness) -> web::Result {
    let ready = readiness.is() && database_answers(&app.store).await;
    Ok(if ready { word(200, "ready")? } else { word(503, "not_ready")? })
}

async fn database(app: App) -> web::Result {
    let connected = database_answers(&app.store).await;
    let core = ["tenant", "event_log", "identity_user", "inventory_item"].map(|name| (name, name));
    let core_tables = tables(&app.store, connected, &core).await;
    // The names that clients know on the left, the tables of the ml service on the right.
    let ml = [
        ("ai_learning_memory", "ml_learning_memory"),
        ("ml_prediction_log", "ml_prediction_log"),
        ("ml_anomaly_alerts", "ml_anomaly_alert"),
    ];
    let ml_tables = tables(&app.store, connected, &ml).await;
    let columns = ["issues", "pull_requests", "projects", "users"];
    let vector_columns = columns
        .map(|name| (format!("{name}_with_embeddings"), "column_not_available".to_owned()))
        .into_iter()
        .collect();
    let healthy = connected && core_tables.values().all(|state| state == "available");
    let health = DatabaseHealth {
        status: if healthy { "healthy" } else { "unhealthy" }.to_owned(),
        database_connection: if connected { "ok" } else { "failed" }.to_owned(),
        core_tables,
        ml_tables,
        vector_columns,
        timestamp: app.now(),
    };
    Ok(Answer { status: if healthy { 200 } else { 503 }, ..Answer::ok(&health)? }.into())
}

async fn tables(store: &Store, connected: bool, names: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (shown, table) in names {
        let there = connected && matches!(tokio::time::timeout(LOOK_LIMIT, store.has_table(table)).await, Ok(Ok(true)));
        found.insert((*shown).to_owned(), if there { "available" } else { "not_available" }.to_owned());
    }
    found
}

fn prometheus(metrics: &Metrics) -> web::Result<Response> {
    let text: Result<String, Error> = metrics.text();
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text?).into_response())
}
