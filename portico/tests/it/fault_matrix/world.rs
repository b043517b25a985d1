//! An installation with people, a webhook endpoint and work that goes on, and what its clients were
//! told. Not for choosing where it dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::receiver::{self, Messages};
use crate::client::Client;
use crate::process::{Installation, Server, until};

const PASSWORD: &str = "seven otters juggle lamps";
/// How long a server may take to reach a place, and to pick up what it left.
const LIMIT: Duration = Duration::from_secs(60);
const CLIENTS: u64 = 3;

/// What clients were told.
#[derive(Debug, Default)]
struct Told {
    /// Requests whose change was acknowledged.
    changes: Vec<String>,
    /// Sagas by task, with the tenant that each makes.
    sagas: BTreeMap<String, String>,
}

/// An installation and what is known of it.
pub struct World {
    installation: Installation,
    server: Server,
    admin: Arc<str>,
    staff: Arc<str>,
    messages: Messages,
    told: Told,
    sagas_through: u64,
    sagas_taken_back: u64,
    events: u64,
}

impl World {
    /// Starts an installation with two people, of whom one runs the platform, and an endpoint.
    pub async fn build(installation: Installation) -> Self {
        let (receiver, messages) = receiver::start().await;
        let installation = installation
            .set("webhooks.allow_http", "true")
            .set("webhooks.allow_networks", "[\"127.0.0.0/8\"]")
            // A worker that died holds its task no longer than this.
            .set("tasks.lease_ms", "1500");
        let server = installation.start().await;
        let session = server.session().await;
        let user = session["user"]["id"].as_str().expect("an id").to_owned();
        let mut client = server.connect(Some(&text(&session["accessToken"]))).await;
        let named = client.request(Method::PATCH, "/api/auth/me");
        let named = client.send(named, Some(&json!({ "name": "Ada", "email": "ada@example.org" }))).await;
        named.expect("answered").expect(200);
        client.post("/api/auth/password/change", &json!({ "newPassword": PASSWORD })).await.expect(204);
        let made = client.post("/api/auth/tokens", &json!({ "name": "load" })).await.expect(201).json();
        let invited = json!({ "email": "bo@example.org", "role": "staff" });
        let invitation = client.post("/api/auth/invitations", &invited).await.expect(201).json();
        let accepted = json!({ "code": invitation["code"], "name": "Bo", "password": PASSWORD });
        let session = client.post("/api/auth/invitations/accept", &accepted).await;
        let mut bo = server.connect(Some(&text(&session.json()["accessToken"]))).await;
        let bos = bo.post("/api/auth/tokens", &json!({ "name": "reading" })).await.expect(201).json();
        let endpoint = json!({ "url": format!("http://{receiver}/hook"), "events": ["inventory.*"] });
        client.post("/api/webhooks/endpoints", &endpoint).await.expect(201);
        installation.run(&["admin", "superadmin", &user]).well();
        Self {
            installation,
            server,
            admin: text(&made["token"]),
            staff: text(&bos["token"]),
            messages,
            told: Told::default(),
            sagas_through: 0,
            sagas_taken_back: 0,
            events: 0,
        }
    }

    /// Starts the server again with a plan of how it fails, and works until it has.
    pub async fn load_until_it_dies(&mut self, seed: u64, plan: &str) {
        self.server.kill();
        let mut server = self.installation.start_to_fail(plan).await;
        let superadmin = elevated(&server).await;
        let number = Arc::new(AtomicU64::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let connection = Client::connect(server.address, Some(self.admin.clone())).await;
            let (number, name) = (number.clone(), format!("{seed}.{client}"));
            if let Ok(connection) = connection {
                clients.spawn(change_items(connection, name, number));
            }
        }
        let connection = match superadmin {
            Some(token) => Client::connect(server.address, Some(token)).await.ok(),
            None => None,
        };
        if let Some(connection) = connection {
            clients.spawn(make_tenants(connection, seed, number));
        }
        until(LIMIT, &format!("the server to end at {plan}"), async || server.try_wait()).await;
        for told in clients.join_all().await {
            self.told.changes.extend(told.changes);
            self.told.sagas.extend(told.sagas);
        }
        self.server = server;
    }

    /// Starts the server and waits until nothing is left to do.
    pub async fn recover(&mut self) {
        self.server = self.installation.start().await;
        let operator = std::fs::read_to_string(self.installation.data().join("operator.token")).expect("a token");
        let mut client = self.server.connect(Some(&operator.trim().into())).await;
        until(LIMIT, "events and tasks to be dealt with", async || {
            let state = client.get("/operator/events/subscriptions").await.expect(200).json();
            let behind = |one: &&Value| one["lag"] != 0 || !one["streams"].as_array().is_none_or(Vec::is_empty);
            let behind = list(&state).iter().filter(behind).count();
            let tasks = client.get("/operator/tasks?limit=1").await.expect(200).json();
            // Letters about notifications wait for others like them.
            let open = |count: &&Value| {
                count["job"] != "notifications.mail" && matches!(count["state"].as_str(), Some("queued" | "running"))
            };
            let open = tasks["counts"].as_array().expect("counts").iter().filter(open).count();
            (behind == 0 && open == 0).then_some(())
        })
        .await;
    }

