//! Sending again, and test messages.

use super::*;
use receiver::answer;

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_sent_again_under_the_same_id() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let (path, _) = endpoint(&app, &tenant, json!({ "url": receiver.url("/") })).await;
        happen(&app, &tenant, "things.thing.made", "thing").await;
        app.settle().await;
        let delivery = deliveries(&app, &tenant).await.remove(0);
        let replay = format!("{DELIVERIES}/{}/replay", delivery["id"].as_str().expect("an id"));
        let again = ask(&app, &tenant, Method::POST, &replay, Value::Null).await.expect(202).json();
        assert_eq!(again["state"], "pending");
        let pending = ask(&app, &tenant, Method::POST, &replay, Value::Null).await.expect(409);
        assert_eq!(pending.code(), "webhooks.delivery_pending");
        app.settle().await;
        let got = receiver.got();
        assert_eq!((got.len(), &got[0].body), (2, &got[1].body));
        assert_eq!(got[0].header("webhook-id"), got[1].header("webhook-id"));
        assert_eq!(deliveries(&app, &tenant).await[0]["attempts"], 2);
        ask(&app, &tenant, Method::PATCH, &path, json!({ "enabled": false })).await.expect(200);
        let off = ask(&app, &tenant, Method::POST, &replay, Value::Null).await.expect(409);
        assert_eq!(off.code(), "webhooks.endpoint_disabled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_sent_and_what_was_taken_is_not() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let body = json!({ "url": receiver.url("/"), "events": ["things.*"] });
        let (path, _) = endpoint(&app, &tenant, body).await;
        let switch = |on: bool| ask(&app, &tenant, Method::PATCH, &path, json!({ "enabled": on }));
        happen(&app, &tenant, "things.thing.made", "too long ago").await;
        switch(false).await.expect(200);
        app.settle().await;
        pass(&app, DAY);
        let since = app.clock().now();
        switch(true).await.expect(200);
        happen(&app, &tenant, "things.thing.made", "taken").await;
        app.settle().await;
        receiver.answers(|_| answer(500));
        happen(&app, &tenant, "things.thing.made", "given up").await;
        app.settle().await;
        switch(false).await.expect(200);
        happen(&app, &tenant, "things.thing.lost", "never sent").await;
        pass(&app, HOUR);
        app.settle().await;
        let asked = json!({ "since": since });
        let missing = format!("{path}/replay-missing");
        ask(&app, &tenant, Method::POST, &missing, asked.clone()).await.expect(409);
        switch(true).await.expect(200);
        receiver.answers(|_| answer(200));
        let before = receiver.count();
        let task = ask(&app, &tenant, Method::POST, &missing, asked.clone()).await.expect(202).json()["task"].clone();
        assert!(task.as_str().is_some_and(|task| task.starts_with("tsk_")), "{task}");
        app.settle().await;
        let subjects = |got: &[receiver::Got]| {
            let mut subjects: Vec<Value> = got.iter().map(|message| message.json()["subject"].clone()).collect();
            subjects.sort_by_key(ToString::to_string);
            subjects
        };
        assert_eq!(subjects(&receiver.got()[before..]), ["given up", "never sent"].map(|subject| json!(subject)));
        ask(&app, &tenant, Method::POST, &missing, asked).await.expect(202);
        app.settle().await;
        assert_eq!(receiver.count(), before + 2, "nothing is missing any more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_goes_to_its_endpoint_only() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        let one = json!({ "url": receiver.url("/one"), "events": ["things.thing.lost"] });
        let (path, secret) = endpoint(&app, &tenant, one).await;
        endpoint(&app, &tenant, json!({ "url": receiver.url("/two") })).await;
        ask(&app, &tenant, Method::POST, &format!("{path}/test"), Value::Null).await.expect(202);
        app.settle().await;
        let got = receiver.got();
        assert_eq!(got.iter().map(|message| message.path.as_str()).collect::<Vec<_>>(), ["/one"]);
        assert!(got[0].is_signed_by(&secret));
        assert_eq!(got[0].json()["type"], "webhooks.endpoint.tested");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_cleaned_by_the_clock() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        endpoint(&app, &tenant, json!({ "url": receiver.url("/") })).await;
        happen(&app, &tenant, "things.thing.made", "old").await;
        app.settle().await;
        pass(&app, DAY * 20);
        happen(&app, &tenant, "things.thing.made", "young").await;
        app.settle().await;
        assert_eq!(deliveries(&app, &tenant).await.len(), 2);
        pass(&app, DAY * 12);
        app.settle().await;
        assert_eq!(deliveries(&app, &tenant).await.len(), 1);
        let kept = app.digest(&tenant).await.into_iter().filter(|row| row.starts_with("webhooks_message")).count();
        assert!(kept <= 1, "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_task_is_gone_is_queued_again() {
    for app in apps().await {
        let (tenant, receiver) = (app.tenant("farm").await, Receiver::start().await);
        endpoint(&app, &tenant, json!({ "url": receiver.url("/") })).await;
        receiver.answers(|_| answer(500));
        happen(&app, &tenant, "things.thing.made", "thing").await;
        app.settle().await;
        let ctx = app.context(&tenant);
        let reader = app.store().read(&ctx).await.expect("a reader");
        let filter = tasks::TaskFilter { job: Some("webhooks.deliver".to_owned()), ..Default::default() };
        let queued = tasks::list(&reader, &filter, 10).await.expect("tasks");
        reader.close().await.expect("closed");
        assert_eq!(queued.len(), 1);
        let mut ctx = app.context(&tenant);
        let mut writer = app.store().write(&mut ctx).await.expect("a writer");
        let (_, cancelled) = tasks::cancel(&mut writer, queued[0].id).await.expect("cancelled");
        assert!(cancelled);
        writer.commit(kernel::Answer::no_content()).await.expect("kept");
        receiver.answers(|_| answer(200));
        pass(&app, HOUR / 2);
        app.settle().await;
        assert_eq!(receiver.count(), 1, "nobody works on it");
        pass(&app, HOUR);
        app.settle().await;
        assert_eq!(receiver.count(), 2);
        assert_eq!(deliveries(&app, &tenant).await[0]["state"], "delivered");
    }
}
