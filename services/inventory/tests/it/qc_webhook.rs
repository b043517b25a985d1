//! Quality results that laboratories post, and what they do, once. For what is not taken see `qc_refusals`,
//! for the keys `qc_keys`.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use crate::laboratory::{DAY, Key, Post, SECOND, apps, batch, events, read};

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_recorded_and_told() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let (key, batch) = (Key::make(&app, &tenant).await, batch(&app, &tenant, "PEAR", "L-1").await);
        let body = json!({
            "batchCode": "L-1", "itemSku": "PEAR", "result": "failed", "grade": "C", "note": "mould",
            "inspectedAt": "2026-11-20T10:00:00Z",
        });
        let post = Post::new(&app, &key, "msg_1", &body);
        let answer = post.send(&app).await.expect(200);
        let data = answer.data();
        assert_eq!(answer.json()["success"], true);
        assert_eq!(
            (&data["duplicate"], &data["qcState"], &data["batchId"]),
            (&json!(false), &json!("failed"), &json!(batch))
        );
        let row = read(&app, &tenant, &batch).await;
        assert_eq!(
            (&row["qcState"], &row["qcGrade"], &row["qcNote"]),
            (&json!("failed"), &json!("C"), &json!("mould"))
        );
        assert_eq!(row["qcAt"], "2026-11-20T10:00:00.000000Z");
        let told = events(&app, &tenant, "inventory.batch.qc_failed").await;
        assert_eq!(told.len(), 1);
        assert_eq!((&told[0]["data"]["source"], &told[0]["actor"]), (&json!(key.id), &json!("system")));
        assert_eq!(told[0]["requestId"], answer.json()["requestId"]);
        // The last verdict counts.
        let passed = json!({ "batchId": batch, "result": "passed" });
        Post::new(&app, &key, "msg_2", &passed).send(&app).await.expect(200);
        assert_eq!(read(&app, &tenant, &batch).await["qcState"], "passed");
        assert_eq!(events(&app, &tenant, "inventory.batch.qc_passed").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_are_graded_against_the_grade_that_is_asked_for() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let (key, batch) = (Key::make(&app, &tenant).await, batch(&app, &tenant, "PEAR", "L-1").await);
        let good = json!({ "size": 42, "colorScore": 88, "defectCount": 1, "moisture": 11.5 });
        let fair = json!({ "size": 25, "colorScore": 75, "defectCount": 3, "moisture": 13.5 });
        let poor = json!({ "size": 15, "colorScore": 50, "defectCount": 8, "moisture": 15 });
        for (number, (measured, minimum, grade, state)) in [
            (&good, None, "A", "passed"),
            (&fair, None, "B", "passed"),
            (&poor, None, "C", "failed"),
            (&fair, Some("A"), "B", "failed"),
            (&poor, Some("C"), "C", "passed"),
        ]
        .into_iter()
        .enumerate()
        {
            let mut body = json!({ "batchId": batch, "measurements": measured });
            if let Some(minimum) = minimum {
                body["minimumGrade"] = json!(minimum);
            }
            let data = Post::new(&app, &key, &format!("msg_{number}"), &body).send(&app).await.expect(200).data();
            assert_eq!((data["grade"].as_str(), data["qcState"].as_str()), (Some(grade), Some(state)), "{body}");
            assert_eq!(data["prediction"]["grade"], grade);
            assert_eq!(data["prediction"]["model"]["kind"], "rules");
            assert_eq!(read(&app, &tenant, &batch).await["qcGrade"], grade);
        }
        let failed = events(&app, &tenant, "inventory.batch.qc_failed").await;
        assert_eq!(failed[1]["data"]["note"], "graded B by produce-rules 1.0.0, where A was asked for");
        let incomplete = json!({ "batchId": batch, "measurements": { "size": 42, "moisture": 11 } });
        let refused = Post::new(&app, &key, "msg_x", &incomplete).send(&app).await.expect(400).json();
        let fields = refused["error"]["errors"].as_array().expect("fields").clone();
        let names: Vec<_> = fields.iter().map(|field| field["field"].as_str().expect("a name")).collect();
        assert_eq!(names, ["measurements.colorScore", "measurements.defectCount"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_has_no_second_effect() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let (key, batch) = (Key::make(&app, &tenant).await, batch(&app, &tenant, "PEAR", "L-1").await);
        let body = json!({ "batchId": batch, "result": "failed" });
        let first = Post::new(&app, &key, "msg_1", &body).send(&app).await.expect(200).data();
        Post::new(&app, &key, "msg_2", &json!({ "batchId": batch, "result": "passed" })).send(&app).await.expect(200);
        let before = app.digest(&tenant).await;
        // An hour later, as a sender repeats what got no answer: signed anew.
        app.clock().shift(3_600 * SECOND);
        let again = Post::new(&app, &key, "msg_1", &body).send(&app).await.expect(200).data();
        let mut expected = first.clone();
        expected["duplicate"] = json!(true);
        assert_eq!(again, expected);
        let other = Post::new(&app, &key, "msg_1", &json!({ "batchId": batch, "result": "passed" }));
        assert_eq!(other.send(&app).await.expect(409).code(), "inventory.webhook_id_reused");
        let spaced = format!("{body} ");
        let spaced = Post::raw(&app, &key, "msg_1", spaced.as_bytes());
        assert_eq!(spaced.send(&app).await.expect(409).code(), "inventory.webhook_id_reused");
        assert_eq!(app.digest(&tenant).await, before);
        // The id belongs to the key: another one may use it too.
        let second = Key::make(&app, &tenant).await;
        assert_eq!(Post::new(&app, &second, "msg_1", &body).send(&app).await.expect(200).data()["duplicate"], false);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_at_once_one_has_an_effect() {
    for (app, _) in apps().await {
        let app = Arc::new(app);
        let tenant = app.tenant("farm").await;
        let (key, batch) = (Key::make(&app, &tenant).await, batch(&app, &tenant, "PEAR", "L-1").await);
        let post = Post::new(&app, &key, "msg_1", &json!({ "batchId": batch, "result": "failed" }));
        let mut posts = JoinSet::new();
        for _ in 0..16 {
            let (app, post) = (app.clone(), post.clone());
            posts.spawn(async move { post.send(&app).await.expect(200).data()["duplicate"].clone() });
        }
        let answers = posts.join_all().await;
        assert_eq!(answers.iter().filter(|duplicate| **duplicate == json!(false)).count(), 1);
        assert_eq!(events(&app, &tenant, "inventory.batch.qc_failed").await.len(), 1);
        assert_eq!(read(&app, &tenant, &batch).await["version"], 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_forgotten_after_a_week() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let (key, batch) = (Key::make(&app, &tenant).await, batch(&app, &tenant, "PEAR", "L-1").await);
        let body = json!({ "batchId": batch, "result": "failed" });
        let duplicate =
            async || Post::new(&app, &key, "msg_1", &body).send(&app).await.expect(200).data()["duplicate"].clone();
        assert_eq!(duplicate().await, false);
        app.settle().await;
        app.clock().shift(6 * DAY);
        app.settle().await;
        assert_eq!(duplicate().await, true, "kept");
        app.clock().shift(2 * DAY);
        app.settle().await;
        let rows = app.digest(&tenant).await;
        assert!(!rows.iter().any(|row| row.starts_with("inventory_qc_receipt:")), "cleaned");
        assert_eq!(duplicate().await, false);
    }
}
