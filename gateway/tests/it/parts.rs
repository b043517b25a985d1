//! Parts of compositions walk through the routes that they name, as the same caller: limits, cache, transformations,
//! switches, networks, stand-ins and time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::json;

use crate::front::{Front, Origin, Setting};
use crate::member;
use crate::two_tenants::Switches;

const DECLARED: &str = r#"
[upstreams.origin]
servers = ["http://ORIGIN"]
[limits.few]
per = ["user"]
requests = 2
window_seconds = 3600
[addresses.elsewhere]
allow = ["198.51.100.0/24"]
[caches.kept]
default_ttl_ms = 600000
credentials = "class"
tags = ["thing-{id}"]
[requests.marked]
headers = { set = { "x-shop-tenant" = "{tenant}", "x-shop-id" = "{path.id}" } }
[responses.less]
json = { remove = ["headers.via"] }

[[routes]]
path = "/whole/{id}"
composition = "whole"
[compositions.whole.parts.marked]
path = "/marked/{path.id}"
[compositions.whole.parts.kept]
path = "/kept/{path.id}"
[compositions.whole.parts.open]
path = "/open"
[compositions.whole.parts.elsewhere]
path = "/elsewhere"
mode = "optional"
[compositions.whole.parts.switched]
path = "/switched"
mode = "optional"
[compositions.whole.parts.chosen]
path = "/chosen/{query.what}"
mode = "optional"

[[routes]]
path = "/few"
composition = "few"
[compositions.few.parts.one]
path = "/limited"

[[routes]]
path = "/shaky"
composition = "shaky"
[compositions.shaky.parts.degraded]
path = "/degraded"

[[routes]]
path = "/late"
composition = "late"
[compositions.late.parts.silent]
path = "/silent"
mode = "optional"

[[routes]]
path = "/marked/{id}"
upstream = "origin"
request = "marked"
response = "less"
[[routes]]
path = "/kept/{id}"
upstream = "origin"
cache = "kept"
[[routes]]
path = "/open"
upstream = "origin"
access = "public"
[[routes]]
path = "/elsewhere"
upstream = "origin"
addresses = "elsewhere"
[[routes]]
path = "/switched"
upstream = "origin"
feature = "shop.switched"
[[routes]]
path = "/limited"
upstream = "origin"
limits = ["few"]
[[routes]]
path = "/degraded"
upstream = "origin"
fallback = { body = "[]" }
[[routes]]
path = "/silent"
upstream = "silent"
timeout_ms = 50
[[routes]]
path = "/chosen/{what}"
upstream = "origin"
[[routes]]
path = "/chosen/whole"
composition = "whole"

[upstreams.silent]
servers = ["http://SILENT"]
"#;

/// Returns a front door with one who is signed in and one whose tenant has nothing switched on.
async fn front() -> Front {
    let (origin, off) = (Origin::default(), Arc::new(Switches::default()));
    let at = origin.start().await;
    // Takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent_at = silent.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    let declared = DECLARED.replace("ORIGIN", &at.to_string()).replace("SILENT", &silent_at.to_string());
    let mut front = Front::before(&declared, Setting { features: off.clone(), ..Setting::default() });
    front.origin = origin;
    front.tokens.add("one", &member("tok_1"));
    front.tokens.add("two", &member("tok_2"));
    off.off(front.tokens.tenant("two"));
    front
}

const ONE: (&str, &str) = ("authorization", "Bearer one");
const TWO: (&str, &str) = ("authorization", "Bearer two");