    /// Compares what clients were told with what is there; says what is wrong.
    pub async fn judge(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut client = self.server.connect(Some(&self.admin)).await;
        let events = pages(&mut client, "/api/events?limit=200").await;
        let requests: BTreeSet<&str> = events.iter().filter_map(|event| event["requestId"].as_str()).collect();
        for request in self.told.changes.iter().filter(|request| !requests.contains(request.as_str())) {
            wrong.push(format!("{request} was acknowledged and has no event"));
        }
        let told: BTreeSet<&str> = events
            .iter()
            .filter(|event| event["type"].as_str().is_some_and(|kind| kind.starts_with("inventory.")))
            .filter_map(|event| event["id"].as_str())
            .collect();
        self.events = events.len() as u64;
        // One delivery in SQL for each event, and the receiver knows each by one id and one body.
        let mut deliveries = BTreeMap::new();
        for delivery in pages(&mut client, "/api/webhooks/deliveries?limit=200").await {
            let event = delivery["eventId"].as_str().expect("an event").to_owned();
            if delivery["state"] != "delivered" {
                wrong.push(format!("{event} was not delivered: {delivery}"));
            }
            *deliveries.entry(event).or_insert(0) += 1;
        }
        let came = self.messages.lock().expect("nobody panics while holding it").clone();
        for event in &told {
            let suffix = event.trim_start_matches("evt_");
            let count: u64 = deliveries.iter().filter(|(id, _)| id.ends_with(suffix)).map(|(_, count)| *count).sum();
            if count != 1 {
                wrong.push(format!("{event} has {count} deliveries"));
            }
            match came.iter().find(|(id, _)| id.ends_with(suffix)) {
                None => wrong.push(format!("{event} did not arrive")),
                Some((_, message)) if message.changed => wrong.push(format!("{event} came with two bodies")),
                Some(_) => {}
            }
        }
        if deliveries.len() != told.len() || came.len() != told.len() {
            wrong.push(format!("{} events, {} deliveries, {} arrived", told.len(), deliveries.len(), came.len()));
        }
        wrong.extend(self.judge_notifications(&events).await);
        wrong.extend(self.judge_sagas().await);
        wrong
    }

    /// Each crossing of a low stock level is told to the other person once.
    async fn judge_notifications(&self, events: &[Value]) -> Vec<String> {
        let mut client = self.server.connect(Some(&self.staff)).await;
        let mut told = BTreeMap::new();
        for notification in pages(&mut client, "/api/notifications?limit=100&type=LOW_STOCK").await {
            let about = notification["object"].as_str().expect("what it is about").to_owned();
            *told.entry(about).or_insert(0) += notification["count"].as_u64().unwrap_or(1);
        }
        let mut crossed = BTreeMap::new();
        for event in events.iter().filter(|event| event["type"] == "inventory.item.low_stock") {
            *crossed.entry(event["subject"].as_str().expect("a subject").to_owned()).or_insert(0) += 1;
        }
        if told == crossed { Vec::new() } else { vec![format!("notifications {told:?}, crossings {crossed:?}")] }
    }

    /// Each saga is through, and its tenant is there, or taken back, and nothing of it is.
    async fn judge_sagas(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        let superadmin = elevated(&self.server).await.expect("nobody kills this server");
        let mut client = self.server.connect(Some(&superadmin)).await;
        let tenants = pages(&mut client, "/api/v1/tenants?limit=200").await;
        let there: BTreeSet<&str> = tenants.iter().filter_map(|tenant| tenant["slug"].as_str()).collect();
        (self.sagas_through, self.sagas_taken_back) = (0, 0);
        let mut made = BTreeSet::from(["main"]);
        for (task, slug) in &self.told.sagas {
            let state = client.get(&format!("/api/tasks/{task}")).await.expect(200).json();
            match state["saga"]["state"].as_str() {
                Some("completed") => self.sagas_through += 1,
                Some("compensated") => self.sagas_taken_back += 1,
                _ => wrong.push(format!("{slug} is neither made nor taken back: {state}")),
            }
            if (state["saga"]["state"] == "completed") != there.contains(slug.as_str()) {
                wrong.push(format!("{slug}: {}, and the tenant is or is not there", state["saga"]["state"]));
            }
            made.insert(slug);
        }
        // A saga whose start was not acknowledged may be there too, but only as a whole.
        for tenant in tenants.iter().filter(|tenant| !made.contains(tenant["slug"].as_str().unwrap_or_default())) {
            if tenant["state"] != "active" {
                wrong.push(format!("half a tenant: {tenant}"));
            }
        }
        wrong
    }

    /// Says how much was done, in a line.
    pub fn tally(&self) -> String {
        let messages = self.messages.lock().expect("nobody panics while holding it");
        let again: u64 = messages.values().map(|message| message.times - 1).sum();
        format!(
            "{} acknowledged changes, {} events, {} messages delivered ({again} of them again under their id), {} sagas \
             through, {} taken back",
            self.told.changes.len(),
            self.events,
            messages.len(),
            self.sagas_through,
            self.sagas_taken_back
        )
    }

