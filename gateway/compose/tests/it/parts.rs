//! What becomes of parts that answer, fail, hang or say nonsense, in each mode.

use std::time::Instant;

use compose::Inputs;
use serde_json::{Value, json};

use crate::{Does, Parts, body, recipe};

#[tokio::test]
async fn parts_that_wait_for_others_are_asked_with_their_values() {
    let recipe = recipe(json!({ "parts": {
        "order": { "path": "/orders/{path.id}" },
        "customer": { "path": "/customers/{order/customer/id}?lang={query.lang}", "pick": "/name" },
        "news": { "path": "/news" },
    } }));
    let parts = Parts::new([
        ("/orders/7", Does::Says(200, json!({ "customer": { "id": "a b" } }))),
        ("/customers/a%20b?lang=%C3%A6", Does::Says(200, json!({ "name": "Ada" }))),
        ("/news", Does::Says(200, json!([1]))),
    ]);
    let inputs = Inputs::new(vec![("id".to_owned(), "7".to_owned())], Some("lang=%C3%A6"));
    let (degraded, body) = body(parts.run(&recipe, &inputs).await).await;
    assert_eq!(body, json!({ "customer": "Ada", "news": [1], "order": { "customer": { "id": "a b" } } }));
    assert_eq!(degraded, None);
    assert_eq!(*parts.asked.borrow(), ["/news", "/orders/7", "/customers/a%20b?lang=%C3%A6"], "side by side, then the last");
}

#[tokio::test]
async fn a_required_part_that_fails_cancels_what_is_under_way() {
    let recipe = recipe(json!({ "parts": { "a": { "path": "/hangs" }, "b": { "path": "/fails" } } }));
    for (does, status) in [
        (Does::Says(404, json!({ "code": "x.none", "detail": "there is none" })), 404),
        (Does::Says(500, json!({})), 502),
        (Does::Says(503, Value::Null), 502),
        (Does::Refused, 403),
        (Does::Text("no JSON"), 502),
    ] {
        let parts = Parts::new([("/hangs", Does::Hangs), ("/fails", does)]);
        let error = parts.run(&recipe, &Inputs::default()).await.into_response().expect_err("a failure");
        assert_eq!((error.status(), error.code()), (status, "gateway.part_failed"));
        assert_eq!(*parts.cancelled.borrow(), ["/hangs"], "{status}");
    }
}

