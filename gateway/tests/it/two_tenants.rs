//! Two tenants with everything alike but their tenant: the same address, user ids, credentials and roles; their
//! random programs of requests, and what each sees. For `tenants_apart`, which compares.

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use gateway::{Drain, Metrics};
use kernel::{Actor, Clock, PermissionSet, TenantId, UserId};
use serde_json::Value;
use service::{Features, Following};
use store::Store;
use tokio::task::JoinHandle;
use web::{CredentialKind, Principal};

use crate::START;
use crate::flawed_origin::FlawedOrigin;
use crate::front::{Answer, Front, Setting};

/// Which switches are off, per tenant.
#[derive(Default)]
pub struct Switches(Mutex<HashSet<TenantId>>);

impl Switches {
    /// Switches everything off for a tenant.
    pub fn off(&self, tenant: TenantId) {
        self.0.lock().expect("not poisoned").insert(tenant);
    }
}

impl Features for Switches {
    fn is_on(&self, tenant: TenantId, _: &str) -> bool {
        !self.0.lock().expect("not poisoned").contains(&tenant)
    }

    fn open<'a>(
        &'a self,
        _: &'a Store,
        _: Option<Duration>,
    ) -> Pin<Box<dyn Future<Output = kernel::Result<Following>> + Send + 'a>> {
        Box::pin(async { Ok(Box::pin(async {}) as Following) })
    }
}

/// A tenant with two people.
#[derive(Clone)]
pub struct Tenant {
    id: TenantId,
    people: [(String, Principal); 2],
}

/// Makes two tenants whose people have the same ids, roles and credentials.
pub fn tenants() -> [Tenant; 2] {
    let users = [UserId::new(), UserId::new()];
    ["a", "b"].map(|name| {
        let id = TenantId::new();
        let person = |number: usize| Principal {
            tenant: id,
            actor: Actor::User(users[number]),
            role: ["staff", "viewer"][number].into(),
            permissions: PermissionSet::new(["shop.read"]),
            credential: format!("tok_{number}").into(),
            kind: CredentialKind::ApiToken,
            elevated: None,
        };
        Tenant { id, people: [0, 1].map(|number| (format!("{name}{number}"), person(number))) }
    })
}

/// Something that a tenant does.
#[derive(Clone, Debug)]
pub enum Act {
    Ask {
        method: &'static str,
        target: String,
    },
    /// Several at once.
    Crowd(String),
    /// An event of the tenant's makes answers old.
    Forget(String),
    /// The switch, off or on.
    Switch,
    /// A request that takes until it is let go.
    Hold(usize),
    Release,
}

/// What one of a tenant's people does.
#[derive(Clone, Debug)]
pub struct Step {
    pub person: usize,
    pub act: Act,
}

/// Numbers that look drawn (SplitMix64).
pub struct Drawn(pub u64);

impl Drawn {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// Draws a program; `fails` of ten requests to what may fail do.
pub fn program(drawn: &mut Drawn, steps: usize, fails: usize) -> Vec<Step> {
    (0..steps)
        .map(|number| {
            let get = |target: String| Act::Ask { method: "GET", target };
            let id = drawn.below(3);
            let bad = drawn.below(10) < fails;
            let what =
                if bad { drawn.of(&["fails", "busy", "flaky", "reset"]) } else { drawn.of(&["fine", "missing"]) };
            let act = match drawn.below(20) {
                0..=3 => get(format!("/kept/{id}?page={}", drawn.below(2))),
                4 => Act::Ask { method: "POST", target: format!("/kept/{id}?page=0") },
                5 => Act::Crowd(format!("/kept/{id}?page=2")),
                6 => Act::Forget(format!("thing-{id}")),
                7 => get(format!("/limited/{}", drawn.of(&["tenant", "user", "address", "credential", "header"]))),
                8..=10 => get(format!("/shaky/{what}")),
                11 => get(format!("/degraded/{what}")),
                12 => get(format!("/pair/{what}")),
                13 => get(format!("/both/{what}")),
                14 => get(format!("/marked/{id}")),
                15 => Act::Switch,
                16 => get("/switched/fine".to_owned()),
                17 => Act::Hold(number),
                18 => Act::Release,
                _ => get(drawn.of(&["/staff", "/nowhere", "/fixed", "/shaky/fine"]).to_owned()),
            };
            Step { person: drawn.below(2), act }
        })
        .collect()
}

/// A gateway before its origin, for one run.
pub struct Run {
    front: Arc<Front>,
    origin: FlawedOrigin,
    switches: Arc<Switches>,
}

/// A tenant's place in a run: what it has seen so far.
pub struct View<'r> {
    run: &'r Run,
    tenant: &'r Tenant,
    held: Vec<(String, JoinHandle<Answer>)>,
    pub seen: Vec<String>,
}

impl Run {
    pub async fn open(declared: &str, tenants: &[Tenant]) -> Self {
        let (origin, switches) = (FlawedOrigin::default(), Arc::new(Switches::default()));
        let (one, other) = (origin.start().await, origin.start().await);
        let declared = declared.replace("ORIGIN", &one.to_string()).replace("SECOND", &other.to_string());
        let setting = Setting { clock: Clock::manual(START), features: switches.clone(), ..Setting::default() };
        let front = Front::before(&declared, setting);
        for (token, principal) in tenants.iter().flat_map(|tenant| &tenant.people) {
            front.tokens.add(token, principal);
        }
        Self { front: Arc::new(front), origin, switches }
    }

