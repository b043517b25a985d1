//! Predictions of quality through the door: the contract's example, what is refused, the switch, and
//! another model in the place of the rules. What the rules do is tested beside them.

use inventory::{
    Grade, Input, Inventory, ModelInfo, ModelKind, Predicting, Prediction, QualityModel, QualityReason, Sample,
};
use kernel::Error;
use serde_json::{Value, json};
use store::Engine;
use testkit::{TestApp, TestResponse, TestTenant};

use crate::laboratory::{app_on, apps};

const PREDICT: &str = "/api/ai/predict-quality";

async fn predict(app: &TestApp, tenant: &TestTenant, body: &str) -> TestResponse {
    let request = app.post(PREDICT).token(&tenant.viewer_token).header("content-type", "application/json");
    request.bytes(body).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_contract_is_answered_as_it_says() {
    for (app, _) in apps().await {
        let tenant = app.tenant("farm").await;
        let before = app.digest(&tenant).await;
        let body = r#"{"size":42,"colorScore":88,"defectCount":1,"moisture":11.5}"#;
        let answer = predict(&app, &tenant, body).await.expect(200);
        let data = answer.data();
        assert_eq!(answer.json()["success"], true);
        assert!(answer.json()["meta"]["durationMs"].is_number());
        assert_eq!((&data["grade"], &data["confidence"], &data["score"]), (&json!("A"), &json!(0.92), &json!(96.0)));
        assert_eq!(data["model"], json!({ "name": "produce-rules", "version": "1.0.0", "kind": "rules" }));
        let reasons = data["reasons"].as_array().expect("reasons");
        let inputs: Vec<_> = reasons.iter().map(|reason| reason["input"].as_str().unwrap_or_default()).collect();
        assert_eq!(inputs, ["size", "colorScore", "defectCount", "moisture"]);
        let defects = json!({
            "rule": "defects.one", "input": "defectCount", "value": 1.0, "points": 28.0,
            "message": "defects 1: a single one, 28 of 30 points",
        });
        assert_eq!(reasons[2], defects);
        assert_eq!(predict(&app, &tenant, body).await.data(), data, "the same again");
        assert_eq!(app.digest(&tenant).await, before, "nothing is stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_lowers_the_confidence() {
    let (app, _) = app_on(Engine::Sqlite, Inventory::default()).await;
    let tenant = app.tenant("farm").await;
    for (body, confidence) in [
        (r#"{"size":42,"colorScore":88,"defectCount":1,"moisture":null}"#, 0.72),
        (r#"{"defectCount":0}"#, 0.3),
        (r#"{"size":1e3,"moisture":-0.0}"#, 0.4),
    ] {
        let data = predict(&app, &tenant, body).await.expect(200).data();
        assert_eq!(data["confidence"], confidence, "{body}: {data}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_measurements_are_named_field_by_field() {
    let (app, _) = app_on(Engine::Sqlite, Inventory::default()).await;
    let tenant = app.tenant("farm").await;
    let cases: [(&str, &[&str]); 20] = [
        ("", &[]),
        ("[]", &[]),
        ("7", &[]),
        (r#"{"size":NaN}"#, &["size"]),
        (r#"{"size":Infinity}"#, &["size"]),
        (r#"{}"#, &["size", "colorScore", "defectCount", "moisture"]),
        (r#"{"size":null}"#, &["size", "colorScore", "defectCount", "moisture"]),
        (r#"{"size":"42"}"#, &["size"]),
        (r#"{"size":[42]}"#, &["size"]),
        (r#"{"size":true}"#, &["size"]),
        (r#"{"size":1e999}"#, &["size"]),
        (r#"{"size":-0.001,"moisture":100.001}"#, &["size", "moisture"]),
        (
            r#"{"size":1000.5,"colorScore":101,"defectCount":10001,"moisture":1e300}"#,
            &["size", "colorScore", "defectCount", "moisture"],
        ),
        (r#"{"defectCount":-1}"#, &["defectCount"]),
        (r#"{"defectCount":1.5}"#, &["defectCount"]),
        (r#"{"defectCount":"1"}"#, &["defectCount"]),
        (r#"{"defectCount":99999999999999999999}"#, &["defectCount"]),
        (r#"{"colorScore":-1}"#, &["colorScore"]),
        (r#"{"weight":1}"#, &["weight"]),
        (r#"{"size":1,"size":2}"#, &[]),
    ];
    for (body, fields) in cases {
        let answer = predict(&app, &tenant, body).await.expect(400);
        assert_eq!(answer.code(), "request.invalid_body", "{body}");
        let errors = answer.json()["error"]["errors"].as_array().cloned().unwrap_or_default();
        let named: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap_or_default()).collect();
        assert_eq!(named, fields, "{body}: {}", answer.text());
    }
    let text = app.post(PREDICT).token(&tenant.viewer_token).header("content-type", "text/plain").bytes("{}");
    text.send().await.expect(415);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_stops_it() {
    let (app, switches) = app_on(Engine::Sqlite, Inventory::default()).await;
    let tenant = app.tenant("farm").await;
    switches.turn_off("ai.inference");
    let off = predict(&app, &tenant, r#"{"size":42}"#).await.expect(503);
    assert_eq!((off.code().as_str(), off.header("retry-after")), ("flags.feature_disabled", "30"));
    switches.turn_on("ai.inference");
    predict(&app, &tenant, r#"{"size":42}"#).await.expect(200);
}

/// A model that was trained, or says so.
struct Trained;

impl QualityModel for Trained {
    fn describe(&self) -> ModelInfo {
        ModelInfo { name: "forest".to_owned(), version: "7".to_owned(), kind: ModelKind::Trained }
    }

    fn predict<'a>(&'a self, sample: &'a Sample) -> Predicting<'a> {
        Box::pin(async move {
            // As one that asks elsewhere would.
            tokio::task::yield_now().await;
            let value = sample.value(Input::Size).ok_or_else(|| Error::unavailable("inventory.model_away", "away"))?;
            let reason = QualityReason {
                rule: "split.3".to_owned(),
                input: Input::Size,
                value,
                points: 1.0,
                message: "left".to_owned(),
            };
            let confidence = if value > 500.0 { f64::NAN } else { 0.5 };
            Ok(Prediction { grade: Grade::B, confidence, score: 50.0, reasons: vec![reason] })
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_takes_over_without_a_change_to_the_api() {
    let (rules, _) = app_on(Engine::Sqlite, Inventory::default()).await;
    let (trained, _) = app_on(Engine::Sqlite, Inventory::default().with_model(Trained)).await;
    assert_eq!(rules.document(), trained.document());
    let tenant = trained.tenant("farm").await;
    let data = predict(&trained, &tenant, r#"{"size":42}"#).await.expect(200).data();
    assert_eq!((&data["grade"], &data["confidence"]), (&json!("B"), &json!(0.5)));
    assert_eq!(data["model"], json!({ "name": "forest", "version": "7", "kind": "trained" }));
    let known = rules.tenant("farm").await;
    let by_rules = predict(&rules, &known, r#"{"size":42}"#).await.expect(200).data();
    let fields = |data: &Value| data.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&data), fields(&by_rules));
    assert_eq!(fields(&data["reasons"][0]), fields(&by_rules["reasons"][0]));
    // It may fail, and what is no number leaves nobody's hands.
    let away = predict(&trained, &tenant, r#"{"moisture":7}"#).await.expect(503);
    assert_eq!(away.code(), "inventory.model_away");
    predict(&trained, &tenant, r#"{"size":900}"#).await.expect(500);
}