#[tokio::test]
async fn every_mode_meets_every_outcome() {
    let outcomes = [
        ("good", Does::Says(200, json!({ "v": 1 })), None),
        ("empty", Does::Text(""), None),
        ("missing", Does::Says(404, json!({ "code": "x.none", "detail": "none" })), Some(404)),
        ("broken", Does::Says(500, json!("no problem document")), Some(500)),
        ("refused", Does::Refused, Some(403)),
        ("nonsense", Does::Text("<html>"), Some(502)),
        ("late", Does::Hangs, Some(504)),
    ];
    for (one, first, first_fails) in &outcomes {
        for (other, second, second_fails) in &outcomes {
            for mode in ["optional", "fallback"] {
                let mut part = json!({ "path": "/two", "mode": mode, "timeout_ms": 20 });
                if mode == "fallback" {
                    part["fallback"] = json!({ "v": "instead" });
                }
                let recipe = recipe(json!({ "parts": { "one": { "path": "/one", "timeout_ms": 20 }, "two": part } }));
                let parts = Parts::new([("/one", first.clone()), ("/two", second.clone())]);
                let answer = parts.run(&recipe, &Inputs::default()).await;
                let name = format!("{one}, {mode} {other}");
                if let Some(status) = first_fails {
                    let error = answer.into_response().expect_err(&name);
                    let expected = match status {
                        400..=499 | 504 => *status,
                        _ => 502,
                    };
                    assert_eq!(error.status(), expected, "{name}");
                    continue;
                }
                let (degraded, body) = body(answer).await;
                match second_fails {
                    None => assert_eq!((&body["errors"], degraded), (&Value::Null, None), "{name}"),
                    Some(status) => {
                        assert_eq!(body["errors"]["two"]["status"], *status, "{name}");
                        assert_eq!(degraded.as_deref(), Some("parts=\"two\""), "{name}");
                        let stands = if mode == "fallback" { json!({ "v": "instead" }) } else { Value::Null };
                        assert_eq!(body["two"], stands, "{name}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_part_without_what_it_needs_is_not_asked() {
    let recipe = recipe(json!({ "parts": {
        "a": { "path": "/a", "mode": "optional" },
        "b": { "path": "/b/{a/id}", "mode": "optional" },
        "c": { "path": "/c/{b/id}", "mode": "fallback", "fallback": 7 },
    } }));
    let parts = Parts::new([("/a", Does::Says(500, json!({})))]);
    let (degraded, body) = body(parts.run(&recipe, &Inputs::default()).await).await;
    assert_eq!(*parts.asked.borrow(), ["/a"]);
    assert_eq!((&body["a"], &body["b"], &body["c"]), (&Value::Null, &Value::Null, &json!(7)));
    assert_eq!(body["errors"]["b"]["code"], "gateway.part_not_asked");
    assert_eq!(degraded.as_deref(), Some("parts=\"a b c\""));
}

#[tokio::test]
async fn the_whole_ends_at_its_deadline_and_too_much_is_not_taken() {
    let recipe = recipe(json!({ "timeout_ms": 20, "parts": {
        "a": { "path": "/hangs", "mode": "optional", "timeout_ms": 60_000 },
        "b": { "path": "/long", "mode": "optional", "limit_bytes": 8 },
        "c": { "path": "/small", "mode": "optional", "pick": "/none" },
    } }));
    let parts = Parts::new([
        ("/hangs", Does::Hangs),
        ("/long", Does::Says(200, json!("123456789"))),
        ("/small", Does::Says(200, json!({ "some": 1 }))),
    ]);
    let began = Instant::now();
    let (_, body) = body(parts.run(&recipe, &Inputs::default()).await).await;
    assert!(began.elapsed().as_secs() < 30, "not the part's own minute");
    let code = |part: &str| body["errors"][part]["code"].clone();
    assert_eq!(code("a"), "gateway.part_late");
    assert_eq!(code("b"), "gateway.part_too_large");
    assert_eq!(code("c"), "gateway.part_incomplete");
}

#[tokio::test]
async fn no_more_parts_than_allowed_are_under_way() {
    let many: serde_json::Map<String, Value> =
        (0..9).map(|number| (format!("p{number}"), json!({ "path": "/hangs", "mode": "optional" }))).collect();
    let recipe = recipe(json!({ "timeout_ms": 20, "parallel": 3, "parts": many }));
    let parts = Parts::new([("/hangs", Does::Hangs)]);
    let (_, body) = body(parts.run(&recipe, &Inputs::default()).await).await;
    assert_eq!(body["errors"].as_object().map(serde_json::Map::len), Some(9));
    assert_eq!(parts.under_way.get(), (0, 3), "three at most, and none is left behind");
}

#[tokio::test]
async fn parts_are_given_as_they_were_written() {
    let recipe = recipe(json!({ "parts": {
        "all": { "path": "/prices" },
        "one": { "path": "/prices", "pick": "/list/1/a~1b" },
        "next": { "path": "/next/{all/id}" },
        "none": { "path": "/prices", "pick": "/list/01", "mode": "optional" },
    } }));
    let text = r#"{"z": 12345678901234567890.1230, "list":[ 1e2, {"a\/b": "\u00fc"} ], "a": 18446744073709551617, "id": 7}"#;
    let parts = Parts::new([("/prices", Does::Text(text)), ("/next/7", Does::Says(200, json!(1)))]);
    let response = parts.run(&recipe, &Inputs::default()).await.into_response().expect("an answer");
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let said = String::from_utf8(bytes.to_vec()).expect("text");
    assert!(said.starts_with(&format!(r#"{{"all":{text},"errors":{{"none":"#)), "{said}");
    assert!(said.ends_with(r#""next":1,"none":null,"one":"\u00fc"}"#), "{said}");
}
