//! Making a tenant for somebody, over all services in memory: all of it happens or nothing is left,
//! whichever step fails. Not for who may call what, which is the sweep's business.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use http::Method;
use kernel::{Error, Result};
use portico::config::Config;
use portico::services::{self, States};
use serde_json::{Value, json};
use service::{NewTenant, Provisioning, Service};
use store::fault::{self, FaultAction};
use store::{Engine, Purpose};
use tasks::{SagaRun, Step, StepWork};
use testkit::{Database, TestApp, TestRequest, TestTenant};

use crate::fresh_database;

const PROVISION: &str = "/api/v1/tenants/provision";
const WHY: &str = "ticket 7: a new customer";
const PASSWORD: &str = "seven otters juggle lamps";

/// What the engines of events and tasks keep about their own work.
const BOOKKEEPING: [&str; 9] = [
    "task",
    "saga",
    "saga_step",
    "task_schedule",
    "idempotency_key",
    "event_position",
    "sqlite_sequence",
    "subscription",
    "subscription_cursor",
];

/// All services over one fresh database, and the superadmin's tenant.
struct House {
    app: TestApp,
    platform: TestTenant,
    superadmin: String,
    url: String,
}

impl House {
    async fn build(engine: Engine, more: Vec<Provisioning>) -> Self {
        let database = Database::new(engine).await;
        let url = database.config.url.clone();
        let states = States::new(&Config::default()).expect("sound settings");
        let mut all: Vec<Service> = services::all(&states);
        // Webhooks would have to be opened, and have nothing to do here.
        all.retain(|service| service.name != "webhooks");
        if !more.is_empty() {
            let place = all.iter().position(|service| service.name == "tenants").expect("the tenants service");
            let known = all.iter().flat_map(|service| service.provisioning.iter().cloned());
            all[place] = tenants::service(known.chain(more).collect());
        }
        let app = TestApp::with(database, all, states.identity).await;
        let platform = app.tenant("platform").await;
        let superadmin = app.superadmin(&platform);
        app.settle().await;
        Self { app, platform, superadmin, url }
    }

    fn request(&self, method: Method, path: &str) -> TestRequest<'_> {
        self.app.request(method, path).token(&self.superadmin).header("x-audit-reason", WHY)
    }

    fn get(&self, path: &str) -> TestRequest<'_> {
        self.request(Method::GET, path)
    }

    /// Asks for a tenant without waiting for it.
    fn ask(&self, body: &Value) -> TestRequest<'_> {
        self.request(Method::POST, PROVISION).header("prefer", "respond-async").json(body)
    }

    /// Returns all that there is, but what the engines keep about their own work.
    async fn everything(&self) -> Vec<String> {
        let mine = |row: &String| {
            let table = row.split(':').next().unwrap_or_default();
            // That the task failed or was cancelled is told in the log of the superadmin's tenant.
            let told = table == "event_log" && row.contains("tasks.task.");
            !told && !BOOKKEEPING.contains(&table)
        };
        self.app.dump().await.into_iter().filter(mine).collect()
    }

    /// Returns the rows that came and went since.
    async fn changes_since(&self, before: &[String]) -> Vec<String> {
        let after = self.everything().await;
        let came = after.iter().filter(|row| !before.contains(row)).map(|row| format!("+ {row}"));
        let went = before.iter().filter(|row| !after.contains(row)).map(|row| format!("- {row}"));
        came.chain(went).collect()
    }

    async fn tenants(&self, slug: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/v1/tenants?slugPrefix={slug}")).send().await.expect(200).json();
        page["items"].as_array().expect("tenants").clone()
    }

    async fn sql(&self, sql: &str) {
        fresh_database::execute(&self.url, sql).await;
    }
}

async fn houses() -> Vec<House> {
    let mut houses = Vec::new();
    for engine in testkit::engines() {
        houses.push(House::build(engine, Vec::new()).await);
    }
    houses
}

