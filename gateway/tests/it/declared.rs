//! Declared routes over real sockets: what reaches the origin, who is let in, what each rule does, and what a
//! reload changes.

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::front::Front;
use crate::member;

const DECLARED: &str = r#"
[upstreams.origin]
servers = ["http://ORIGIN"]
retry = { max_attempts = 1 }
[upstreams.away]
servers = ["http://127.0.0.1:1"]

[limits.few]
per = ["address"]
requests = 2
window_seconds = 3600
[cors.web]
origins = ["https://app.example"]
methods = ["GET", "DELETE"]
[addresses.elsewhere]
allow = ["198.51.100.0/24"]
[caches.kept]
default_ttl_ms = 600000
credentials = "class"
tags = ["things", "thing-{id}"]
[requests.marked]
headers = { set = { "x-shop-tenant" = "{tenant}", "x-shop-id" = "{path.id}" } }
[responses.clean]
headers = { remove = ["server"] }

[[routes]]
path = "/open/{*rest}"
upstream = "origin"
upstream_path = "/{rest}"
access = "public"
response = "clean"
[[routes]]
path = "/mine/{id}"
upstream = "origin"
upstream_path = "/things/{id}/of-mine"
request = "marked"
[[routes]]
path = "/token"
upstream = "origin"
forward_authorization = true
forward_cookies = true
[[routes]]
path = "/permitted"
upstream = "origin"
access = { permissions = ["inventory.items.read"] }
[[routes]]
path = "/forbidden"
upstream = "origin"
access = { permissions = ["shop.never"] }
[[routes]]
path = "/staff"
upstream = "origin"
access = { roles = ["staff", "admin"] }
[[routes]]
path = "/admin"
upstream = "origin"
access = { roles = ["admin"] }
[[routes]]
path = "/limited"
upstream = "origin"
access = "public"
limits = ["few"]
[[routes]]
path = "/web"
methods = ["GET"]
upstream = "origin"
cors = "web"
[[routes]]
path = "/elsewhere"
upstream = "origin"
access = "public"
addresses = "elsewhere"
[[routes]]
path = "/kept/{id}"
upstream = "origin"
cache = "kept"
[[routes]]
path = "/small"
upstream = "origin"
access = "public"
body_limit_bytes = 8
head = { header_value_bytes = 64 }
[[routes]]
path = "/away"
upstream = "away"
access = "public"
[[routes]]
path = "/degraded"
upstream = "origin"
access = "public"
fallback = { body = "[]" }
[[routes]]
path = "/fixed"
access = "public"
respond = { content_type = "text/plain", body = "fixed" }
[[routes]]
path = "/host"
hosts = ["api.example"]
access = "public"
respond = { body = "1" }
[[routes]]
path = "/both/{id}"
composition = "both"
[compositions.both.parts.mine]
path = "/mine/{path.id}"
[compositions.both.parts.admin]
path = "/admin"
mode = "optional"
"#;

async fn front() -> Front {
    let front = Front::open(DECLARED).await;
    front.tokens.add("one", &member("tok_1"));
    front.tokens.add("two", &member("tok_2"));
    front
}

const ONE: (&str, &str) = ("authorization", "Bearer one");
const TWO: (&str, &str) = ("authorization", "Bearer two");

#[tokio::test]
async fn an_upstream_gets_the_request_and_is_told_the_caller_by_the_door_alone() {
    let front = front().await;
    let forged = [
        ONE,
        ("x-tenant-id", "forged"),
        ("x-user-id", "forged"),
        ("x-user-role", "forged"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "gopher"),
        ("forwarded", "for=192.0.2.1"),
        ("x-portico-context", "forged"),
        ("cookie", "mine=1"),
        ("connection", "x-shop-tenant"),
    ];
    // Nor can a client have what the door sets taken away again as hop-by-hop.
    let nominated = [ONE, ("connection", "close, x-tenant-id")];
    assert_eq!(front.get("/mine/7", &nominated).await.status, 400);
    let answer = front.send("POST", "/mine/7?a=b%20c", &forged, "the body").await;
    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!((&told["method"], &told["body"]), (&json!("POST"), &json!("the body")));
    assert_eq!(told["target"], "/things/7/of-mine?a=b%20c");
    let headers = &told["headers"];
    let tenant = headers["x-tenant-id"].as_str().expect("a tenant");
    assert!(tenant.starts_with("ten_") && headers["x-user-id"].as_str().is_some_and(|user| user.starts_with("usr_")));
    assert_eq!((&headers["x-shop-tenant"], &headers["x-shop-id"]), (&json!(tenant), &json!("7")));
    assert_eq!((&headers["x-user-role"], &headers["x-forwarded-for"]), (&json!("staff"), &json!("127.0.0.1")));
    assert_eq!((&headers["x-forwarded-proto"], &headers["via"]), (&json!("http"), &json!("1.1 portico")));
    assert_eq!(headers["x-request-id"], answer.header("x-request-id"));
    for absent in ["authorization", "cookie", "forwarded", "x-portico-context", "connection"] {
        assert!(headers.get(absent).is_none(), "{absent} reached the origin: {headers}");
    }
    assert!(!answer.headers.contains_key("set-cookie"), "cookies stay where they are unless the route hands them on");
    let token = front.get("/token", &[ONE, ("cookie", "mine=1; __Host-portico=ours; theirs=2")]).await;
    let headers = &token.json()["headers"];
    assert_eq!((&headers["authorization"], &headers["cookie"]), (&json!("Bearer one"), &json!("mine=1; theirs=2")));
    assert_eq!(token.header("set-cookie"), "of=origin");
    front.stop().await;
}

