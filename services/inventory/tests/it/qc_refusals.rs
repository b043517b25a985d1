//! What is posted as a quality result and not taken: forged, late, wrong, switched off, suspended. Every
//! refusal changes nothing.

use serde_json::json;
use store::{Purpose, TenantChange};

use crate::laboratory::{Key, Post, WEBHOOK, apps, batch};

const REFUSED: &str = "inventory.invalid_signature";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_so_is_refused_without_saying_why() {
    for (app, _) in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("rival").await);
        let (key, theirs) = (Key::make(&app, &tenant).await, Key::make(&app, &other).await);
        let batch = batch(&app, &tenant, "PEAR", "L-1").await;
        let body = json!({ "batchId": batch, "result": "passed" });
        let sound = Post::new(&app, &key, "msg_1", &body);
        let failed = Post::new(&app, &key, "msg_2", &json!({ "batchId": batch, "result": "failed" }));
        let now = app.clock().now().seconds();
        let bytes = body.to_string().into_bytes();
        let forged = Key { id: key.id.clone(), secret: theirs.secret.clone() };
        let unknown = Key { id: "qck_00000000000000000000000000".to_owned(), ..key.clone() };
        let later = (now + 1).to_string();
        let spaced = [&bytes[..], b" "].concat();
        let attacks = [
            ("the signature of another body", Post { signature: failed.signature.clone(), ..sound.clone() }),
            ("another body", Post { body: failed.body.clone(), ..sound.clone() }),
            ("the same JSON in other bytes", Post { body: spaced, ..sound.clone() }),
            ("no body", Post { body: Vec::new(), ..sound.clone() }),
            ("a swapped id", Post { id: "msg_2".to_owned(), ..sound.clone() }),
            ("a later timestamp", Post { timestamp: later, ..sound.clone() }),
            ("the other tenant's secret", Post::new(&app, &forged, "msg_1", &body)),
            ("the other tenant's key id", Post { key: theirs.id.clone(), ..sound.clone() }),
            ("an unknown key", Post::new(&app, &unknown, "msg_1", &body)),
            ("no key", Post { key: String::new(), ..sound.clone() }),
            ("an old timestamp", Post::at(&key, "msg_1", now - 301, &bytes)),
            ("a future timestamp", Post::at(&key, "msg_1", now + 301, &bytes)),
            ("a timestamp in milliseconds", Post::at(&key, "msg_1", now * 1_000, &bytes)),
            ("a negative timestamp", Post::at(&key, "msg_1", -now, &bytes)),
            ("no signature", Post { signature: String::new(), ..sound.clone() }),
            ("another version", Post { signature: sound.signature.replacen("v1,", "v1a,", 1), ..sound.clone() }),
            ("the bare signature", Post { signature: sound.signature.replacen("v1,", "", 1), ..sound.clone() }),
            ("half a signature", Post { signature: sound.signature[..20].to_owned(), ..sound.clone() }),
        ];
        let before = (app.digest(&tenant).await, app.digest(&other).await);
        let mut told = Vec::new();
        for (what, attack) in attacks {
            let answer = attack.send(&app).await.expect(401);
            assert_eq!(answer.code(), REFUSED, "{what}");
            told.push((what, answer.json()["error"]["detail"].as_str().expect("a detail").to_owned()));
        }
        for (what, detail) in &told {
            let in_time = !matches!(*what, "an old timestamp" | "a future timestamp" | "a timestamp in milliseconds");
            assert_eq!(*detail == told[0].1, in_time, "{what}: {detail}");
        }
        for left_out in ["webhook-key-id", "webhook-id", "webhook-timestamp", "webhook-signature"] {
            for twice in [false, true] {
                let mut request = app.post(WEBHOOK).token(&tenant.admin_token);
                for (name, value) in sound.headers() {
                    let times = if name != left_out { 1 } else { 2 * usize::from(twice) };
                    request = (0..times).fold(request, |request, _| request.header(name, value));
                }
                let answer = request.bytes(sound.body.clone()).send().await.expect(401);
                assert_eq!(answer.json()["error"]["detail"], told[0].1, "{left_out}, twice: {twice}");
            }
        }
        // The other tenant's own key opens no door to this one.
        let answer = Post::new(&app, &theirs, "msg_1", &body).send(&app).await.expect(404);
        assert_eq!(answer.code(), "request.not_found");
        assert_eq!((app.digest(&tenant).await, app.digest(&other).await), before);
        // The test would see an effect: the sound one has it, also among signatures of other versions.
        let several = format!("v1a,AAAA v1,AAAA {}", sound.signature);
        Post { signature: several, ..sound }.send(&app).await.expect(200);
        assert_ne!(app.digest(&tenant).await, before.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_and_wrong_is_named_and_changes_nothing() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let (key, id) = (Key::make(&app, &tenant).await, batch(&app, &tenant, "PEAR", "L-1").await);
        batch(&app, &tenant, "PLUM", "L-1").await;
        let before = app.digest(&tenant).await;
        let whole = json!({ "size": 42, "colorScore": 88, "defectCount": 1, "moisture": 11.5 });
        let bodies = [
            ("", 400, "request.invalid_body"),
            ("not json", 400, "request.invalid_body"),
            ("[]", 400, "request.invalid_body"),
            ("{} {}", 400, "request.invalid_body"),
            ("\u{feff}{}", 400, "request.invalid_body"),
            (r#"{"result":"passed"}"#, 400, "request.invalid_body"),
            (r#"{"itemSku":"PEAR","result":"passed"}"#, 400, "request.invalid_body"),
            (r#"{"batchId":"itm_00000000000000000000000001","result":"passed"}"#, 400, "request.invalid_body"),
            (&json!({ "batchId": id }).to_string(), 400, "request.invalid_body"),
            (&json!({ "batchId": id, "result": "perhaps" }).to_string(), 400, "request.invalid_body"),
            (&json!({ "batchId": id, "result": "passed", "tenantId": "x" }).to_string(), 400, "request.invalid_body"),
            (
                &json!({ "batchId": id, "batchCode": "L-1", "result": "passed" }).to_string(),
                400,
                "request.invalid_body",
            ),
            (&json!({ "batchId": id, "itemSku": "PEAR", "result": "passed" }).to_string(), 400, "request.invalid_body"),
            (
                &json!({ "batchId": id, "result": "passed", "minimumGrade": "A" }).to_string(),
                400,
                "request.invalid_body",
            ),
            (
                &json!({ "batchId": id, "result": "passed", "measurements": whole }).to_string(),
                400,
                "request.invalid_body",
            ),
            (&json!({ "batchId": id, "grade": "A", "measurements": whole }).to_string(), 400, "request.invalid_body"),
            (&json!({ "batchId": id, "measurements": {} }).to_string(), 400, "request.invalid_body"),
            (&json!({ "batchId": id, "measurements": { "size": "42" } }).to_string(), 400, "request.invalid_body"),
            (&json!({ "batchId": id, "result": "passed", "note": "a\u{0}b" }).to_string(), 400, "request.invalid_body"),
            (
                &json!({ "batchId": id, "result": "passed", "inspectedAt": "2026-11-21T08:05:01Z" }).to_string(),
                400,
                "request.invalid_body",
            ),
            (&json!({ "batchCode": "L-1", "result": "passed" }).to_string(), 409, "inventory.batch_ambiguous"),
            (&json!({ "batchCode": "L-2", "result": "passed" }).to_string(), 404, "request.not_found"),
            (
                &json!({ "batchCode": "L-1", "itemSku": "FIG", "result": "passed" }).to_string(),
                404,
                "request.not_found",
            ),
            (r#"{"batchId":"bat_00000000000000000000000001","result":"passed"}"#, 404, "request.not_found"),
        ];
        for (number, (body, status, code)) in bodies.into_iter().enumerate() {
            let post = Post::raw(&app, &key, &format!("msg_{number}"), body.as_bytes());
            assert_eq!(post.send(&app).await.expect(status).code(), code, "{body}");
        }
        let sound = json!({ "batchId": id, "result": "passed" });
        for name in ["", "a.b", "a b", &"x".repeat(129)] {
            let answer = Post::new(&app, &key, name, &sound).send(&app).await.expect(400);
            assert_eq!(answer.code(), "inventory.invalid_webhook_id", "{name:?}");
        }
        let huge = format!("{{\"note\":\"{}\"}}", "x".repeat(64 << 10));
        let answer = Post::raw(&app, &key, "msg_huge", huge.as_bytes()).send(&app).await.expect(413);
        assert_eq!(answer.code(), "request.too_large");
        assert_eq!(app.digest(&tenant).await, before);
        // A refusal is not remembered: corrected, the same id is taken.
        Post::new(&app, &key, "msg_0", &sound).send(&app).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_and_a_suspension_stop_it() {
    for (app, switches) in apps().await {
        let tenant = app.tenant("farm").await;
        let (key, batch) = (Key::make(&app, &tenant).await, batch(&app, &tenant, "PEAR", "L-1").await);
        let post = Post::new(&app, &key, "msg_1", &json!({ "batchId": batch, "result": "failed" }));
        let before = app.digest(&tenant).await;
        switches.turn_off("qc.webhook");
        let off = post.send(&app).await.expect(503);
        assert_eq!((off.code().as_str(), off.header("retry-after")), ("flags.feature_disabled", "30"));
        // Who cannot sign does not learn of the switch.
        let unsigned = Post { signature: "v1,AAAA".to_owned(), ..post.clone() };
        assert_eq!(unsigned.send(&app).await.expect(401).code(), REFUSED);
        assert_eq!(app.digest(&tenant).await, before);
        switches.turn_on("qc.webhook");
        let suspend = async |state| {
            let system = app.store().system(Purpose::Tenancy).await.expect("a transaction");
            let change = TenantChange { state: Some(state), ..TenantChange::default() };
            system.change_tenant(tenant.id, None, change).await.expect("changed");
            system.commit().await.expect("kept");
        };
        suspend("suspended").await;
        let before = app.digest(&tenant).await;
        assert_eq!(post.send(&app).await.expect(403).code(), "tenants.suspended");
        assert_eq!(unsigned.send(&app).await.expect(401).code(), REFUSED);
        assert_eq!(app.digest(&tenant).await, before);
        suspend("active").await;
        assert_eq!(post.send(&app).await.expect(200).data()["duplicate"], false);
    }
}
