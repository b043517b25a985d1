//! The typed client against a service that does as it is told, through the door. What the real service
//! answers is its own business; that both are alike in two processes is that of the binary's tests.

automod::dir!("tests/it");

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use contracts::analytics::{AnalyticsClient, READ_INVENTORY, SUMMARY_PATH, SummaryQuery};
use contracts::{Day, Patience};
use http::StatusCode;
use kernel::{Answer, Error, TenantId};
use serde_json::{Value, json};
use service::{App, Operation, PermissionType, Role, Service};
use testkit::{TestApp, TestResponse, TestTenant};
use web::{Caller, Client, Onward, Problem, Query, Reply};

const ASK: &str = "/api/asker";

/// What the other service does when it is asked.
#[derive(Clone, Debug)]
enum Turn {
    /// Says that there are so many items.
    Good(i64),
    /// Answers with this status.
    Status(u16),
    /// Answers 200 with something that nobody understands.
    Nonsense,
    /// Never answers.
    Silent,
}

/// What the other service was asked, by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    tenant: TenantId,
    actor: String,
    request: String,
    correlation: String,
    reason: Option<String>,
    client: Option<String>,
    query: SummaryQuery,
}

/// What the other service will do, and what it was asked.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<(VecDeque<Turn>, Vec<Seen>)>>);

impl Script {
    fn then(&self, turns: impl IntoIterator<Item = Turn>) {
        self.0.lock().expect("not poisoned").0.extend(turns);
    }

    fn asked(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().expect("not poisoned").1)
    }

    fn service(&self) -> Service {
        let permission = PermissionType { name: READ_INVENTORY, role: Role::Viewer, summary: "See figures" };
        let operation = Operation::get(SUMMARY_PATH, "analytics_get_summary", play).permission(READ_INVENTORY);
        Service::new("analytics", "Does as it is told")
            .routes([operation])
            .permissions([permission])
            .extension(self.clone())
    }
}

async fn play(
    Extension(script): Extension<Script>,
    Client(client): Client,
    Caller(ctx): Caller,
    Query(query): Query<SummaryQuery>,
) -> Response {
    let turn = {
        let mut script = script.0.lock().expect("not poisoned");
        script.1.push(Seen {
            tenant: ctx.tenant(),
            actor: ctx.actor().to_string(),
            request: ctx.request_id().as_str().to_owned(),
            correlation: ctx.correlation_id().as_str().to_owned(),
            reason: ctx.reason().map(str::to_owned),
            client: client.map(|client| client.to_string()),
            query,
        });
        script.0.pop_front().expect("the script is long enough")
    };
    match turn {
        Turn::Good(items) => Reply(Answer::ok(&summary(items)).expect("an answer")).into_response(),
        Turn::Status(status) => {
            let error = Error::unavailable("analytics.told", "as it was told").status_code(status);
            Problem::from(error).into_response()
        }
        Turn::Nonsense => {
            let mut response = Response::new(Body::from("{\"items\": \"many\"}"));
            *response.status_mut() = StatusCode::OK;
            response
        }
        Turn::Silent => std::future::pending().await,
    }
}

fn summary(items: i64) -> Value {
    json!({
        "from": "2026-10-23", "to": "2026-11-21", "items": items, "liveItems": 1, "outOfStock": 0, "short": 0,
        "deadStock": 0, "unitsOnHand": 1, "stockValue": 1, "itemsWithoutCost": 0, "movements": 1, "unitsIn": 1,
        "unitsOut": 1, "unitsCorrected": 1, "amountIn": 1, "amountOut": 1, "unitsOutWithoutAmount": 0,
        "turnsPerYear": 0.333_333, "daysOfCover": null, "something": "that nobody knows yet",
        "asOf": { "position": 1, "at": null, "lagging": false },
    })
}

/// A service that asks the other one.
fn asker(patience: Patience) -> Service {
    let client = AnalyticsClient::new(patience);
    let ask = move |State(app): State<App>, onward: Onward, Query(query): Query<SummaryQuery>| {
        let client = client.clone();
        async move {
            let answered = client.summary(&app, &onward, &query).await?;
            let answer = json!({ "items": answered.data.items, "turns": answered.data.turns_per_year,
                "stale": answered.stale, "asOf": answered.as_of });
            web::Result::Ok(Reply(Answer::ok(&answer)?))
        }
    };
    let permission = PermissionType { name: "asker.things.read", role: Role::Viewer, summary: "Ask" };
    let operation = Operation::get(ASK, "asker_ask", ask).permission("asker.things.read");
    Service::new("asker", "Asks").routes([operation]).permissions([permission])
}

/// A patience that no slow machine exhausts.
const PATIENT: Patience = Patience {
    per_try: Duration::from_secs(30),
    in_all: Duration::from_secs(60),
    failures: 3,
    pause: Duration::from_secs(2),
    oldest: Duration::from_secs(3_600),
};

/// Who asks, and what is asked.
struct Ground {
    app: TestApp,
    script: Script,
    tenant: TestTenant,
}

impl Ground {
    async fn new(patience: Patience) -> Self {
        let script = Script::default();
        let app = TestApp::sqlite(vec![script.service(), asker(patience)]).await;
        let tenant = app.tenant("farm").await;
        Self { app, script, tenant }
    }

    async fn ask(&self) -> TestResponse {
        self.app.get(ASK).token(&self.tenant.viewer_token).send().await
    }

    /// Returns how many items the answer tells of, and whether it is an old one.
    async fn told(&self) -> (i64, bool) {
        let answer = self.ask().await.expect(200).json();
        (answer["items"].as_i64().expect("a number"), answer["stale"].as_bool().expect("true or false"))
    }

    fn later(&self, seconds: i64) {
        self.app.clock().shift(seconds * 1_000_000);
    }

    fn day(text: &str) -> Option<Day> {
        Day::parse(text)
    }
}
