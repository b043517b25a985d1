use serde_json::{Value, json};

use crate::client::{Client, Said};
use crate::{ADJUSTED, RAISED, adjust, apps, publish, record};

fn place(event: &Value) -> Value {
    json!(format!("{}.{}", event["epoch"].as_str().expect("an epoch"), event["position"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_told_once_and_then_the_rest() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let (client, ready) = Client::connect(&app, &tenant.staff_token).await;
        client.leave().await;
        adjust(&app, tenant.id, 1..=600).await;
        adjust(&app, other.id, [9]).await;
        publish(&app, tenant.id, RAISED, [json!({ "user": tenant.admin })]).await;
        let object = json!({ "epoch": ready["epoch"], "position": ready["position"] });
        let mut position = 0;
        for last in [place(&ready), object] {
            let mut client = Client::resume(&app, &tenant.staff_token, last).await;
            for amount in 1..=600 {
                let event = client.event("inventory:update").await;
                assert_eq!(event["data"]["quantity"], amount);
                position = event["position"].as_i64().expect("a position");
            }
            let ready = client.event("ready").await;
            assert!(ready["position"].as_i64() >= Some(position));
            client.leave().await;
        }
        let mut viewer = Client::resume(&app, &tenant.viewer_token, place(&ready)).await;
        for _ in 1..=600 {
            assert!(viewer.event("inventory:summary").await.get("data").is_none(), "no amounts, also afterwards");
        }
        let from = viewer.event("ready").await;
        let mut seen = Client::resume(&app, &tenant.viewer_token, place(&from)).await;
        seen.event("ready").await;
        adjust(&app, tenant.id, [601]).await;
        assert_eq!(viewer.event("inventory:summary").await, seen.event("inventory:summary").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_drops_and_comes_back_all_the_time_misses_nothing_and_sees_nothing_twice() {
    const EVENTS: i64 = 200;
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (client, ready) = Client::connect(&app, &tenant.staff_token).await;
        client.leave().await;
        let write = async {
            for amount in 1..=EVENTS {
                adjust(&app, tenant.id, [amount]).await;
            }
        };
        let read = async {
            let (mut last, mut seen) = (place(&ready), Vec::new());
            while seen.len() < EVENTS as usize {
                let mut client = Client::resume(&app, &tenant.staff_token, last.clone()).await;
                // Some are read while the rest is still being told, some from the live tail.
                let much = seen.len() + 7;
                while seen.len() < much.min(EVENTS as usize) {
                    let Said::Event(name, event) = client.next().await else { panic!("closed") };
                    if name == "inventory:update" {
                        last = place(&event);
                        seen.push(event["data"]["quantity"].as_i64().expect("an amount"));
                    }
                }
                client.leave().await;
            }
            seen
        };
        let ((), seen) = tokio::join!(write, read);
        assert_eq!(seen, (1..=EVENTS).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_said_so_and_the_rest_follows() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (client, ready) = Client::connect(&app, &tenant.staff_token).await;
        client.leave().await;
        adjust(&app, tenant.id, 1..=1_001).await;
        let told = store::log_state(app.store()).await.expect("the log").last;
        while Client::connect(&app, &tenant.staff_token).await.1["position"].as_i64() < Some(told) {}
        let epoch = ready["epoch"].as_str().expect("an epoch");
        for (last, reason) in [
            (place(&ready), "too_many"),
            (json!("another-log.1"), "epoch"),
            (json!(format!("{epoch}.999999999")), "ahead"),
            (json!("nonsense"), "invalid"),
            (json!({ "epoch": epoch, "position": -1 }), "invalid"),
        ] {
            let mut client = Client::resume(&app, &tenant.staff_token, last.clone()).await;
            let resync = client.event("resync").await;
            assert_eq!(resync["reason"], reason, "{last}");
            assert_eq!(client.event("ready").await["position"], resync["position"]);
            adjust(&app, tenant.id, [7]).await;
            let next = client.event("inventory:update").await;
            assert_eq!(next["data"]["quantity"], 7);
            assert!(next["position"].as_i64() > resync["position"].as_i64());
            client.leave().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_too_slowly_is_told_once_and_makes_nobody_wait() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (mut slow, _) = Client::connect(&app, &tenant.staff_token).await;
        let (mut quick, _) = Client::connect(&app, &tenant.staff_token).await;
        let mut last = Value::Null;
        for amount in 1..=300 {
            adjust(&app, tenant.id, [amount]).await;
            last = quick.event("inventory:update").await;
            assert_eq!(last["data"]["quantity"], amount);
        }
        let mut got = 0;
        let resync = loop {
            match slow.next().await {
                Said::Event(name, event) if name == "inventory:update" => {
                    got += 1;
                    assert_eq!(event["data"]["quantity"], got, "what came, came in order");
                }
                Said::Event(name, event) if name == "resync" => break event,
                other => panic!("{other:?}"),
            }
        };
        assert!((64..300).contains(&got), "{got}");
        assert_eq!(resync["reason"], "lagging");
        assert_eq!(resync["position"], last["position"]);
        adjust(&app, tenant.id, [301]).await;
        assert_eq!(slow.event("inventory:update").await["data"]["quantity"], 301);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_another_tenant_makes_no_gap() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let (mut client, _) = Client::connect(&app, &tenant.staff_token).await;
        // More at once than the fan-out keeps for a reader: the rest is read from the log.
        let all = |amounts: std::ops::RangeInclusive<i64>| amounts.map(|amount| json!({ "quantity": amount }));
        for from in [1, 26, 51] {
            record(&app, tenant.id, ADJUSTED, all(from..=from + 24)).await;
            record(&app, other.id, ADJUSTED, all(1..=600)).await;
        }
        app.relay().await;
        for amount in 1..=75 {
            assert_eq!(client.event("inventory:update").await["data"]["quantity"], amount);
        }
    }
}