    pub fn view<'r>(&'r self, tenant: &'r Tenant) -> View<'r> {
        View { run: self, tenant, held: Vec::new(), seen: Vec::new() }
    }

    /// Returns how often a tenant's requests for this path have reached the origin.
    pub fn asked(&self, tenant: &Tenant, path: &str) -> usize {
        self.origin.asked(&tenant.id.to_string(), path)
    }

    /// Ends the run, and returns what was counted.
    pub async fn counted(self) -> BTreeMap<String, f64> {
        let counted = counted(&self.front.metrics);
        let front = Arc::try_unwrap(self.front).ok().expect("every request is over");
        front.server.drain(Drain { notice: Duration::ZERO, limit: Duration::from_millis(20) }).await;
        counted
    }
}

impl View<'_> {
    /// Does one step.
    pub async fn step(&mut self, step: &Step) {
        let seen = self.act(step).await;
        self.seen.push(format!("{step:?}: {seen}"));
    }

    async fn act(&mut self, step: &Step) -> String {
        let token = &self.tenant.people[step.person].0;
        match &step.act {
            Act::Ask { method, target } => shown(&ask(&self.run.front, token, method, target).await, true),
            Act::Crowd(target) => {
                let crowd = (0..3).map(|_| ask(&self.run.front, token, "GET", target));
                // Who of them asked the origin is chance.
                let answers = futures_util::future::join_all(crowd).await;
                answers.iter().map(|answer| shown(answer, false)).collect::<Vec<_>>().join(" and ")
            }
            Act::Forget(tag) => {
                self.run.front.lasting.forget_answers(self.tenant.id, &[tag]);
                String::new()
            }
            Act::Switch => {
                let mut off = self.run.switches.0.lock().expect("not poisoned");
                let was_on = off.insert(self.tenant.id);
                if !was_on {
                    off.remove(&self.tenant.id);
                }
                format!("off: {was_on}")
            }
            Act::Hold(number) => self.hold(token.clone(), *number).await,
            Act::Release if self.held.is_empty() => String::new(),
            Act::Release => {
                let (path, answer) = self.held.remove(0);
                self.run.origin.release(&path);
                shown(&answer.await.expect("a request"), true)
            }
        }
    }

    async fn hold(&mut self, token: String, number: usize) -> String {
        // The tenant's letter keeps the paths apart, and is not compared with anybody's.
        let path = format!("/held/{}{number}", &token[..1]);
        let (front, target) = (self.run.front.clone(), path.clone());
        let answer = tokio::spawn(async move { ask(&front, &token, "GET", &target).await });
        while !answer.is_finished() {
            if self.run.origin.holds(&path) {
                self.held.push((path, answer));
                return "held".to_owned();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        shown(&answer.await.expect("a request"), true)
    }

    /// Lets go what is held, and returns all that was seen.
    pub async fn end(mut self) -> Vec<String> {
        while !self.held.is_empty() {
            self.step(&Step { person: 0, act: Act::Release }).await;
        }
        self.seen
    }
}

async fn ask(front: &Front, token: &str, method: &str, target: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    // What both send alike must not bring them together either.
    let mut headers = vec![("authorization", authorization.as_str()), ("x-shop-device", "the same")];
    let body = match method {
        "POST" if target.starts_with("/v1/") => {
            headers.push(("content-type", "application/json"));
            Body::from(r#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"hello"}]}"#)
        }
        "POST" => Body::from("{}"),
        _ => Body::empty(),
    };
    front.send(method, target, &headers, body).await
}

/// Writes an answer without what differs from one time to the next. `whole`: with its headers.
fn shown(answer: &Answer, whole: bool) -> String {
    let names = ["date", "x-request-id", "x-correlation-id"];
    let told = answer.headers.iter().filter(|(name, _)| whole && !names.contains(&name.as_str()));
    let told = told.map(|(name, value)| match name.as_str() {
        "retry-after" => format!("{name}: soon"),
        // How long until the limit is whole again goes down by the clock on the wall.
        "ratelimit" => format!("{name}: {}", value.split(";t=").next().unwrap_or_default()),
        _ => format!("{name}: {value}"),
    });
    let told = told.collect::<Vec<_>>().join(", ");
    let mut body = answer.json();
    nameless(&mut body);
    format!("{} {{{told}}} {body}", answer.status)
}

fn nameless(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            ["requestId", "correlationId", "request_id", "instance"].iter().for_each(|name| drop(fields.remove(*name)));
            fields.values_mut().for_each(nameless);
        }
        Value::Array(items) => items.iter_mut().for_each(nameless),
        // The same seconds as in the headers: they go down by the clock on the wall.
        Value::String(text) => {
            if let Some(at) = text.find("try again in ") {
                text.truncate(at);
            }
        }
        _ => {}
    }
}

/// Reads the counters of routes, upstreams and the cache that do not depend on who came first.
fn counted(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.text().expect("the metrics");
    let families = [
        "portico_http_requests_total",
        "portico_http_request_duration_seconds_count",
        "portico_upstream_attempts_total",
        "portico_upstream_retries_total",
        "portico_upstream_retries_denied_total",
        "portico_upstream_breakers_open",
        "portico_cache_stored_total",
        "portico_cache_invalidated_total",
    ];
    let lines = text.lines().filter(|line| families.iter().any(|family| line.starts_with(family)));
    let read = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse::<f64>().ok()?))
    };
    lines.filter_map(read).filter(|(_, value)| *value != 0.0).collect()
}