#[tokio::test]
async fn a_part_walks_through_its_route() {
    let front = front().await;
    let answer = front.get("/whole/7?what=x", &[ONE]).await;
    let told = answer.json();
    assert_eq!(answer.status, 200, "{told}");
    let tenant = json!(front.tokens.tenant("one").to_string());
    let marked = &told["marked"]["headers"];
    assert_eq!((&marked["x-shop-tenant"], &marked["x-shop-id"]), (&tenant, &json!("7")), "its request is changed");
    assert!(marked.get("via").is_none(), "and its answer: {marked}");
    assert_eq!(told["marked"]["headers"]["x-forwarded-host"], front.address.to_string());
    assert_eq!(told["kept"]["headers"]["x-tenant-id"], tenant);
    assert!(told["open"]["headers"].get("x-tenant-id").is_none(), "a public route answers all alike");
    assert_eq!(told["errors"]["elsewhere"]["status"], 403, "from other networks only");
    assert!(told["switched"].is_object() && told["chosen"].is_object());

    // What one kept is given to the other way of asking, and to the tenant alone.
    let asked = |path: &str| front.origin.asked().iter().filter(|asked| asked.ends_with(path)).count();
    assert!(front.get("/kept/7", &[ONE]).await.header("cache-status").contains("; hit"));
    front.get("/whole/7", &[ONE]).await;
    assert_eq!(asked("/kept/7"), 1);
    let other = front.get("/whole/7", &[TWO]).await.json();
    assert_eq!((asked("/kept/7"), &other["errors"]["switched"]["status"]), (2, &json!(503)), "{other}");
    front.lasting.forget_answers(front.tokens.tenant("one"), &["thing-7"]);
    front.get("/whole/7", &[ONE]).await;
    assert_eq!(asked("/kept/7"), 3, "tags take parts along");
    front.stop().await;
}

#[tokio::test]
async fn a_part_counts_as_a_request_of_its_caller() {
    let front = front().await;
    assert_eq!(front.get("/limited", &[ONE]).await.status, 200);
    assert_eq!(front.get("/few", &[ONE]).await.status, 200);
    let third = front.get("/few", &[ONE]).await;
    assert_eq!((third.status, &third.json()["code"]), (429, &json!("gateway.part_failed")));
    assert!(!third.header("retry-after").is_empty(), "and it says when");
    assert_eq!(front.get("/limited", &[ONE]).await.status, 429);
    assert_eq!(front.get("/few", &[TWO]).await.status, 200, "another user's");
    front.stop().await;
}

#[tokio::test]
async fn stand_ins_and_the_time_of_a_parts_route_count() {
    let front = front().await;
    front.origin.failing.store(1, Ordering::SeqCst);
    let shaky = front.get("/shaky", &[ONE]).await;
    assert_eq!((shaky.status, shaky.json()["degraded"].clone()), (200, json!([])));
    assert_eq!(shaky.header("portico-degraded"), "parts=\"degraded\"", "somebody stood in for it");
    let late = front.get("/late", &[ONE]).await.json();
    assert_eq!((&late["silent"], &late["errors"]["silent"]["status"]), (&json!(null), &json!(504)), "{late}");
    front.stop().await;
}

#[tokio::test]
async fn no_composition_is_a_part_of_one() {
    let front = front().await;
    // Before the file changes the door stands.
    assert_eq!(front.get("/open", &[]).await.status, 200);
    let error = front.reload("path = \"/limited\"\n\n", "path = \"/whole/x\"\n\n").await.expect_err("refused");
    let message = error.message();
    assert!(message.starts_with("gateway.toml:41:1: the part one of few: /whole/{id} is a composition"), "{message}");
    // Nor where a value of the request would make it one.
    let told = front.get("/whole/7?what=whole", &[ONE]).await.json();
    assert_eq!(told["errors"]["chosen"]["code"], "gateway.part_not_asked", "{told}");
    front.stop().await;
}

#[tokio::test]
async fn what_a_route_cannot_do_is_not_passed_over() {
    let front = front().await;
    assert_eq!(front.get("/open", &[]).await.status, 200);
    let text = front.declared.lock().expect("not poisoned").clone();
    for (from, to, why) in [
        ("path = \"/few\"", "path = \"/few\"\ncache = \"kept\"", "a composition is not kept"),
        ("path = \"/few\"", "path = \"/few\"\nmeter = \"tokens\"", "a meter counts what an upstream answers"),
        (
            "path = \"/open\"\nupstream",
            "path = \"/open\"\nwebsocket = true\nmeter = \"tokens\"\nupstream",
            "cannot count sockets",
        ),
    ] {
        *front.declared.lock().expect("not poisoned") = format!("{text}\n[meters.tokens]\n");
        let error = front.reload(from, to).await.expect_err(why);
        assert!(error.message().contains(why) && error.message().starts_with("gateway.toml:"), "{}", error.message());
    }
    front.stop().await;
}