#[tokio::test]
async fn a_route_lets_in_whom_it_is_for() {
    let front = front().await;
    for (target, headers, status) in [
        ("/open/a", vec![], 200),
        ("/open/", vec![], 200),
        ("/mine/7", vec![], 401),
        ("/mine/7", vec![("authorization", "Bearer other")], 401),
        ("/permitted", vec![ONE], 200),
        ("/forbidden", vec![ONE], 403),
        ("/staff", vec![ONE], 200),
        ("/admin", vec![ONE], 403),
        ("/elsewhere", vec![], 403),
        ("/nowhere", vec![ONE], 404),
        ("/host", vec![], 404),
        ("/host", vec![("host", "API.example:8080")], 200),
        ("/fixed", vec![], 200),
    ] {
        let answer = front.get(target, &headers).await;
        assert_eq!(answer.status, status, "{target} {headers:?}");
        if status >= 400 {
            assert!(answer.header("content-type").starts_with("application/problem+json"), "{target}");
            assert_eq!(answer.json()["status"], status);
        }
    }
    assert!(front.origin.asked().iter().all(|asked| ["GET /", "/a", "/permitted", "/staff"].iter().any(|path| asked.ends_with(path))));
    front.stop().await;
}

#[tokio::test]
async fn limits_sizes_and_pages_of_other_origins_are_met_before_the_origin() {
    let front = front().await;
    let statuses = [front.get("/limited", &[]).await, front.get("/limited", &[]).await, front.get("/limited", &[]).await];
    assert_eq!(statuses.each_ref().map(|answer| answer.status), [200, 200, 429]);
    assert_eq!(statuses[1].header("ratelimit-policy"), "\"few\";q=2;w=3600");
    assert_eq!(statuses[2].json()["code"], "gateway.rate_limited");
    assert!(!statuses[2].header("retry-after").is_empty());
    assert_eq!(front.send("POST", "/small", &[], "12345678").await.status, 200);
    assert_eq!(front.send("POST", "/small", &[], "123456789").await.status, 413);
    assert_eq!(front.send("POST", "/small", &[("x-long", &"x".repeat(65))], "1").await.status, 431);

    let page = ("origin", "https://app.example");
    let asks = [page, ("access-control-request-method", "GET")];
    let preflight = front.send("OPTIONS", "/web", &asks, "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, "https://app.example"));
    assert_eq!(preflight.header("access-control-allow-methods"), "GET, DELETE");
    let refused = front.send("OPTIONS", "/web", &[("origin", "https://evil.example"), asks[1]], "").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, ""));
    // A page is to read why it was refused, too.
    let anonymous = front.get("/web", &[page]).await;
    assert_eq!((anonymous.status, anonymous.header("access-control-allow-origin")), (401, "https://app.example"));
    assert_eq!(front.origin.asked().len(), 3, "{:?}", front.origin.asked());
    front.stop().await;
}

