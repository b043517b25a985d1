//! Tries every operation twice, with the services in this process and with the services elsewhere, and says
//! where the answers differ: bytes, status, headers, what is counted. Not for what an operation does.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderName, Method, StatusCode};
use identity::Member;
use serde_json::Value;

use crate::app::TestApp;
use crate::people::TestTenant;
use crate::request::TestResponse;
use crate::sweep::{Attempt, Prepare, Sweep};

/// A body that is too large for every operation.
const TOO_LARGE: usize = 3 << 20;

/// The owner and another tenant; an operation.
type Whose<'w> = ((&'w TestTenant, &'w TestTenant), (&'w Method, &'w str, &'w Value));
/// In which manner was asked, whether that acts, and the answers from here and from elsewhere.
type Both = ((&'static str, bool, TestResponse), TestResponse);

/// How far the clock is moved between two tries.
const PAUSE_MICROS: i64 = 240_000_000;

/// A way to ask for an operation.
struct Manner {
    name: &'static str,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    /// Whether it does something, so that it cannot be done twice.
    acts: bool,
}

impl Manner {
    fn refused(name: &'static str, token: Option<&str>) -> Self {
        Self { name, token: token.map(str::to_owned), headers: Vec::new(), body: None, acts: false }
    }

    fn with(mut self, header: &'static str, value: &str) -> Self {
        self.headers.push((header, value.to_owned()));
        self
    }

    fn sending(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self.with("content-type", "application/json")
    }
}

impl Sweep {
    /// Tries everything both ways; panics with all that differs. Operations in `apart` are left out.
    pub async fn run_both_ways(&self, app: &TestApp, apart: &[&str]) {
        let (owner, other) = (app.tenant("owner").await, app.tenant("other").await);
        let (mut wrong, mut tried, mut statuses) = (Vec::new(), 0, BTreeSet::new());
        let paths = app.document()["paths"].as_object().expect("a document");
        for (method, written) in paths.values().flat_map(|methods| methods.as_object().expect("methods").iter()) {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let id = written["operationId"].as_str().expect("an operation id");
            let Some(prepare) = self.fixtures.get(id).filter(|_| !apart.contains(&id)) else { continue };
            // Elsewhere, whoever was revoked within two seconds opens no stream, so here it is somebody new.
            let streams = written["responses"]["200"]["content"]["text/event-stream"].is_object();
            let fresh = match streams {
                true => Some((app.tenant("owner of streams").await, app.tenant("other of streams").await)),
                false => None,
            };
            let (owner, other) = fresh.as_ref().map_or((&owner, &other), |(owner, other)| (owner, other));
            for number in 0.. {
                // Anew each time: what is done may end sessions, and so does time.
                let whose = ((owner, other), (&method, id, written));
                let Some((here, there)) = self.both(app, whose, prepare, number).await else { break };
                let (manner, acts, here, there) = (here.0, here.1, here.2, there);
                tried += 1;
                statuses.insert(here.status.as_u16());
                let exact = !acts || method == Method::GET;
                for difference in differences(&here, &there, exact) {
                    wrong.push(format!("{id} {manner}: {difference}"));
                }
            }
        }
        let (here, there) = (labels(&app.metrics(false)), labels(&app.metrics(true)));
        wrong.extend(here.symmetric_difference(&there).map(|line| format!("only one of both counts {line}")));
        assert!(tried > 500, "{tried} tries are too few");
        for status in [200, 201, 204, 400, 401, 403, 404, 413, 415] {
            assert!(statuses.contains(&status), "nothing answered {status}: {statuses:?}");
        }
        assert!(wrong.is_empty(), "{} differences in {tried} tries:\n  {}", wrong.len(), wrong.join("\n  "));
    }

    /// Asks both ways in the manner of this number; what acts gets something of its own each time.
    async fn both(&self, app: &TestApp, whose: Whose<'_>, prepare: &Prepare, number: usize) -> Option<Both> {
        let ((owner, _), (method, ..)) = whose;
        // What is prepared may sign in, which nobody may do all the time; and it may end sessions.
        app.clock().shift(PAUSE_MICROS);
        let attempt = prepare(app, owner).await;
        let manner = self.manners(app, whose).await.into_iter().nth(number)?;
        let here = (manner.name, manner.acts, ask(app, method, &attempt, &manner, false).await);
        if !manner.acts || method == Method::GET {
            return Some((here, ask(app, method, &attempt, &manner, true).await));
        }
        app.clock().shift(PAUSE_MICROS);
        let attempt = prepare(app, owner).await;
        let manner = self.manners(app, whose).await.into_iter().nth(number)?;
        Some((here, ask(app, method, &attempt, &manner, true).await))
    }

    async fn manners(&self, app: &TestApp, ((owner, other), (method, id, written)): Whose<'_>) -> Vec<Manner> {
        let token = self.owner_token(app, owner, id, written).await;
        let own = Some(token.as_str());
        let others = match self.own_token.contains(id) {
            true => app.issue(Member { tenant: other.id, user: other.admin }).await,
            false => other.admin_token.clone(),
        };
        let public = written["security"].as_array().is_none_or(Vec::is_empty);
        let mut manners = vec![
            Manner { acts: true, ..Manner::refused("as its owner", own) },
            Manner { acts: public, ..Manner::refused("as nobody", None) },
            Manner { acts: public, ..Manner::refused("with a wrong token", Some("ptc_wrong")) },
            Manner::refused("with a broken header", None).with("authorization", "Basic"),
            Manner { acts: true, ..Manner::refused("as the other tenant", Some(&others)) },
            Manner { acts: true, ..Manner::refused("with a problem asked for", own) }
                .with("accept", "application/problem+json"),
            Manner { acts: true, ..Manner::refused("with an old version", own) }.with("if-match", "\"old\""),
        ];
        if let Some(permission) = written["x-permission"].as_str() {
            manners.push(Manner::refused("without permission", Some(&app.token_without(owner, permission))));
        }
        if written["requestBody"].is_object() {
            manners.push(Manner::refused("with half a body", own).sending(b"{\"a\":"));
            manners.push(Manner::refused("with another body", own).sending(b"[1,2]"));
            manners
                .push(Manner::refused("with no media type", own).with("content-type", "text/nothing").sending_as(b"x"));
            manners
                .push(Manner { acts: true, ..Manner::refused("with too much", own) }.sending(&vec![b' '; TOO_LARGE]));
        }
        if method == Method::GET {
            manners.push(Manner::refused("with a wrong query", own).with("range", "bytes=0-3"));
        }
        manners
    }
}

impl Manner {
    fn sending_as(mut self, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self
    }
}

async fn ask(app: &TestApp, method: &Method, attempt: &Attempt, manner: &Manner, away: bool) -> TestResponse {
    let mut request = app.request(method.clone(), &attempt.path).away(away);
    request = request.header("x-request-id", "one-request").header("x-correlation-id", "one-chain");
    if let Some(token) = &manner.token {
        request = request.token(token).header("x-audit-reason", "the sweep");
    }
    let given = |name: &str| manner.headers.iter().any(|(known, _)| *known == name);
    for (name, value) in attempt.headers.iter().filter(|(name, _)| !given(name)).chain(&manner.headers) {
        request = request.header(name, value);
    }
    request = match (&manner.body, &attempt.body) {
        (Some(body), _) => request.bytes(body.clone()),
        (None, Some(body)) => request.json(body),
        (None, None) => request,
    };
    request.send().await
}

/// Says in what two answers differ: to the byte, or in their form alone where each is about its own things.
fn differences(here: &TestResponse, there: &TestResponse, exact: bool) -> Vec<String> {
    let mut found = Vec::new();
    if here.status != there.status {
        found.push(format!("{} here, {} there: {} and {}", here.status, there.status, here.text(), there.text()));
        return found;
    }
    // A server writes the date, and no length of a 204; the door in memory has none around it.
    let bare = here.status == StatusCode::NO_CONTENT;
    let counts = |name: &&HeaderName| **name != DATE && !(bare && **name == CONTENT_LENGTH);
    let names = |answer: &TestResponse| -> BTreeSet<String> {
        answer.headers.keys().filter(counts).map(ToString::to_string).collect()
    };
    for name in names(here).symmetric_difference(&names(there)) {
        found.push(format!(
            "{} with {name} only {}",
            here.status,
            if here.header(name).is_empty() { "there" } else { "here" }
        ));
    }
    // What is about each one's own things.
    let free: &[&str] = if exact { &[] } else { &["content-length", "location", "etag", "set-cookie"] };
    for name in names(here).intersection(&names(there)).filter(|name| !free.contains(&name.as_str())) {
        let (one, other) = (here.header(name), there.header(name));
        if one != other {
            found.push(format!("{} with {name}: {one:?} here, {other:?} there", here.status));
        }
    }
    let (one, other) = (form(here, exact), form(there, exact));
    if one != other {
        found.push(format!("{} with the body {one} here, {other} there", here.status));
    }
    found
}

/// Returns a body without how long it took; its form alone unless it must be the same to the byte.
fn form(answer: &TestResponse, exact: bool) -> String {
    let text = answer.text();
    let Ok(mut json) = serde_json::from_str::<Value>(&text) else {
        // When a stream's client is to come back is drawn.
        let drawn = |line: &&str| !line.starts_with("retry: ");
        return if exact { text.lines().filter(drawn).collect::<Vec<_>>().join("\n") } else { "a text".to_owned() };
    };
    if exact {
        let Some(took) = json.pointer("/meta/durationMs").map(ToString::to_string) else { return text };
        return text.replace(&format!("\"durationMs\":{took}"), "");
    }
    let mut form = String::new();
    outline(&mut json, &mut form);
    form
}

fn outline(value: &mut Value, into: &mut String) {
    match value {
        Value::Object(fields) => {
            into.push('{');
            for (name, value) in fields.iter_mut() {
                // The names of a map are what it holds.
                let name = if name.len() > 24 { "#" } else { name };
                let _ = write!(into, "{name}:");
                outline(value, into);
            }
            into.push('}');
        }
        // There may be more of them by the second time.
        Value::Array(items) => items.first_mut().map_or((), |first| outline(first, into)),
        Value::String(_) => into.push('s'),
        Value::Number(_) => into.push('0'),
        Value::Bool(_) => into.push('b'),
        Value::Null => into.push('n'),
    }
}

/// Returns the series of the routes that were asked for, without their numbers.
fn labels(metrics: &str) -> BTreeSet<String> {
    let routes = metrics.lines().filter(|line| line.starts_with("portico_http_requests_total"));
    let asked = routes.filter_map(|line| line.rsplit_once(' ')).filter(|(_, value)| *value != "0");
    asked.map(|(series, _)| series.to_owned()).collect()
}
