//! Endpoints as their owners manage them.

use super::*;

const URL: &str = "https://hooks.example.com/portico";

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_kept_sealed() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let body = json!({ "url": URL, "events": ["things.*"], "rate": 5, "description": "stock" });
        let request = || app.post(ENDPOINTS).token(&tenant.admin_token).header("idempotency-key", "k1").json(&body);
        let made = request().send().await.expect(201);
        let secret = made.json()["secret"].as_str().expect("a secret").to_owned();
        assert!(secret.starts_with("whsec_"), "{secret}");
        assert_eq!(made.header("cache-control"), "no-store");
        let again = request().send().await.expect(201);
        assert_eq!(again.header("location"), made.header("location"));
        let path = made.header("location").to_owned();
        let shown = read(&app, &tenant, &path).await;
        assert_eq!((&shown["url"], &shown["events"]), (&json!(URL), &json!(["things.*"])));
        assert_eq!((&shown["enabled"], &shown["rate"]), (&json!(true), &json!(5)));
        let bare = secret.trim_start_matches("whsec_");
        let listed = read(&app, &tenant, ENDPOINTS).await.to_string();
        let rows = app.digest(&tenant).await.join("\n");
        let events = json!(told(&app, &tenant).await).to_string();
        for text in [again.text(), shown.to_string(), listed, rows, events] {
            assert!(!text.contains(bare) && !text.contains("whsec_"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_lives_like_any_resource() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (path, _) = endpoint(&app, &tenant, json!({ "url": URL })).await;
        let change = json!({ "url": "https://other.example.com/", "events": ["things.thing.made"], "rate": 0 });
        let changed = ask(&app, &tenant, Method::PATCH, &path, change).await.expect(200).json();
        assert_eq!((&changed["version"], &changed["rate"]), (&json!(2), &Value::Null));
        let stale = app.request(Method::PATCH, &path).token(&tenant.admin_token).header("if-match", "\"v1\"");
        stale.json(&json!({ "enabled": false })).send().await.expect(412);
        ask(&app, &tenant, Method::DELETE, &path, Value::Null).await.expect(204);
        ask(&app, &tenant, Method::GET, &path, Value::Null).await.expect(404);
        ask(&app, &tenant, Method::POST, &format!("{path}/rotate-secret"), Value::Null).await.expect(404);
        ask(&app, &tenant, Method::POST, &format!("{path}/test"), Value::Null).await.expect(404);
        ask(&app, &tenant, Method::POST, &format!("{path}/restore"), Value::Null).await.expect(200);
        ask(&app, &tenant, Method::POST, &format!("{path}/test"), Value::Null).await.expect(202);
        let kinds: Vec<Value> = told(&app, &tenant).await.iter().map(|event| event["type"].clone()).collect();
        let happened = ["created", "updated", "deleted", "restored", "tested"];
        assert_eq!(kinds, happened.map(|verb| json!(format!("webhooks.endpoint.{verb}"))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_input_changes_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (path, _) = endpoint(&app, &tenant, json!({ "url": URL })).await;
        let before = app.digest(&tenant).await;
        let long = format!("https://example.com/{}", "a".repeat(3_000));
        for url in [
            "", "nonsense", "ftp://example.com/", "https://user:word@example.com/", "https://10.0.0.1/", &long,
            "https://example.com/#here", "javascript:alert(1)", "https://exa\u{0}mple.com/",
        ] {
            for (method, path) in [(Method::POST, ENDPOINTS), (Method::PATCH, path.as_str())] {
                let refused = ask(&app, &tenant, method, path, json!({ "url": url })).await.expect(400);
                assert_eq!(refused.code(), "webhooks.url_refused", "{url}");
                assert_eq!(refused.json()["errors"][0]["field"], "url");
            }
        }
        for body in [
            json!({}), json!([]), json!({ "url": 7 }), json!({ "url": URL, "events": ["*.*"] }),
            json!({ "url": URL, "events": vec!["a.b"; 51] }), json!({ "url": URL, "rate": 1_001 }),
            json!({ "url": URL, "rate": -1 }), json!({ "url": URL, "secret": "whsec_mine" }),
            json!({ "url": URL, "description": "a".repeat(501) }), json!({ "url": URL, "enabled": "yes" }),
        ] {
            ask(&app, &tenant, Method::POST, ENDPOINTS, body).await.expect(400);
        }
        let since = json!({ "since": "2020-01-01T00:00:00Z" });
        ask(&app, &tenant, Method::POST, &format!("{path}/replay-missing"), since).await.expect(400);
        for query in ["state=lost", "endpointId=usr_1", "limit=0", "cursor=%25", "more=1"] {
            ask(&app, &tenant, Method::GET, &format!("{DELIVERIES}?{query}"), Value::Null).await.expect(400);
        }
        assert_eq!(app.digest(&tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_so_many_endpoints_and_no_more() {
    for engine in testkit::engines() {
        let settings = Settings { endpoints_per_tenant: 2, ..at_home() };
        let app = app_on(engine, settings, Arc::new(Internet)).await;
        let (farm, mill) = (app.tenant("farm").await, app.tenant("mill").await);
        endpoint(&app, &farm, json!({ "url": URL })).await;
        let (second, _) = endpoint(&app, &farm, json!({ "url": URL })).await;
        let third = ask(&app, &farm, Method::POST, ENDPOINTS, json!({ "url": URL })).await.expect(409);
        assert_eq!(third.code(), "webhooks.too_many_endpoints");
        endpoint(&app, &mill, json!({ "url": URL })).await;
        ask(&app, &farm, Method::DELETE, &second, Value::Null).await.expect(204);
        endpoint(&app, &farm, json!({ "url": URL })).await;
    }
}