    /// Stops the server in order.
    pub async fn end(self, _within: Duration) {
        self.server.stop().await;
    }
}

fn text(value: &Value) -> Arc<str> {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}")).into()
}

fn list(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap_or_else(|| panic!("no items: {page}"))
}

/// Reads a list to its end.
async fn pages(client: &mut Client, path: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}{cursor}")).await.expect(200).json();
        all.extend(list(&page).iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// Signs in as the superadmin; nothing when the server dies meanwhile.
async fn elevated(server: &Server) -> Option<Arc<str>> {
    let mut client = Client::connect(server.address, None).await.ok()?;
    let request = client.request(Method::POST, "/api/auth/login");
    let body = json!({ "email": "ada@example.org", "password": PASSWORD });
    let session = client.send(request, Some(&body)).await.ok()?.expect(200).json();
    let mut client = Client::connect(server.address, Some(text(&session["accessToken"]))).await.ok()?;
    let request = client.request(Method::POST, "/api/auth/elevate");
    let body = json!({ "organization": "main", "reason": "a test makes tenants", "password": PASSWORD });
    let session = client.send(request, Some(&body)).await.ok()?.expect(200).json();
    Some(text(&session["accessToken"]))
}

/// Creates items and takes their stock down past their level, until the server is gone.
async fn change_items(mut client: Client, name: String, number: Arc<AtomicU64>) -> Told {
    let mut told = Told::default();
    loop {
        let sku = format!("{name}.{}", number.fetch_add(1, Ordering::Relaxed));
        let body = json!({ "sku": sku, "name": sku, "lowStockLevel": 5 });
        let Some(made) = change(&mut client, &mut told, "/api/inventory", &body, &format!("{sku}.c")).await else {
            return told;
        };
        let path = format!("/api/inventory/{}/adjust", made["data"]["id"].as_str().expect("an id"));
        for (step, delta) in [20, -16, -1].into_iter().enumerate() {
            let body = json!({ "delta": delta, "reason": if delta > 0 { "opening" } else { "sold" } });
            if change(&mut client, &mut told, &path, &body, &format!("{sku}.{step}")).await.is_none() {
                return told;
            }
        }
    }
}

/// Makes a change under a request id, and notes it when it is acknowledged.
async fn change(client: &mut Client, told: &mut Told, path: &str, body: &Value, id: &str) -> Option<Value> {
    let request = client.request(Method::POST, path).header("x-request-id", id);
    let answer = client.send(request, Some(body)).await.ok()?;
    if !answer.is_success() {
        // On its way down the server may answer that it is.
        return None;
    }
    told.changes.push(id.to_owned());
    Some(answer.json())
}

/// Says whether a saga has taken a step, or is over; nothing when the server is gone.
async fn has_begun(client: &mut Client, task: &str) -> Option<bool> {
    let request = client.request(Method::GET, &format!("/api/tasks/{task}"));
    let state = client.send(request, None).await.ok()?.json();
    let over = !matches!(state["state"].as_str(), Some("queued" | "running"));
    Some(over || state["saga"]["steps"].as_array().is_some_and(|steps| !steps.is_empty()))
}

/// Asks for tenants, and takes every second one back while it is made.
async fn make_tenants(mut client: Client, seed: u64, number: Arc<AtomicU64>) -> Told {
    let mut told = Told::default();
    loop {
        let slug = format!("fm-{seed}-{}", number.fetch_add(1, Ordering::Relaxed));
        let body = json!({
            "slug": slug, "name": "Green Farm", "admin": { "email": format!("ada@{slug}.example.org") },
            "quotas": { "users": 10 }, "flags": { "ai.inference": false },
        });
        let request = client.request(Method::POST, "/api/v1/tenants/provision").header("prefer", "respond-async");
        let request = request.header("x-audit-reason", "a test makes tenants");
        let Ok(answer) = client.send(request, Some(&body)).await else { return told };
        // On its way down the server may answer that it is.
        if answer.status == 503 {
            return told;
        }
        let answer = answer.expect(202);
        let task = answer.json()["taskId"].as_str().expect("a task").to_owned();
        told.sagas.insert(task.clone(), slug);
        if told.sagas.len().is_multiple_of(2) {
            // Somewhere between its first step and its last: one that still waits would just be dropped.
            // `until` cannot borrow the client across a spawned task, so this looks by hand.
            let begun = async {
                loop {
                    match has_begun(&mut client, &task).await {
                        Some(false) => tokio::time::sleep(Duration::from_millis(2)).await,
                        known => return known,
                    }
                }
            };
            if tokio::time::timeout(LIMIT, begun).await.expect("a saga begins").is_none() {
                return told;
            }
            let request = client.request(Method::POST, &format!("/api/tasks/{task}/cancel"));
            let request = request.header("x-audit-reason", "a test takes tenants back");
            if client.send(request, Some(&json!({}))).await.is_err() {
                return told;
            }
        }
    }
}
