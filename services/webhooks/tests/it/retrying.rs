//! What happens when an endpoint does not take a message.

use super::*;
use axum::body::Body;
use axum::response::Response;
use receiver::answer;

/// Moves the clock past a wait with its jitter.
async fn after(app: &TestApp, wait: Duration) {
    pass(app, wait.mul_f64(1.21));
    app.settle().await;
}

async fn only(app: &TestApp, tenant: &TestTenant) -> Value {
    let listed = deliveries(app, tenant).await;
    let [delivery] = &listed[..] else { panic!("{listed:?}") };
    read(app, tenant, &format!("{DELIVERIES}/{}", delivery["id"].as_str().expect("an id"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_attempts_are_made_at_their_times_with_the_same_bytes() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let (_, secret) = endpoint(&app, &tenant, json!({ "url": receiver.url("/") })).await;
        receiver.answers(|_| answer(500));
        happen(&app, &tenant, "things.thing.made", "thing").await;
        app.settle().await;
        assert_eq!(receiver.count(), 1);
        for (done, wait) in [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000].into_iter().enumerate() {
            let wait = Duration::from_secs(wait);
            pass(&app, wait.mul_f64(0.79));
            app.settle().await;
            assert_eq!(receiver.count(), done + 1, "too early: {wait:?}");
            pass(&app, wait.mul_f64(0.42));
            app.settle().await;
            assert_eq!(receiver.count(), done + 2, "after {wait:?}");
        }
        after(&app, DAY).await;
        let got = receiver.got();
        assert_eq!(got.len(), 8);
        assert!(got.iter().all(|message| message.is_signed_by(&secret) && message.body == got[0].body));
        assert!(got.iter().all(|message| message.header("webhook-id") == got[0].header("webhook-id")));
        let mut times: Vec<&str> = got.iter().map(|message| message.header("webhook-timestamp")).collect();
        times.dedup();
        assert_eq!(times.len(), 8);
        let delivery = only(&app, &tenant).await;
        assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("failed"), &json!(8)));
        assert_eq!(delivery["tried"].as_array().map(Vec::len), Some(8));
        assert_eq!(delivery["tried"][0]["error"], "status: answered 500");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_may_ask_for_time() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        endpoint(&app, &tenant, json!({ "url": receiver.url("/") })).await;
        receiver.answers(|_| {
            Response::builder().status(429).header("retry-after", "3600").body(Body::empty()).expect("a response")
        });
        happen(&app, &tenant, "things.thing.made", "thing").await;
        app.settle().await;
        happen(&app, &tenant, "things.thing.made", "another").await;
        after(&app, HOUR / 2).await;
        assert_eq!(receiver.count(), 1, "the endpoint as a whole is left alone");
        receiver.answers(|_| answer(204));
        after(&app, HOUR).await;
        // One shows that it works again, and the other follows.
        after(&app, SECOND).await;
        assert_eq!(receiver.count(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_switched_off() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let (gone, _) = endpoint(&app, &tenant, json!({ "url": receiver.url("/gone") })).await;
        endpoint(&app, &tenant, json!({ "url": receiver.url("/watch"), "events": ["webhooks.*"] })).await;
        receiver.answers(|got| answer(if got.path == "/gone" { 410 } else { 200 }));
        happen(&app, &tenant, "things.thing.made", "thing").await;
        app.settle().await;
        let shown = read(&app, &tenant, &gone).await;
        assert_eq!((&shown["enabled"], &shown["disabledReason"]), (&json!(false), &json!("gone")));
        happen(&app, &tenant, "things.thing.made", "another").await;
        after(&app, DAY).await;
        let paths: Vec<String> = receiver.got().into_iter().map(|message| message.path).collect();
        assert_eq!(paths, ["/gone", "/watch"], "only the other endpoint hears of it");
        let message = receiver.got().remove(1).json();
        assert_eq!((&message["type"], &message["data"]["reason"]), (&json!("webhooks.endpoint.disabled"), &json!("gone")));
        let switched_off = ask(&app, &tenant, Method::POST, &format!("{gone}/test"), Value::Null).await.expect(409);
        assert_eq!(switched_off.code(), "webhooks.endpoint_disabled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_a_failure_and_not_followed() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        endpoint(&app, &tenant, json!({ "url": receiver.url("/here") })).await;
        let there = receiver.url("/there");
        receiver.answers(move |_| {
            Response::builder().status(307).header("location", &there).body(Body::empty()).expect("a response")
        });
        happen(&app, &tenant, "things.thing.made", "thing").await;
        app.settle().await;
        assert!(receiver.got().iter().all(|message| message.path == "/here"));
        let delivery = only(&app, &tenant).await;
        assert_eq!((&delivery["state"], &delivery["status"]), (&json!("pending"), &json!(307)));
        assert!(delivery["error"].as_str().is_some_and(|error| error.starts_with("redirect: ")), "{delivery}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_and_bytes_are_bounded() {
    for engine in testkit::engines() {
        let app = app_on(engine, Settings { timeout_ms: 250, ..at_home() }, Arc::new(Internet)).await;
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", silent.local_addr().expect("an address"));
        endpoint(&app, &tenant, json!({ "url": url, "events": ["things.thing.lost"] })).await;
        endpoint(&app, &tenant, json!({ "url": receiver.url("/"), "events": ["things.thing.made"] })).await;
        let endless = || Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("\u{0}é".repeat(9_000))));
        receiver.answers(move |_| Response::new(endless()));
        happen(&app, &tenant, "things.thing.lost", "nobody answers").await;
        happen(&app, &tenant, "things.thing.made", "the answer has no end").await;
        app.settle().await;
        let listed = deliveries(&app, &tenant).await;
        let of = |kind: &str| listed.iter().find(|delivery| delivery["type"] == kind).expect("a delivery").clone();
        let (lost, made) = (of("things.thing.lost"), of("things.thing.made"));
        assert_eq!(lost["error"], "timeout: there was no answer in time");
        assert_eq!(made["state"], "delivered", "the status was said");
        let path = format!("{DELIVERIES}/{}", made["id"].as_str().expect("an id"));
        let kept = read(&app, &tenant, &path).await["tried"][0]["response"].as_str().expect("a response").to_owned();
        assert!((500..=1_024).contains(&kept.len()) && !kept.contains('\u{0}'), "{} bytes", kept.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_five_days_of_failure_an_endpoint_is_switched_off() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let (path, _) = endpoint(&app, &tenant, json!({ "url": receiver.url("/") })).await;
        receiver.answers(|_| answer(503));
        for day in 0..5 {
            happen(&app, &tenant, "things.thing.made", &format!("day {day}")).await;
            app.settle().await;
            assert_eq!(read(&app, &tenant, &path).await["enabled"], true, "day {day}");
            after(&app, DAY.mul_f64(0.99 / 1.21)).await;
        }
        after(&app, DAY / 4).await;
        happen(&app, &tenant, "things.thing.made", "the last").await;
        app.settle().await;
        after(&app, HOUR).await;
        let shown = read(&app, &tenant, &path).await;
        assert_eq!((&shown["enabled"], &shown["disabledReason"]), (&json!(false), &json!("failing")));
        let told = told(&app, &tenant).await;
        let disabled: Vec<_> = told.iter().filter(|event| event["type"] == "webhooks.endpoint.disabled").collect();
        assert_eq!(disabled.len(), 1);
        assert_eq!(disabled[0]["data"]["lastError"], "status: answered 503");
        after(&app, DAY * 2).await;
        assert!(deliveries(&app, &tenant).await.iter().all(|delivery| delivery["state"] == "failed"));
        // Somebody repairs it: it gets a new chance, and one more failure does not end that.
        ask(&app, &tenant, Method::PATCH, &path, json!({ "enabled": true })).await.expect(200);
        happen(&app, &tenant, "things.thing.made", "a new chance").await;
        app.settle().await;
        let shown = read(&app, &tenant, &path).await;
        assert_eq!((&shown["enabled"], &shown["disabledAt"]), (&json!(true), &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_in_between_starts_the_count_anew() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let (path, _) = endpoint(&app, &tenant, json!({ "url": receiver.url("/") })).await;
        for status in [500, 200, 500, 500] {
            receiver.answers(move |_| answer(status));
            happen(&app, &tenant, "things.thing.made", "thing").await;
            app.settle().await;
            after(&app, DAY * 2).await;
        }
        assert_eq!(read(&app, &tenant, &path).await["enabled"], true);
    }
}
