//! What browsers come with where they can set no header: tickets and the cookie (decision 0010).

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::json;
use service::Service;
use testkit::{TestApp, TestTenant};

const STREAM: &str = "/api/events/stream";

async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        apps.push(TestApp::start(engine, vec![Service::new("probe", "Does nothing")], Default::default()).await);
    }
    apps
}

async fn ticket(app: &TestApp, token: &str, path: &str) -> String {
    let made = app.post("/api/auth/tickets").token(token).json(&json!({ "path": path })).send().await.expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    made.json()["ticket"].as_str().expect("a ticket").to_owned()
}

async fn with_ticket(app: &TestApp, ticket: &str, path: &str) -> StatusCode {
    app.get(&format!("{path}?types=*&ticket={ticket}")).open().await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_stream_once() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        let session = app.session(&tenant).await;
        for token in [&session, &tenant.viewer_token] {
            let one = ticket(&app, token, STREAM).await;
            assert_eq!(with_ticket(&app, &one, STREAM).await, 200);
            assert_eq!(with_ticket(&app, &one, STREAM).await, 401, "a second time");
        }
        let racing = ticket(&app, &session, STREAM).await;
        let tries = join_all((0..16).map(|_| with_ticket(&app, &racing, STREAM))).await;
        assert_eq!(tries.iter().filter(|status| **status == 200).count(), 1, "{tries:?}");
        assert!(tries.iter().all(|status| *status == 200 || *status == 401), "{tries:?}");

        let late = ticket(&app, &tenant.viewer_token, STREAM).await;
        app.clock().shift(29_999_999);
        let in_time = ticket(&app, &tenant.viewer_token, STREAM).await;
        app.clock().shift(1);
        assert_eq!(with_ticket(&app, &late, STREAM).await, 401, "after 30 seconds");
        app.clock().shift(29_999_998);
        assert_eq!(with_ticket(&app, &in_time, STREAM).await, 200, "just before");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_for_nothing_else() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        let elsewhere = ticket(&app, &tenant.viewer_token, "/api/events").await;
        assert_eq!(with_ticket(&app, &elsewhere, STREAM).await, 401, "another path");
        let stream = ticket(&app, &tenant.viewer_token, STREAM).await;
        for (method, path) in [
            (Method::GET, format!("/api/events?ticket={stream}")),
            (Method::GET, format!("/api/events?ticket={elsewhere}")),
            (Method::HEAD, format!("{STREAM}?ticket={stream}")),
            (Method::GET, format!("{STREAM}?ticket={stream}&ticket={stream}")),
            (Method::GET, format!("{STREAM}?ticket={stream}x")),
            (Method::GET, format!("{STREAM}?ticket=")),
            (Method::POST, format!("/api/auth/tickets?ticket={stream}")),
        ] {
            let status = app.request(method.clone(), &path).open().await.status;
            assert_eq!(status, 401, "{method} {path}");
        }
        app.get("/api/auth/me").token(&stream).send().await.expect(401);
        assert_eq!(with_ticket(&app, &stream, STREAM).await, 200, "none of these has spent it");
        for path in ["", "api", "/a?b", "/a#b", "/a b"] {
            let request = app.post("/api/auth/tickets").token(&tenant.viewer_token);
            request.json(&json!({ "path": path })).send().await.expect(400);
        }
        app.post("/api/auth/tickets").json(&json!({ "path": STREAM })).send().await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_ticket_opens_ends_with_the_credential_behind_it() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        let session = app.session(&tenant).await;
        let (unused, used) = (ticket(&app, &session, STREAM).await, ticket(&app, &session, STREAM).await);
        let mut stream = app.get(&format!("{STREAM}?types=probe.*&ticket={used}")).open().await.expect(200);
        stream.event().await.expect("a beginning");
        app.post("/api/auth/logout").token(&session).send().await.expect(204);
        assert_eq!(stream.event().await, None);
        assert_eq!(with_ticket(&app, &unused, STREAM).await, 401);

        // And it sees no more than the credential does.
        let viewer = ticket(&app, &tenant.viewer_token, STREAM).await;
        let other = app.tenant("other").await;
        let path = format!("{STREAM}?tenant={}&ticket={viewer}", other.id);
        app.get(&path).send().await.expect(403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_leave_nothing_in_the_database_that_opens_anything() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        ticket(&app, &tenant.viewer_token, STREAM).await;
        app.clock().shift(3_700_000_000);
        assert!(identity::remove_expired(app.store()).await.expect("removed") >= 1);
    }
}

