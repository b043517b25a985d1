//! The spans of a request are the same tree wherever its service runs, but for the way there: the gateway's call
//! and the other process's own beginning. Not for what each span says; see `traces`.

use std::collections::BTreeMap;

use http::Method;
use portico::config::{Config, Upstream};
use serde_json::json;
use tempfile::TempDir;
use testkit::Database;

use crate::split::call;
use crate::traces::{CLIENT, PARENT, SERVER, Seen, World, start};

/// Says what a span says, but for the size of an answer: the gateway puts a shape around it, which tells how long
/// it took.
fn said(span: &Seen) -> BTreeMap<String, String> {
    let mut said = span.attributes.clone();
    said.remove("http.response.body.size");
    said
}

/// Writes the spans below one, each with what it says, without the way to another process.
fn tree(spans: &[Seen], parent: &str, depth: usize, into: &mut Vec<String>) {
    let mut below: Vec<&Seen> = spans.iter().filter(|span| span.parent == parent).collect();
    below.sort_by_key(|span| span.start);
    for span in below {
        if span.kind == CLIENT && span.attributes.get("portico.upstream").is_some_and(|name| name == "inventory") {
            let there: Vec<&Seen> = spans.iter().filter(|other| other.parent == span.id).collect();
            let [there] = there[..] else { panic!("one process answers a call: {there:#?}") };
            assert_eq!((there.kind, there.process.as_str()), (SERVER, "part"));
            for name in ["http.request.method", "http.response.status_code"] {
                assert_eq!(span.attributes.get(name), there.attributes.get(name), "{name}");
            }
            let door = spans.iter().find(|span| span.id == parent).expect("the gateway's span");
            // The other process says the same of the request as the gateway.
            assert_eq!((&there.name, said(there)), (&door.name, said(door)));
            tree(spans, &there.id, depth, into);
            continue;
        }
        assert_eq!(span.trace, PARENT[3..35]);
        into.push(format!("{}{} {} {:?}", "  ".repeat(depth), span.kind, span.name, said(span)));
        tree(spans, &span.id, depth + 1, into);
    }
}

/// Asks one installation, and returns the trees of its spans.
async fn asked(database: &Database, split: bool) -> Vec<String> {
    let world = World::default();
    let at = world.open().await;
    let folders: Vec<TempDir> = (0..2).map(|_| TempDir::new().expect("a folder")).collect();
    let traced = |config: &mut Config| config.telemetry.endpoint = format!("http://{at}");
    let part = match split {
        true => Some(start(database, &folders[0], "part", &["inventory"], traced).await),
        false => None,
    };
    let others = portico::services::described().into_iter().map(|service| service.name);
    let mut roles: Vec<&str> = others.filter(|name| !split || *name != "inventory").collect();
    roles.push("gateway");
    let front = start(database, &folders[1], "front", &roles, |config| {
        traced(config);
        if let Some(part) = &part {
            let upstream = Upstream { url: format!("http://{}", part.address()), plain: false };
            config.upstreams.insert("inventory".to_owned(), upstream);
        }
    })
    .await;
    let first = part.as_ref().and_then(|part| part.first_start.as_ref()).or(front.first_start.as_ref());
    let code = first.expect("somebody started first").sign_in.code.clone();
    let base = format!("http://{}", front.address());
    let (_, signed_in) = call(&base, Method::POST, "/api/auth/login", &[], Some(json!({ "code": code }))).await;
    let bearer = format!("Bearer {}", signed_in["accessToken"].as_str().expect("a token"));
    let headers = [("authorization", bearer.as_str()), ("traceparent", PARENT), ("x-request-id", "one")];
    for (method, path, body, status) in [
        (Method::GET, "/api/inventory?limit=1", None, 200),
        (Method::POST, "/api/inventory", Some(json!({ "sku": "S-1", "name": "Feed" })), 201),
        (Method::POST, "/api/inventory", Some(json!({ "sku": 1 })), 400),
        (Method::GET, "/api/inventory/itm_00000000000000000000000000", None, 404),
        (Method::DELETE, "/api/inventory/export/logs", None, 405),
        (Method::GET, "/api/auth/me", None, 200),
    ] {
        let (answered, said) = call(&base, method.clone(), path, &headers, body).await;
        assert_eq!(answered, status, "{method} {path}: {said}");
    }
    front.stop().await;
    if let Some(part) = part {
        part.stop().await;
    }
    let mut found = Vec::new();
    tree(&world.spans(), &PARENT[36..52], 0, &mut found);
    // Each installation has a tenant of its own, and bodies may have lengths of their own.
    let tenant = signed_in["organization"]["id"].as_str().expect("an id");
    found.iter().map(|line| line.replace(tenant, "the tenant")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_the_same_tree_wherever_the_service_runs() {
    if testkit::postgres_url().is_none() {
        return;
    }
    let one = asked(&Database::new(store::Engine::Postgres).await, false).await;
    let split = asked(&Database::new(store::Engine::Postgres).await, true).await;
    assert!(one.len() >= 10, "{one:#?}");
    assert_eq!(one, split);
}