#[tokio::test]
async fn kept_answers_are_their_tenants_own_and_go_with_their_tags() {
    let front = front().await;
    let target = |answer: &crate::front::Answer| answer.json()["headers"]["x-tenant-id"].clone();
    let one = front.get("/kept/1", &[ONE]).await;
    let again = front.get("/kept/1", &[ONE]).await;
    let other = front.get("/kept/1", &[TWO]).await;
    assert_eq!((one.status, &one.body), (200, &again.body));
    assert!(again.header("cache-status").contains("hit"), "{}", again.header("cache-status"));
    assert!(!other.header("cache-status").contains("hit"));
    assert_ne!(target(&one), target(&other), "an answer for one tenant is no answer for another");
    assert_eq!(front.origin.asked().len(), 2);
    let tenant = front.tokens.tenant("one");
    front.lasting.forget_answers(tenant, &["thing-2"]);
    front.get("/kept/1", &[ONE]).await;
    assert_eq!(front.origin.asked().len(), 2, "another thing's tag");
    front.lasting.forget_answers(tenant, &["thing-1"]);
    front.get("/kept/1", &[ONE]).await;
    front.get("/kept/1", &[TWO]).await;
    assert_eq!(front.origin.asked().len(), 3, "the other tenant's answer stays");
    front.stop().await;
}

#[tokio::test]
async fn a_reload_gives_nothing_that_another_way_kept_and_keeps_the_rest() {
    let front = front().await;
    let outcome = async |path: &str| {
        let answer = front.get(path, &[ONE]).await;
        (answer.json()["target"].as_str().unwrap_or_default().to_owned(), answer.header("cache-status").contains("; hit"))
    };
    assert_eq!(outcome("/kept/1").await, ("/kept/1".to_owned(), false));
    front.reload("body = \"fixed\"", "body = \"changed\"").await.expect("a reload");
    assert_eq!(outcome("/kept/1").await, ("/kept/1".to_owned(), true), "what this route answers has not changed");
    let kept = "path = \"/kept/{id}\"";
    front.reload(kept, &format!("{kept}\nupstream_path = \"/moved/{{id}}\"")).await.expect("a reload");
    assert_eq!(outcome("/kept/1").await, ("/moved/1".to_owned(), false));
    front.reload("default_ttl_ms = 600000", "default_ttl_ms = 600001").await.expect("a reload");
    assert_eq!(outcome("/kept/1").await, ("/moved/1".to_owned(), false), "other rules");
    front.reload("retry = { max_attempts = 1 }", "retry = { max_attempts = 2 }").await.expect("a reload");
    assert_eq!(outcome("/kept/1").await, ("/moved/1".to_owned(), false), "another upstream, as far as anybody can say");
    assert_eq!(outcome("/kept/1").await, ("/moved/1".to_owned(), true));
    front.stop().await;
}

#[tokio::test]
async fn an_origin_that_cannot_answer_is_told_apart_and_stood_in_for() {
    let front = front().await;
    let away = front.get("/away", &[]).await;
    assert_eq!((away.status, &away.json()["code"]), (502, &json!("gateway.upstream_unreachable")));
    front.origin.failing.store(1, Ordering::SeqCst);
    let failing = front.get("/open/a", &[]).await;
    assert_eq!((failing.status, failing.body.as_slice()), (500, &b"the origin fails"[..]), "an answer is passed on as it is");
    let degraded = front.get("/degraded", &[]).await;
    assert_eq!((degraded.status, degraded.body.as_slice()), (200, &b"[]"[..]));
    assert_eq!(degraded.header("portico-degraded"), "fallback; reason=\"status-500\"");
    front.stop().await;
}

#[tokio::test]
async fn a_composition_asks_with_the_callers_own_rights() {
    let front = front().await;
    assert_eq!(front.get("/both/7", &[]).await.status, 401);
    let answer = front.get("/both/7", &[ONE]).await;
    let told = answer.json();
    assert_eq!(answer.status, 200, "{told}");
    assert_eq!(told["mine"]["target"], "/things/7/of-mine");
    assert_eq!((&told["admin"], &told["errors"]["admin"]["status"]), (&json!(null), &json!(403)));
    front.stop().await;
}

#[tokio::test]
async fn a_reload_changes_routes_and_what_is_wrong_changes_nothing() {
    let front = front().await;
    assert_eq!(front.get("/fixed", &[]).await.body, b"fixed");
    front.reload("body = \"fixed\"", "body = \"changed\"").await.expect("a reload");
    assert_eq!(front.get("/fixed", &[]).await.body, b"changed");
    let error = front.reload("upstream = \"away\"", "upstream = \"gone\"").await.expect_err("a mistake");
    assert!(error.message().contains("no upstream \"gone\""), "{}", error.message());
    assert_eq!(front.get("/fixed", &[]).await.body, b"changed");
    assert_eq!(front.get("/away", &[]).await.status, 502);
    front.stop().await;
}