fn farm(slug: &str) -> Value {
    json!({
        "slug": slug, "name": "Green Farm", "plan": "team", "timeZone": "Europe/Copenhagen", "currency": "DKK",
        "admin": { "email": format!("Ada@{slug}.example.org") },
        "quotas": { "users": 10, "storage.bytes": 1000 },
        "flags": { "ai.inference": false, "qc.webhook": true },
    })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_finds_everything_as_it_was_asked_for() {
    for house in houses().await {
        let app = &house.app;
        let asked = house.ask(&farm("green-farm")).send().await.expect(202);
        let begun = asked.json();
        assert_eq!(asked.header("location"), format!("/api/tasks/{}", text(&begun["taskId"])));
        assert_eq!((&begun["status"], &begun["tenant"]), (&json!("running"), &Value::Null));
        assert!(house.tenants("green-farm").await.is_empty());
        app.settle().await;
        let made = house.tenants("green-farm").await.remove(0);
        assert_eq!(
            (&made["id"], &made["state"], &made["plan"]),
            (&begun["tenantId"], &json!("active"), &json!("team"))
        );
        assert_eq!((&made["timeZone"], &made["currency"]), (&json!("Europe/Copenhagen"), &json!("DKK")));
        let code = app.code_in_letter("ada@green-farm.example.org", 1).await;
        let accept = json!({ "code": code, "name": "Ada", "password": PASSWORD });
        let signed_in = app.post("/api/auth/invitations/accept").json(&accept).send().await.expect(200).json();
        assert_eq!(signed_in["user"]["role"], json!("admin"));
        let log_in =
            json!({ "email": "ada@green-farm.example.org", "password": PASSWORD, "organization": "green-farm" });
        let token = app.post("/api/auth/login").json(&log_in).send().await.expect(200).json()["accessToken"].clone();
        let get = async |path: &str| app.get(path).token(text(&token)).send().await.expect(200).data();
        let quotas = get(&format!("/api/v1/tenants/{}/quotas", text(&made["id"]))).await;
        assert_eq!(quotas["quotas"], json!({ "storage.bytes": 1000, "users": 10 }));
        let flags = get("/api/features").await["items"].as_array().expect("flags").clone();
        let flags = flags.iter().filter(|flag| !flag["enabled"].is_null());
        let flags: Vec<_> = flags.map(|flag| (text(&flag["key"]), flag["enabled"] == true)).collect();
        assert_eq!(flags, [("ai.inference", false), ("qc.webhook", true)]);
        app.relay().await;
        let told = get("/api/events?limit=200").await["items"].as_array().expect("events").clone();
        assert_eq!((&told[0]["type"], &told[0]["data"]["reason"]), (&json!("tenants.tenant.provisioned"), &json!(WHY)));
        assert_eq!(told[0]["actor"], json!(format!("superadmin:{}", house.platform.admin)));
        let kinds: Vec<_> = told.iter().map(|event| text(&event["type"])).collect();
        for kind in ["identity.invitation.created", "identity.invitation.accepted", "identity.user.created"] {
            assert_eq!(kinds.iter().filter(|known| **known == kind).count(), 1, "{kind} in {kinds:?}");
        }
        assert_eq!(app.letters_to("ada@green-farm.example.org").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_answered_with_the_tenant() {
    for house in houses().await {
        let body = farm("patient");
        let asked = house.request(Method::POST, PROVISION).header("idempotency-key", "one").json(&body).send();
        let mut committed = house.app.store().committed();
        let working = async {
            loop {
                house.app.settle().await;
                committed.changed().await.expect("the store is open");
            }
        };
        let answer =
            tokio::select! { answer = asked => answer.expect(201), () = working => unreachable!("an endless loop") };
        let done = answer.json();
        assert_eq!(answer.header("location"), format!("/api/v1/tenants/{}", text(&done["tenantId"])));
        assert_eq!((&done["status"], &done["tenant"]["slug"]), (&json!("completed"), &json!("patient")));
        let again = house.ask(&body).header("idempotency-key", "one").send().await.expect(201);
        assert_eq!((again.json(), again.header("idempotency-replayed")), (done, "true"));
        let taken = house.ask(&body).send().await.expect(409);
        assert_eq!(
            (taken.code().as_str(), &taken.json()["errors"][0]["field"]),
            ("tenants.slug_taken", &json!("slug"))
        );
    }
}

/// Makes inserts into a table fail, past the store.
fn refuse(engine: Engine, table: &str) -> String {
    // The log tells of other things too.
    let when = if table == "event_log" { "WHEN (NEW.kind = 'tenants.tenant.provisioned')" } else { "" };
    match engine {
        Engine::Sqlite => {
            format!("CREATE TRIGGER refuse BEFORE INSERT ON {table} {when} BEGIN SELECT RAISE(ABORT, 'a test'); END")
        }
        Engine::Postgres => format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''a test''; END'; \
             CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW {when} EXECUTE FUNCTION refuse()"
        ),
    }
}

fn allow(engine: Engine, table: &str) -> String {
    let on = if engine == Engine::Postgres { format!(" ON {table}") } else { String::new() };
    format!("DROP TRIGGER refuse{on}")
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_step_fails_nothing_is_left() {
    for engine in testkit::engines() {
        let house = House::build(engine, Vec::new()).await;
        let before = house.everything().await;
        for table in ["tenant", "tenants_quota", "identity_invitation", "flags_flag", "event_log"] {
            house.sql(&refuse(engine, table)).await;
            let asked = house.ask(&farm("fallow")).header("idempotency-key", table).send().await.expect(202).json();
            house.app.settle().await;
            house.sql(&allow(engine, table)).await;
            assert_eq!(house.changes_since(&before).await, [""; 0], "the step that writes {table} failed");
            // Nothing anywhere refers to it either.
            let id: kernel::TenantId = text(&asked["tenantId"]).parse().expect("an id");
            let hex = id.uuid().simple().to_string().to_uppercase();
            let rows = house.app.dump().await;
            let owned = |row: &&String| {
                let bookkeeping =
                    ["saga", "saga_step", "idempotency_key"].iter().any(|name| row.starts_with(&format!("{name}:")));
                !bookkeeping && (row.contains(&hex) || row.contains(&id.uuid().to_string()))
            };
            assert_eq!(rows.iter().find(owned), None);
            let over = house.ask(&farm("fallow")).header("idempotency-key", table).send().await.expect(409);
            assert_eq!(over.code(), "tenants.not_provisioned");
            assert!(over.text().contains(text(&asked["taskId"])), "{}", over.text());
        }
        assert!(house.app.letters_to("ada@fallow.example.org").is_empty());
        house.ask(&farm("fallow")).send().await.expect(202);
        house.app.settle().await;
        assert_eq!(house.tenants("fallow").await.len(), 1, "the same request succeeds when nothing is in its way");
    }
}

/// A part that fails: for good, or the first time.
struct Fails {
    error: fn() -> Error,
    once: bool,
    failed: Arc<AtomicBool>,
}

impl StepWork for Fails {
    fn run<'a>(&'a self, _: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        let fails = !self.failed.swap(true, Ordering::SeqCst) || !self.once;
        Box::pin(async move { if fails { Err((self.error)()) } else { Ok(Value::Null) } })
    }

    fn undo<'a>(&'a self, _: &'a mut SagaRun) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

fn failing(error: fn() -> Error, once: bool) -> Provisioning {
    fn check(_: &NewTenant) -> Result<()> {
        Ok(())
    }
    let failed = Arc::default();
    Provisioning { step: Step::new("test.fails", Fails { error, once, failed }), check }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_refuses_or_breaks_takes_all_others_back() {
    let refuses: fn() -> Error = || Error::conflict("test.refused", "the test refuses");
    let breaks: fn() -> Error = || Error::internal("the test breaks");
    for engine in testkit::engines() {
        for error in [refuses, breaks] {
            let house = House::build(engine, vec![failing(error, false)]).await;
            let before = house.everything().await;
            let asked = house.ask(&farm("fallow")).send().await.expect(202);
            house.app.settle().await;
            assert_eq!(house.changes_since(&before).await, [""; 0]);
            let task = house.get(asked.header("location")).send().await.expect(200).text();
            assert!(task.contains("test.fails") && task.contains("failed"), "{task}");
            assert!(!task.contains("ada@"), "{task}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_half_way_leaves_nothing() {
    for engine in testkit::engines() {
        let away: fn() -> Error = || Error::unavailable("test.away", "not now");
        let house = House::build(engine, vec![failing(away, true)]).await;
        let before = house.everything().await;
        let ask = || house.ask(&farm("unwanted")).header("idempotency-key", "one").send();
        let task = ask().await.expect(202).header("location").to_owned();
        house.app.settle().await;
        assert_eq!(house.tenants("unwanted").await.len(), 1, "it waits for the part that is away");
        house.request(Method::POST, &format!("{task}/cancel")).send().await.expect(200);
        house.app.settle().await;
        assert_eq!(house.changes_since(&before).await, [""; 0]);
        assert_eq!(ask().await.expect(409).code(), "tenants.not_provisioned");
    }
}

/// A part that is taken back first; its worker was overtaken and goes on.
struct Overtaken {
    seen: Arc<Mutex<Vec<String>>>,
}

impl StepWork for Overtaken {
    fn run<'a>(&'a self, _: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async { Err(Error::internal("the test breaks")) })
    }

    fn undo<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            let Some(system) = new.take_back(run).await? else { return Ok(()) };
            system.commit().await?;
            let late = match new.build(run).await {
                Ok(system) => system.close().await.map(|()| "built")?,
                Err(error) => error.code(),
            };
            let mut seen = self.seen.lock().expect("no panic");
            seen.push(late.to_owned());
            if seen.len() == 1 { Err(Error::unavailable("test.away", "not now")) } else { Ok(()) }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_added_to_a_tenant_that_is_taken_back() {
    for engine in testkit::engines() {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let step = Step::new("test.overtaken", Overtaken { seen: seen.clone() });
        let house = House::build(engine, vec![Provisioning { step, check: |_| Ok(()) }]).await;
        let before = house.everything().await;
        let id = house.ask(&farm("given-up")).send().await.expect(202).json()["tenantId"].clone();
        house.app.settle().await;
        let one = format!("/api/v1/tenants/{}", text(&id));
        assert_eq!(house.get(&one).send().await.expect(200).json()["state"], json!("provisioning"));
        let listed = house.get("/api/v1/tenants?state=provisioning").send().await.expect(200).json();
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
        let refused = house.request(Method::PATCH, &one).json(&json!({ "name": "Other" })).send().await.expect(409);
        assert_eq!(refused.code(), "tenants.provisioning");
        // That is what the last step looks at, too.
        let system = house.app.store().system(Purpose::Tenancy).await.expect("opens");
        let tenant = system.tenant_locked(text(&id).parse().expect("an id")).await.expect("is there");
        assert_eq!((tenant.state.as_str(), tenant.is_abandoned()), ("abandoning", true));
        system.close().await.expect("closes");
        house.app.clock().shift(60_000_000);
        house.app.settle().await;
        assert_eq!(house.changes_since(&before).await, [""; 0]);
        assert_eq!(*seen.lock().expect("no panic"), ["tenants.taken_back"; 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_works_in_a_tenant_that_is_being_made() {
    for engine in testkit::engines() {
        let away: fn() -> Error = || Error::unavailable("test.away", "not now");
        let house = House::build(engine, vec![failing(away, true)]).await;
        let (app, platform) = (&house.app, &house.platform);
        let id = house.ask(&farm("half-made")).send().await.expect(202).json()["tenantId"].clone();
        app.settle().await;
        let one = format!("/api/v1/tenants/{}", text(&id));
        let before = house.everything().await;
        assert_eq!(house.get(&one).send().await.expect(200).json()["state"], json!("provisioning"));
        let listed = house.get("/api/v1/tenants?state=provisioning").send().await.expect(200).json();
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
        let reason = json!({ "reason": "too early" });
        for (method, path, body) in [
            (Method::PATCH, one.clone(), json!({ "name": "Other" })),
            (Method::PUT, format!("{one}/quotas"), json!({ "quotas": {} })),
            (Method::POST, format!("{one}/suspend"), reason.clone()),
            (Method::POST, format!("{one}/activate"), reason),
        ] {
            let refused = house.request(method, &path).json(&body).send().await.expect(409);
            assert_eq!(refused.code(), "tenants.provisioning", "{path}");
        }
        assert_eq!(house.changes_since(&before).await, [""; 0]);
        // Not even a superadmin enters it.
        let session = app.session(platform).await;
        let set = json!({ "newPassword": PASSWORD });
        app.post("/api/auth/password/change").token(&session).json(&set).send().await.expect(204);
        identity::set_superadmin(app.store(), platform.admin, true).await.expect("a superadmin");
        let enter = |slug: &str| {
            let body = json!({ "organization": slug, "reason": "a look", "password": PASSWORD });
            app.post("/api/auth/elevate").token(&session).json(&body).send()
        };
        assert_eq!(enter("half-made").await.expect(404).code(), "tenants.not_found");
        app.clock().shift(60_000_000);
        app.settle().await;
        assert_eq!(house.get(&one).send().await.expect(200).json()["state"], json!("active"));
        assert_eq!(app.letters_to("ada@half-made.example.org").len(), 1);
        enter("half-made").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_saga_and_of_two_with_one_slug_one_is_made() {
    for house in houses().await {
        let ask = |key: &'static str, body: Value| house.ask(&body).header("idempotency-key", key).send();
        let first = ask("one", farm("twice")).await.expect(202);
        let again = ask("one", farm("twice")).await.expect(202);
        assert_eq!((again.json(), again.header("idempotency-replayed")), (first.json(), "true"));
        assert_eq!(ask("one", farm("other")).await.expect(422).code(), "request.idempotency_key_reused");
        // Nothing is made yet, so the slug is still free when they ask.
        let (left, right) = tokio::join!(ask("two", farm("race")), ask("three", farm("race")));
        let (left, right) = (left.expect(202), right.expect(202));
        let (same, twin) = tokio::join!(ask("four", farm("twins")), ask("four", farm("twins")));
        let tasks: Vec<_> = [same, twin].iter().filter(|answer| answer.status == 202).map(|one| one.json()).collect();
        assert!(!tasks.is_empty() && tasks.iter().all(|task| *task == tasks[0]), "{tasks:?}");
        house.app.settle().await;
        for slug in ["twice", "race", "twins"] {
            assert_eq!(house.tenants(slug).await.len(), 1, "{slug}");
            assert_eq!(house.app.letters_to(&format!("ada@{slug}.example.org")).len(), 1, "{slug}");
        }
        assert!(house.tenants("other").await.is_empty());
        let made = house.tenants("race").await[0]["id"].clone();
        for (key, begun) in [("two", left), ("three", right)] {
            let now = ask(key, farm("race")).await;
            if begun.json()["tenantId"] == made {
                assert_eq!(now.expect(201).json()["status"], json!("completed"));
            } else {
                assert_eq!(now.expect(409).code(), "tenants.slug_taken");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_makes_tenants_and_nonsense_starts_nothing() {
    for house in houses().await {
        let (app, platform) = (&house.app, &house.platform);
        let before = app.dump().await;
        let post = || app.post(PROVISION).header("x-audit-reason", WHY).json(&farm("wanted"));
        for token in [&platform.viewer_token, &platform.staff_token, &platform.admin_token] {
            post().token(token).send().await.expect(403);
        }
        post().send().await.expect(401);
        let silent = app.post(PROVISION).token(&house.superadmin).json(&farm("wanted")).send().await.expect(400);
        assert_eq!(silent.code(), "request.reason_required");
        let mut taken = farm("wanted");
        taken["slug"] = json!(platform.slug);
        assert_eq!(house.ask(&taken).send().await.expect(409).code(), "tenants.slug_taken");
        for (place, wrong, field) in [
            ("/slug", json!("Green Farm"), "slug"),
            ("/slug", json!("ab"), "slug"),
            ("/slug", json!("api"), "slug"),
            ("/slug", json!("a'; DROP TABLE tenant; --"), "slug"),
            ("/admin/email", json!("nobody"), "admin.email"),
            ("/admin/email", json!("a@b\r\nBcc: c@d"), "admin.email"),
            ("/quotas/users", json!(-1), "quotas.users"),
            ("/quotas", json!({ "Users": 1 }), "quotas"),
            ("/flags", json!({ "Not A Key": true }), "flags"),
            ("/name", json!(""), "name"),
            ("/plan", json!("Gold!"), "plan"),
            ("/timeZone", json!("Mars"), "timeZone"),
            ("/currency", json!("euro"), "currency"),
            ("/quotas/users", json!("many"), "quotas.users"),
            ("/flags/qc.webhook", json!("on"), "flags.qc.webhook"),
        ] {
            let mut body = farm("wanted");
            *body.pointer_mut(place).expect("a place") = wrong.clone();
            let refused = house.ask(&body).send().await.expect(400);
            assert_eq!(refused.code(), "request.invalid_body", "{place} {wrong}");
            assert_eq!(refused.json()["errors"][0]["field"], json!(field), "{place} {wrong}");
        }
        for wrong in [json!({}), json!([]), json!({ "slug": "wanted", "name": "x", "admin": {} })] {
            house.ask(&wrong).send().await.expect(400);
        }
        let mut more = farm("wanted");
        more["superadmin"] = json!(true);
        house.ask(&more).send().await.expect(400);
        let many: serde_json::Map<String, Value> = (0..501).map(|number| (format!("f{number}"), json!(true))).collect();
        more = farm("wanted");
        more["flags"] = many.into();
        house.ask(&more).send().await.expect(400);
        assert_eq!(app.dump().await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_fails_between_any_two_writes_leaves_one_whole_tenant() {
    for house in houses().await {
        // The effect is there and its result is not, at each step; and the two places beside it.
        let calls = (0..5).map(|step| ("saga.after_call", step));
        for (point, step) in calls.chain([("saga.after_intent", 2), ("saga.after_result", 2)]) {
            let slug = format!("{}-{step}", point.replace(['.', '_'], "-"));
            let armed = format!("{point}@tenants.provision");
            house.ask(&farm(&slug)).send().await.expect(202);
            fault::arm(&armed, step, FaultAction::Error);
            house.app.settle().await;
            assert!(!fault::is_armed(&armed), "{armed} was not passed {step} times");
            house.app.clock().shift(60_000_000);
            house.app.settle().await;
            let made = house.tenants(&slug).await;
            assert_eq!(made.iter().map(|one| text(&one["state"])).collect::<Vec<_>>(), ["active"], "{slug}");
            assert_eq!(house.app.letters_to(&format!("ada@{slug}.example.org")).len(), 1, "{slug}");
            let quotas = house.get(&format!("/api/v1/tenants/{}/quotas", text(&made[0]["id"]))).send().await;
            assert_eq!(quotas.expect(200).json()["quotas"], farm(&slug)["quotas"], "{slug}");
        }
        fault::disarm();
    }
}
