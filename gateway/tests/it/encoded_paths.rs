//! Escapes that one route takes in its path and no other does: what reaches the origin, what never does, and what is
//! kept apart. Which spellings lead out of a route is tested beside the code.

use crate::front::Front;

const DECLARED: &str = r#"
[upstreams.origin]
servers = ["http://ORIGIN"]
[caches.kept]
default_ttl_ms = 600000
shared = true

[[routes]]
path = "/npm/{*rest}"
upstream = "origin"
upstream_path = "/{rest}"
access = "public"
encoded = ["%2F"]
cache = "kept"
[[routes]]
path = "/artifacts/{run}/{name}"
upstream = "origin"
access = "public"
encoded = ["%25", "%5c", "%2f"]
[[routes]]
path = "/percent/{name}"
upstream = "origin"
access = "public"
encoded = ["%25"]
[[routes]]
path = "/strict/{*rest}"
upstream = "origin"
access = "public"
"#;

#[tokio::test]
async fn an_escape_that_a_route_takes_reaches_the_origin_as_it_came() {
    let front = Front::open(DECLARED).await;
    for (target, told) in [
        ("/npm/@scope%2fname", "/@scope%2fname"),
        ("/npm/@scope%2Fname/-/name-1.0.0.tgz?a=%2e%2e%2f", "/@scope%2Fname/-/name-1.0.0.tgz?a=%2e%2e%2f"),
        ("/artifacts/1/a%2Fb%5Cc%25d%20e", "/artifacts/1/a%2Fb%5Cc%25d%20e"),
        ("/artifacts/1/feature%252Fone", "/artifacts/1/feature%252Fone"),
        ("/percent/100%25", "/percent/100%25"),
    ] {
        let answer = front.get(target, &[]).await;
        assert_eq!((answer.status, answer.json()["target"].as_str()), (200, Some(told)), "{target}");
    }
    // It begins no segment: of two templates the one with as many as were written is meant.
    assert_eq!(front.get("/artifacts%2F1/a", &[]).await.status, 400);
    assert_eq!(front.get("/artifacts/1%2Fa", &[]).await.status, 400, "no route has one segment there");
    front.stop().await;
}

#[tokio::test]
async fn what_another_route_takes_and_what_leads_out_of_a_route_never_passes() {
    let front = Front::open(DECLARED).await;
    for target in [
        "/strict/a%2fb",
        "/strict/a%25b",
        "/strict/a%5Cb",
        "/nowhere/a%2Fb",
        "/npm/a%5cb",
        "/npm/a%25b",
        "/npm/a%252Fb",
        "/percent/a%2Fb",
        "/percent/a%252Fb",
        "/npm/%2e%2e/strict/a",
        "/npm/%2E%2E%2Fa",
        "/npm/..%2Fstrict%2Fa",
        "/npm/a%2F..%2f..%2Fetc",
        "/npm/a%2F.",
        "/artifacts/1/..%5C..%5Ca",
        "/artifacts/1/%252e%252e%252fa",
        "/artifacts/1/a%2525252F..",
        "/artifacts/1/%25%32%65%25%32%65%2Fa",
        "/artifacts/1/a%00",
        "/artifacts/1/a%2500",
        "/artifacts/1/a%0d%0a",
    ] {
        let answer = front.get(target, &[]).await;
        assert_eq!(answer.status, 400, "{target}");
        assert_eq!(answer.json()["code"], "request.invalid_path", "{target}");
    }
    assert!(front.origin.asked().is_empty(), "{:?}", front.origin.asked());
    front.stop().await;
}

#[tokio::test]
async fn the_encoded_and_the_plain_form_are_kept_apart() {
    let front = Front::open(DECLARED).await;
    let outcome = async |target: &str| {
        let answer = front.get(target, &[]).await;
        assert_eq!(answer.status, 200, "{target}");
        (
            answer.json()["target"].as_str().expect("a target").to_owned(),
            answer.header("cache-status").contains("; hit"),
        )
    };
    assert_eq!(outcome("/npm/a%2Fb").await, ("/a%2Fb".to_owned(), false));
    assert_eq!(outcome("/npm/a/b").await, ("/a/b".to_owned(), false), "another resource");
    assert_eq!(outcome("/npm/a%2Fb").await, ("/a%2Fb".to_owned(), true));
    assert_eq!(outcome("/npm/a/b").await, ("/a/b".to_owned(), true));
    front.stop().await;
}

#[tokio::test]
async fn a_file_lists_only_what_may_be_taken() {
    let front = Front::open(DECLARED).await;
    for wrong in ["%2e", "%00", "/", "%252F"] {
        let error = front.reload("[\"%2F\"]", &format!("[\"{wrong}\"]")).await.expect_err(wrong);
        let place = error.message().starts_with("gateway.toml:8:1: ") || error.message().starts_with("gateway.toml:");
        assert!(place && error.message().contains("nothing else"), "{}", error.message());
        let text = front.declared.lock().expect("not poisoned").replace(&format!("[\"{wrong}\"]"), "[\"%2F\"]");
        *front.declared.lock().expect("not poisoned") = text;
    }
    front.stop().await;
}
