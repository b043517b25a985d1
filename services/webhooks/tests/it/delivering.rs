//! What arrives, where, and how it is signed.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_once_signed_and_as_a_cloud_event() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let (_, secret) = endpoint(&app, &tenant, json!({ "url": receiver.url("/in?key=a%20b") })).await;
        happen(&app, &tenant, "things.thing.made", "thing-1").await;
        app.settle().await;
        app.settle().await;
        let got = receiver.got();
        let [message] = &got[..] else { panic!("{} messages", got.len()) };
        assert_eq!((message.path.as_str(), message.header("content-type")), ("/in?key=a%20b", "application/json"));
        assert_eq!(message.header("host"), receiver.address.to_string());
        assert!(message.is_signed_by(&secret));
        assert_eq!(message.header("webhook-timestamp"), app.clock().now().seconds().to_string());
        let event = message.json();
        assert_eq!(event["id"], message.header("webhook-id"));
        assert_eq!((&event["type"], &event["subject"]), (&json!("things.thing.made"), &json!("thing-1")));
        assert_eq!((&event["specversion"], &event["data"]), (&json!("1.0"), &json!({ "subject": "thing-1" })));
        assert!(event["sequence"].is_string(), "order is not promised, so the place is told: {event}");
        let listed = deliveries(&app, &tenant).await;
        assert_eq!((listed.len(), &listed[0]["state"], &listed[0]["status"]), (1, &json!("delivered"), &json!(200)));
        let path = format!("{DELIVERIES}/{}", listed[0]["id"].as_str().expect("an id"));
        let delivery = read(&app, &tenant, &path).await;
        assert_eq!(delivery["body"].as_str().map(str::as_bytes), Some(&message.body[..]));
        assert_eq!((&delivery["tried"][0]["number"], &delivery["tried"][0]["status"]), (&json!(1), &json!(200)));
        assert_eq!(delivery["tried"][0]["response"], "this is 200");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_gets_what_it_chose_and_what_may_leave() {
    for app in apps().await {
        let (farm, mill, receiver) = (app.tenant("farm").await, app.tenant("mill").await, Receiver::start().await);
        let to = |path: &str, events: Value| json!({ "url": receiver.url(path), "events": events });
        happen(&app, &farm, "things.thing.made", "before there was an endpoint").await;
        pass(&app, HOUR);
        endpoint(&app, &farm, to("/farm-all", json!([]))).await;
        endpoint(&app, &farm, to("/farm-lost", json!(["things.thing.l*", "identity.*"]))).await;
        endpoint(&app, &mill, to("/mill-all", json!(["*"]))).await;
        let (off, _) = endpoint(&app, &farm, to("/off", json!([]))).await;
        ask(&app, &farm, Method::PATCH, &off, json!({ "enabled": false })).await.expect(200);
        let (gone, _) = endpoint(&app, &farm, to("/gone", json!([]))).await;
        ask(&app, &farm, Method::DELETE, &gone, Value::Null).await.expect(204);
        for kind in THINGS.iter().chain(&["things.thing.undeclared"]) {
            happen(&app, &farm, kind, "of the farm").await;
        }
        app.settle().await;
        let mut got: Vec<(String, Value)> =
            receiver.got().iter().map(|message| (message.path.clone(), message.json()["type"].clone())).collect();
        got.sort_by_key(|(path, kind)| (path.clone(), kind.to_string()));
        let expected = [
            ("/farm-all", "things.thing.lost"),
            ("/farm-all", "things.thing.made"),
            ("/farm-lost", "things.thing.lost"),
        ];
        assert_eq!(got, expected.map(|(path, kind)| (path.to_owned(), json!(kind))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_deliveries_is_read_in_pages_and_by_its_tenant_only() {
    for app in apps().await {
        let (farm, mill, receiver) = (app.tenant("farm").await, app.tenant("mill").await, Receiver::start().await);
        let (good, _) = endpoint(&app, &farm, json!({ "url": receiver.url("/good") })).await;
        let (bad, _) = endpoint(&app, &farm, json!({ "url": receiver.url("/bad") })).await;
        receiver.answers(|got| receiver::answer(if got.path == "/bad" { 500 } else { 200 }));
        for number in 0..3 {
            happen(&app, &farm, "things.thing.made", &format!("thing-{number}")).await;
        }
        app.settle().await;
        let id = |path: &str| path.rsplit('/').next().expect("an id").to_owned();
        let items = |page: Value| page["items"].as_array().expect("items").clone();
        let of = |state: &str, endpoint: &str| format!("{DELIVERIES}?state={state}&endpointId={}", id(endpoint));
        assert_eq!(items(read(&app, &farm, &of("delivered", &good)).await).len(), 3);
        assert_eq!(items(read(&app, &farm, &of("pending", &bad)).await).len(), 3);
        assert!(items(read(&app, &farm, &of("failed", &bad)).await).is_empty());
        let first = read(&app, &farm, &format!("{DELIVERIES}?limit=4")).await;
        let next = first["next"].as_str().expect("there is more").to_owned();
        let rest = read(&app, &farm, &format!("{DELIVERIES}?limit=4&cursor={next}")).await;
        assert!(rest["next"].is_null());
        let all: Vec<Value> = items(first).into_iter().chain(items(rest)).collect();
        assert_eq!(all, deliveries(&app, &farm).await);
        assert_eq!(all.len(), 6);
        assert!(deliveries(&app, &mill).await.is_empty());
        let one = format!("{DELIVERIES}/{}", all[0]["id"].as_str().expect("an id"));
        for (method, path) in [
            (Method::GET, one.clone()),
            (Method::POST, format!("{one}/replay")),
            (Method::GET, good.clone()),
            (Method::POST, format!("{good}/test")),
            (Method::POST, format!("{good}/rotate-secret")),
        ] {
            ask(&app, &mill, method, &path, Value::Null).await.expect(404);
        }
        app.get(DELIVERIES).token(&farm.staff_token).send().await.expect(403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn for_a_day_both_secrets_sign() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let (path, first) = endpoint(&app, &tenant, json!({ "url": receiver.url("/") })).await;
        let rotate = || async {
            let rotated = ask(&app, &tenant, Method::POST, &format!("{path}/rotate-secret"), Value::Null).await;
            rotated.expect(200).json()["secret"].as_str().expect("a secret").to_owned()
        };
        let second = rotate().await;
        let signed = |secrets: [&str; 3]| {
            let got = receiver.got();
            let last = got.last().expect("a message");
            let count = last.header("webhook-signature").split(' ').count();
            (count, secrets.map(|secret| last.is_signed_by(secret)))
        };
        happen(&app, &tenant, "things.thing.made", "in between").await;
        app.settle().await;
        assert_eq!(signed([&first, &second, &second]), (2, [true, true, true]));
        let third = rotate().await;
        happen(&app, &tenant, "things.thing.made", "after the second").await;
        app.settle().await;
        assert_eq!(signed([&first, &second, &third]), (2, [false, true, true]));
        pass(&app, DAY + SECOND);
        happen(&app, &tenant, "things.thing.made", "a day later").await;
        app.settle().await;
        assert_eq!(signed([&first, &second, &third]), (1, [false, false, true]));
        assert_eq!(receiver.count(), 3);
        let rotations = told(&app, &tenant).await;
        assert_eq!(rotations.iter().filter(|event| event["type"] == "webhooks.endpoint.secret_rotated").count(), 2);
    }
}
