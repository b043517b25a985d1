//! `GET /api/events/stream`: what it carries, to whom, from where, and when it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use kernel::{Answer, PermissionSet, TenantId};
use serde_json::json;
use service::{Audience, EventType, Service};
use store::Event;
use testkit::{Block, TestApp, TestStream, TestTenant};

const STREAM: &str = "/api/events/stream";

const KINDS: [EventType; 4] = [
    kind("probe.note.written", Audience::Members),
    kind("probe.note.read", Audience::Members),
    kind("probe.shift.planned", Audience::Staff),
    kind("probe.key.turned", Audience::Admins),
];

const fn kind(name: &'static str, audience: Audience) -> EventType {
    EventType { name, audience, retention_days: Some(1), summary: "Happened" }
}

async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        let service = Service::new("probe", "Publishes things").events(KINDS);
        apps.push(TestApp::start(engine, vec![service], Default::default()).await);
    }
    apps
}

/// Creates a tenant, and lets what that tells be over.
async fn new_tenant(app: &TestApp, name: &str) -> TestTenant {
    let tenant = app.tenant(name).await;
    app.relay().await;
    tenant
}

/// Publishes events of these types about these subjects, in one transaction.
async fn publish(app: &TestApp, tenant: TenantId, events: impl IntoIterator<Item = (&str, String)>) {
    let mut ctx = store::system_context(tenant, PermissionSet::default());
    let mut writer = app.store().write(&mut ctx).await.expect("a writer");
    for (kind, subject) in events {
        writer.record(Event::about(kind, &subject, json!({ "of": subject }))).await.expect("an event");
    }
    writer.commit(Answer::no_content()).await.expect("kept");
    app.relay().await;
}

async fn publish_one(app: &TestApp, tenant: &TestTenant, kind: &str, subject: &str) {
    publish(app, tenant.id, [(kind, subject.to_owned())]).await;
}

async fn open(app: &TestApp, token: &str, query: &str) -> TestStream {
    app.get(&format!("{STREAM}{query}")).token(token).open().await.expect(200)
}

/// Opens a stream at now, and returns it with the id that it begins with.
async fn ready(app: &TestApp, token: &str, query: &str) -> (TestStream, String) {
    let mut stream = open(app, token, query).await;
    let hello = stream.event().await.expect("a beginning");
    assert_eq!(hello.kind(), "ready");
    let id = hello.id.expect("an id");
    (stream, id)
}

async fn subject(stream: &mut TestStream) -> String {
    let event = stream.event().await.expect("an event");
    event.json()["subject"].as_str().expect("a subject").to_owned()
}