/// Signs in and asks for the cookie; returns it as a browser would send it.
async fn cookie(app: &TestApp, tenant: &TestTenant) -> (String, String) {
    let session = app.session(tenant).await;
    let set = app.post("/api/auth/cookie").token(&session).send().await.expect(200);
    let line = set.header("set-cookie").to_owned();
    for attribute in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax", "; Max-Age="] {
        assert!(line.contains(attribute), "{line}");
    }
    assert!(!line.contains("Domain"), "{line}");
    let pair = line.split(';').next().expect("a pair").to_owned();
    assert!(pair.starts_with("__Host-portico="), "{pair}");
    (session, pair)
}

const OWN: (&str, &str) = ("origin", "https://portico.test");
const FOREIGN: (&str, &str) = ("origin", "https://evil.test");
const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");
const CROSS: (&str, &str) = ("sec-fetch-site", "cross-site");

#[tokio::test(flavor = "multi_thread")]
async fn with_the_cookie_only_pages_of_this_server_change_things_and_open_streams() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        let (_, cookie) = cookie(&app, &tenant).await;
        let ask = async |method: Method, path: &str, headers: &[(&str, &str)]| {
            let mut request = app.request(method, path).header("cookie", &format!("a=b; {cookie}"));
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request.open().await.status.as_u16()
        };
        assert_eq!(ask(Method::GET, "/api/auth/me", &[]).await, 200);
        for (headers, status) in
            [(&[][..], 403), (&[FOREIGN], 403), (&[("origin", "null")], 403), (&[CROSS], 403), (&[FOREIGN, SAME], 403)]
        {
            assert_eq!(ask(Method::GET, STREAM, headers).await, status, "{headers:?}");
            assert_eq!(ask(Method::DELETE, "/api/auth/sessions", headers).await, status, "{headers:?}");
        }
        assert_eq!(ask(Method::GET, STREAM, &[OWN]).await, 200);
        assert_eq!(ask(Method::GET, STREAM, &[SAME]).await, 200);
        assert_eq!(ask(Method::DELETE, "/api/auth/sessions", &[SAME]).await, 403);
        assert_eq!(ask(Method::DELETE, "/api/auth/sessions", &[OWN]).await, 204);
        // Where nobody has to be known it is not looked at.
        assert_eq!(ask(Method::POST, "/api/auth/login", &[FOREIGN]).await, 415);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_works_as_long_as_what_it_was_asked_with() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        let (session, first) = cookie(&app, &tenant).await;
        let me = async |cookie: &str| app.get("/api/auth/me").header("cookie", cookie).send().await.status.as_u16();
        assert_eq!(me(&first).await, 200);
        // Asked for with itself it does not last longer.
        app.clock().shift(60_000_000);
        let request = app.post("/api/auth/cookie").header("cookie", &first).header(OWN.0, OWN.1);
        let second = request.send().await.expect(200).header("set-cookie").to_owned();
        let pair = second.split(';').next().expect("a pair");
        assert_eq!(me(pair).await, 200);
        app.clock().shift(9 * 60_000_000);
        assert_eq!((me(&first).await, me(pair).await), (401, 401));

        let (other, third) = cookie(&app, &tenant).await;
        assert_eq!(me(&format!("{third}; {first}")).await, 401, "two of them");
        app.post("/api/auth/logout").token(&other).send().await.expect(204);
        assert_eq!(me(&third).await, 401);
        let _ = session;

        let (session, _) = cookie(&app, &tenant).await;
        let cleared = app.request(Method::DELETE, "/api/auth/cookie").token(&session).send().await.expect(204);
        assert!(cleared.header("set-cookie").starts_with("__Host-portico=; Max-Age=0;"));
        app.post("/api/auth/cookie").token(&tenant.viewer_token).send().await.expect(403);
    }
}
