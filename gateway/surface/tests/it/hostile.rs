//! Documents that mean harm: nested, endless, huge, wrongly typed. Not for honest mistakes.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::house::{document, door, gives, plain, to, unite};

#[test]
fn nesting_without_end_is_refused() {
    let mut schema = json!({ "type": "string" });
    for _ in 0..300 {
        schema = json!({ "items": schema });
    }
    let given = document("3.1.0", json!({ "/a": gives(schema.clone()) }), json!({}));
    let error = surface::unite(&door(), &[plain("deep", given)]).expect_err("too deep");
    assert_eq!(error.code(), "gateway.document_too_deep");
    let data = document("3.1.0", json!({ "/a": gives(json!({ "default": schema })) }), json!({}));
    assert_eq!(surface::unite(&door(), &[plain("deep", data)]).expect_err("too deep").code(), "gateway.document_too_deep");
    // As deep as JSON is read is deep enough for anybody.
    let mut text = String::from("{\"type\":\"string\"}");
    for _ in 0..45 {
        text = format!("{{\"items\":{text},\"type\":\"array\"}}");
    }
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    unite(&[plain("deep", document("3.1.0", json!({ "/a": gives(schema) }), json!({})))]);
}

#[test]
fn references_in_a_circle_end() {
    let schemas = json!({ "A": to("B"), "B": to("A"), "Self": to("Self"), "Tree": { "items": to("Tree") } });
    let mut given = document("3.1.0", json!({ "/a": gives(json!({ "anyOf": [to("A"), to("Self"), to("Tree")] })) }), schemas);
    given["components"]["parameters"] = json!({ "P": { "$ref": "#/components/parameters/P" } });
    given["components"]["pathItems"] = json!({ "I": { "get": { "responses": {}, "callbacks": { "c": { "e": { "$ref": "#/components/pathItems/I" } } } } } });
    given["paths"]["/a"]["get"]["parameters"] = json!([{ "$ref": "#/components/parameters/P" }]);
    given["paths"]["/b"] = json!({ "$ref": "#/components/pathItems/I" });
    let united = unite(&[plain("a", given)]);
    assert_eq!(united.document["components"]["schemas"]["Tree"]["items"], to("Tree"));
    assert_eq!(united.document["paths"]["/b"]["get"]["callbacks"]["c"]["e"]["$ref"], "#/components/pathItems/I");
}

#[test]
fn ten_thousand_paths_take_little_time() {
    let paths: Map<String, Value> = (0..10_000)
        .map(|at| {
            let mut item = gives(to(&format!("S{}", at % 3_000)));
            item["get"]["operationId"] = json!(format!("get{at}"));
            (format!("/group{}/thing{at}/{{id}}", at % 50), item)
        })
        .collect();
    let schemas: Map<String, Value> =
        (0..3_000).map(|at| (format!("S{at}"), json!({ "properties": { "n": to(&format!("S{}", (at * 7 + 1) % 3_000)), "v": { "maximum": at } } }))).collect();
    let one = plain("one", document("3.0.3", Value::Object(paths.clone()), Value::Object(schemas.clone())));
    let moved = paths.into_iter().map(|(path, item)| (format!("/two{path}"), item)).collect();
    let two = plain("two", document("3.0.3", Value::Object(moved), Value::Object(schemas)));
    let began = Instant::now();
    let united = unite(&[one, two]);
    // Nothing near quadratic: that would be minutes.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(united.document["paths"].as_object().expect("paths").len(), 20_000);
    assert_eq!(united.document["components"]["schemas"].as_object().expect("schemas").len(), 3_000, "all shared");
}

#[test]
fn wrong_types_everywhere_are_survived() {
    let wrong = [json!(null), json!(true), json!(-1), json!("text"), json!([[]]), json!({ "$ref": 5 }), json!({ "$ref": "#/%ff~3" }), json!([{ "$ref": "#/x" }])];
    for value in &wrong {
        for place in ["parameters", "requestBody", "responses", "callbacks", "security", "tags", "operationId", "servers", "deprecated", "summary"] {
            let mut given = document("3.0.0", json!({ "/a": gives(json!({})) }), json!({}));
            given["paths"]["/a"]["get"][place] = value.clone();
            let united = surface::unite(&door(), &[plain("a", given)]).expect("survives");
            // Whatever it is, what is made of it does not panic either.
            let _ = surface::collection(&united.document, &surface::Hints::default());
            let _ = surface::compare(&united.document, &json!({}));
            let _ = surface::compare(&json!({}), &united.document);
            let _ = surface::fold(&united.document);
        }
        for place in ["items", "properties", "allOf", "discriminator", "nullable", "exclusiveMinimum", "type", "enum", "additionalProperties"] {
            let schema = json!({ place: value, "oneOf": value });
            let given = document("3.0.0", json!({ "/a": gives(schema) }), json!({}));
            let united = surface::unite(&door(), &[plain("a", given)]).expect("survives");
            let _ = surface::collection(&united.document, &surface::Hints::default());
            let _ = surface::compare(&united.document, &united.document);
        }
        for place in ["components", "tags", "servers", "info", "webhooks", "security", "x-a"] {
            let mut given = document("3.1.0", json!({ "/a": gives(json!({})), "/b": value, "no slash": gives(json!({})) }), json!({}));
            given[place] = value.clone();
            surface::unite(&door(), &[plain("a", given)]).expect("survives");
        }
    }
}

#[test]
fn names_of_any_kind_become_names_that_may_be() {
    let odd = ["a b", "ä/ö", "~", "~1", "", "日本", "x{}", "\u{0}c0", "A\nB", "%25"];
    let schemas: Map<String, Value> = odd.iter().enumerate().map(|(at, name)| ((*name).to_owned(), json!({ "maximum": at }))).collect();
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1").replace('%', "%25");
    let paths: Map<String, Value> = odd.iter().enumerate()
        .map(|(at, name)| (format!("/{at}"), gives(json!({ "$ref": format!("#/components/schemas/{}", escaped(name)) }))))
        .collect();
    let united = unite(&[plain("ünï çode", document("3.1.0", Value::Object(paths), Value::Object(schemas)))]);
    assert!(united.findings.is_empty(), "{:?}", united.findings);
    let schemas = united.document["components"]["schemas"].as_object().expect("schemas");
    assert_eq!(schemas.len(), odd.len(), "{schemas:?}");
    for (at, _) in odd.iter().enumerate() {
        let reference = united.document["paths"][format!("/{at}")]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].clone();
        let pointer = reference.as_str().expect("a reference")[1..].to_owned();
        assert_eq!(united.document.pointer(&pointer), Some(&json!({ "maximum": at })));
    }
}