fn position(id: &str) -> i64 {
    id.split_once('.').and_then(|(_, position)| position.parse().ok()).expect("an id of an event")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_begins_with_where_it_is_and_carries_cloud_events() {
    for app in apps().await {
        let tenant = new_tenant(&app, "one").await;
        let mut stream = open(&app, &tenant.viewer_token, "").await;
        assert_eq!(stream.header("content-type"), "text/event-stream; charset=utf-8");
        assert_eq!(stream.header("cache-control"), "no-cache, no-transform");
        assert_eq!((stream.header("x-accel-buffering"), stream.header("referrer-policy")), ("no", "no-referrer"));
        let hello = stream.event().await.expect("a beginning");
        assert!((2_000..=5_000).contains(&hello.retry.expect("a retry")));
        let id = hello.id.clone().expect("an id");
        let told = hello.json();
        assert_eq!(id, format!("{}.{}", told["epoch"].as_str().expect("an epoch"), told["position"]));

        publish_one(&app, &tenant, "probe.note.written", "n1").await;
        let event = stream.event().await.expect("an event");
        assert_eq!(event.kind(), "probe.note.written");
        let sent = event.json();
        assert_eq!((&sent["specversion"], &sent["type"]), (&json!("1.0"), &json!("probe.note.written")));
        assert_eq!(sent["source"], format!("/tenants/{}/probe", tenant.id));
        assert_eq!((&sent["subject"], &sent["data"]), (&json!("n1"), &json!({ "of": "n1" })));
        assert_eq!(sent["sequence"], position(event.id.as_deref().expect("an id")).to_string());
        assert_eq!((&sent["tenantid"], &sent["actor"]), (&json!(tenant.id), &json!("system")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_what_they_may_learn_of_and_nothing_of_other_tenants() {
    for app in apps().await {
        let (tenant, other) = (new_tenant(&app, "one").await, new_tenant(&app, "other").await);
        let (mut viewer, from) = ready(&app, &tenant.viewer_token, "").await;
        let (mut staff, _) = ready(&app, &tenant.staff_token, "").await;
        let (mut admin, _) = ready(&app, &tenant.admin_token, "").await;
        publish_one(&app, &other, "probe.note.written", "foreign").await;
        for (kind, subject) in
            [("probe.key.turned", "key"), ("probe.shift.planned", "shift"), ("probe.note.written", "note")]
        {
            publish_one(&app, &tenant, kind, subject).await;
        }
        assert_eq!(subject(&mut viewer).await, "note");
        assert_eq!([subject(&mut staff).await, subject(&mut staff).await], ["shift", "note"]);
        let seen = [subject(&mut admin).await, subject(&mut admin).await, subject(&mut admin).await];
        assert_eq!(seen, ["key", "shift", "note"]);
        // And so when the same comes from the log.
        let mut again = open(&app, &tenant.viewer_token, &format!("?lastEventId={from}")).await;
        assert_eq!(again.event().await.expect("a beginning").id, Some(from));
        assert_eq!(subject(&mut again).await, "note");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_and_subjects_are_chosen() {
    for app in apps().await {
        let tenant = new_tenant(&app, "one").await;
        let (mut notes, from) = ready(&app, &tenant.admin_token, "?types=probe.note.*").await;
        let (mut some, _) =
            ready(&app, &tenant.admin_token, "?types=probe.key.turned,probe.note.read&subject=a,b").await;
        publish(
            &app,
            tenant.id,
            [
                ("probe.shift.planned", "a".to_owned()),
                ("probe.note.written", "a".to_owned()),
                ("probe.note.read", "c".to_owned()),
                ("probe.note.read", "b".to_owned()),
                ("probe.key.turned", "a".to_owned()),
            ],
        )
        .await;
        let kinds = [notes.event().await.expect("one").kind().to_owned(), subject(&mut notes).await];
        assert_eq!(kinds, ["probe.note.written", "c"]);
        assert_eq!([subject(&mut some).await, subject(&mut some).await], ["b", "a"]);
        let resumed = format!("?types=probe.key.turned,probe.note.read&subject=a,b&lastEventId={from}");
        let mut resumed = open(&app, &tenant.admin_token, &resumed).await;
        resumed.event().await.expect("a beginning");
        assert_eq!([subject(&mut resumed).await, subject(&mut resumed).await], ["b", "a"]);
        for query in ["?types=a*b", "?types=,", "?subject=a,,b", "?kind=x", "?tenant=nobody"] {
            let refused = app.get(&format!("{STREAM}{query}")).token(&tenant.viewer_token).send().await;
            let status = if query.starts_with("?tenant") { 403 } else { 400 };
            assert_eq!(refused.status.as_u16(), status, "{query}");
        }
    }
}

/// Drops and resumes as a bad line would, while others write: each event comes once and in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_goes_on_exactly_where_it_was() {
    const DROPS: usize = 200;
    const EACH: usize = 400;
    for app in apps().await {
        let tenant = new_tenant(&app, "one").await;
        let noise = new_tenant(&app, "noise").await;
        let (_, from) = ready(&app, &tenant.viewer_token, "").await;
        let write = async |writer: usize| {
            for number in 0..EACH {
                let kind = if number % 3 == 0 { "probe.key.turned" } else { "probe.note.written" };
                let whose = if number % 5 == 4 { noise.id } else { tenant.id };
                publish(&app, whose, [(kind, format!("{writer}-{number}"))]).await;
            }
        };
        let expected: BTreeSet<String> = (0..3)
            .flat_map(|writer| (0..EACH).map(move |number| (writer, number)))
            .filter(|(_, number)| number % 3 != 0 && number % 5 != 4)
            .map(|(writer, number)| format!("{writer}-{number}"))
            .collect();
        let read = async {
            let (mut seen, mut last, mut drops) = (Vec::new(), from.clone(), 0_usize);
            while seen.len() < expected.len() {
                let request = app.get(STREAM).token(&tenant.viewer_token).header("last-event-id", &last);
                let mut stream = request.open().await.expect(200);
                // A line that is cut after none, one or several events, always at another place.
                for _ in 0..=(drops * 7 % 5) {
                    if seen.len() == expected.len() {
                        break;
                    }
                    let block = stream.event().await.expect("an event");
                    last = block.id.clone().expect("an id");
                    match block.kind() {
                        "ready" => {}
                        "probe.note.written" => seen.push((position(&last), block.json()["subject"].clone())),
                        other => panic!("{other}"),
                    }
                }
                drops += 1;
            }
            (seen, drops)
        };
        let ((seen, drops), ..) = tokio::join!(read, write(0), write(1), write(2));
        assert!(drops >= DROPS, "{drops} drops");
        assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, none twice");
        let subjects: BTreeSet<String> =
            seen.iter().map(|(_, subject)| subject.as_str().expect("text").to_owned()).collect();
        assert_eq!((subjects.len(), &subjects), (seen.len(), &expected), "none is missing");
    }
}

/// A client that does not read holds nobody up, and gets everything once it reads again.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_gets_everything_once() {
    const MANY: usize = 2_000;
    for app in apps().await {
        let tenant = new_tenant(&app, "one").await;
        let (mut slow, _) = ready(&app, &tenant.viewer_token, "").await;
        let (mut quick, _) = ready(&app, &tenant.viewer_token, "").await;
        for hundred in 0..MANY / 100 {
            let events = (0..100).map(|number| ("probe.note.written", format!("{}", hundred * 100 + number)));
            publish(&app, tenant.id, events).await;
            for number in 0..100 {
                assert_eq!(subject(&mut quick).await, format!("{}", hundred * 100 + number));
            }
        }
        for number in 0..MANY {
            assert_eq!(subject(&mut slow).await, number.to_string());
        }
        publish_one(&app, &tenant, "probe.note.written", "live again").await;
        assert_eq!(subject(&mut slow).await, "live again");
    }
}

async fn reset(app: &TestApp, tenant: &TestTenant, id: &str) -> Block {
    let mut stream = app.get(STREAM).token(&tenant.viewer_token).header("last-event-id", id).open().await.expect(200);
    let block = stream.event().await.expect("a beginning");
    assert_eq!(block.kind(), "reset", "{id}");
    publish_one(app, tenant, "probe.note.written", "after the reset").await;
    let event = stream.event().await.expect("an event");
    assert_eq!(event.json()["subject"], "after the reset");
    assert!(position(event.id.as_deref().expect("an id")) > position(block.id.as_deref().expect("an id")));
    block
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_cannot_go_on_it_says_so_and_goes_on_from_now() {
    for app in apps().await {
        let tenant = new_tenant(&app, "one").await;
        let (_, start) = ready(&app, &tenant.viewer_token, "").await;
        let epoch = start.split('.').next().expect("an epoch").to_owned();
        assert_eq!(reset(&app, &tenant, "0000.1").await.json()["reason"], "epoch");
        let future = reset(&app, &tenant, &format!("{epoch}.99999")).await.json();
        assert_eq!((&future["reason"], &future["epoch"]), (&json!("future"), &json!(epoch)));
        // The query is as good as the header, which wins.
        let query = format!("?lastEventId={start}");
        let mut stream = app.get(&format!("{STREAM}{query}")).token(&tenant.viewer_token);
        stream = stream.header("last-event-id", "0000.1");
        assert_eq!(stream.open().await.event().await.expect("a beginning").kind(), "reset");

        let last = store::last_position(app.store()).await.expect("a position");
        let now = app.clock().now().plus(Duration::from_secs(3600));
        let gone = store::purge_events(app.store(), "probe.note.written", now, last, 1_000).await.expect("purged");
        assert!(gone > 0);
        let told = reset(&app, &tenant, &start).await.json();
        assert_eq!(
            (&told["reason"], &told["snapshot"]),
            (&json!("retention"), &json!(format!("/api/events?after={last}")))
        );

        for bad in ["1", "x", "a.b", &format!("{epoch}.-1"), &format!("{epoch}.1.1"), "a b.1"] {
            let request = app.get(STREAM).token(&tenant.viewer_token).header("last-event-id", bad);
            assert_eq!(request.send().await.expect(400).code(), "events.invalid_event_id", "{bad}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_the_credential_is_revoked_or_runs_out_and_when_the_process_stops() {
    for app in apps().await {
        let tenant = new_tenant(&app, "one").await;
        let session = app.session(&tenant).await;
        let (mut revoked, _) = ready(&app, &session, "").await;
        let (mut kept, _) = ready(&app, &tenant.viewer_token, "").await;
        app.post("/api/auth/logout").token(&session).send().await.expect(204);
        publish_one(&app, &tenant, "probe.note.written", "too late for one").await;
        while let Some(event) = revoked.event().await {
            assert_ne!(event.kind(), "probe.note.written");
        }
        assert_eq!(subject(&mut kept).await, "too late for one");
        app.get(STREAM).token(&session).send().await.expect(401);

        let session = app.session(&tenant).await;
        let (mut expired, _) = ready(&app, &session, "?types=probe.*").await;
        app.clock().shift(3_600_000_000);
        publish_one(&app, &tenant, "probe.note.written", "too late").await;
        assert_eq!(expired.event().await, None);

        assert_eq!(app.connections().len(), 1, "ended streams are off the list");
        app.connections().close();
        while let Some(event) = kept.event().await {
            assert_eq!(event.json()["subject"], "too late");
        }
        // Another status would end an EventSource for good.
        let mut late = open(&app, &tenant.viewer_token, "").await;
        let told = late.block().await.expect("a block");
        assert!(told.retry.is_some() && told.data.is_none());
        assert_eq!(late.block().await, None);
        assert!(app.connections().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_is_forgotten() {
    for app in apps().await {
        let tenant = new_tenant(&app, "one").await;
        let (stream, _) = ready(&app, &tenant.viewer_token, "").await;
        assert_eq!(app.connections().len(), 1);
        drop(stream);
        assert!(app.connections().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_runs_the_platform_follows_all_tenants() {
    for app in apps().await {
        let (tenant, other) = (new_tenant(&app, "one").await, new_tenant(&app, "other").await);
        let boss = app.superadmin(&tenant);
        let (mut all, from) = ready(&app, &boss, "?tenant=*&types=probe.*").await;
        let (mut one, _) = ready(&app, &boss, &format!("?tenant={}&types=probe.*", other.id)).await;
        let (mut own, _) = ready(&app, &boss, "?types=probe.*").await;
        publish_one(&app, &tenant, "probe.key.turned", "here").await;
        publish_one(&app, &other, "probe.key.turned", "there").await;
        publish_one(&app, &tenant, "probe.note.written", "here too").await;
        assert_eq!([subject(&mut all).await, subject(&mut all).await], ["here", "there"]);
        assert_eq!(subject(&mut one).await, "there");
        assert_eq!([subject(&mut own).await, subject(&mut own).await], ["here", "here too"]);
        let (mut again, mut only) = (
            open(&app, &boss, &format!("?tenant=*&types=probe.*&lastEventId={from}")).await,
            open(&app, &boss, &format!("?tenant={}&types=probe.*&lastEventId={from}", other.id)).await,
        );
        for stream in [&mut again, &mut only] {
            stream.event().await.expect("a beginning");
        }
        let replayed = [subject(&mut again).await, subject(&mut again).await, subject(&mut again).await];
        assert_eq!(replayed, ["here", "there", "here too"]);
        assert_eq!(subject(&mut only).await, "there");

        // Written down where the superadmin is, for its administrators.
        app.relay().await;
        let noted = app.get("/api/events?type=audit.watch").token(&tenant.admin_token).send().await.expect(200).json();
        let about: Vec<&str> =
            noted["items"].as_array().expect("events").iter().filter_map(|e| e["subject"].as_str()).collect();
        let id = other.id.to_string();
        assert_eq!(about, ["*", &id, "*", &id]);

        // The permission alone is not enough.
        let token = app.mint(app.principal(&tenant));
        for token in [&tenant.viewer_token, &tenant.admin_token, &token] {
            for query in ["?tenant=*", &format!("?tenant={}", other.id)] {
                let refused = app.get(&format!("{STREAM}{query}")).token(token).send().await.expect(403);
                assert_eq!(refused.code(), "request.forbidden");
            }
        }
        app.get(&format!("{STREAM}?tenant=nobody")).token(&boss).send().await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_cannot_be_read_clients_are_asked_to_come_back() {
    for app in apps().await {
        let tenant = new_tenant(&app, "one").await;
        // The token is known from now on.
        drop(ready(&app, &tenant.admin_token, "").await);
        app.store().close().await;
        let mut stream = open(&app, &tenant.admin_token, "").await;
        let only = stream.block().await.expect("a beginning");
        assert!(only.retry.is_some() && only.data.is_none());
        assert!(stream.block().await.is_none(), "nothing but that");
    }
}
