//! What counts as breaking, and how it is said. Not for uniting.

use serde_json::{Value, json};
use surface::Weight::{self, Breaking, Careful, Safe};

use crate::house::{document, to};

fn operation(sent: Value, answered: Value) -> Value {
    json!({
        "operationId": "do", "security": [{ "bearer": [] }],
        "parameters": [{ "name": "q", "in": "query", "schema": { "type": "integer", "maximum": 9 } }],
        "requestBody": { "content": { "application/json": { "schema": sent } } },
        "responses": { "200": { "description": "", "headers": { "ETag": {} },
            "content": { "application/json": { "schema": answered } } }, "404": { "description": "" } },
    })
}

fn whole(operation: Value) -> Value {
    document("3.1.0", json!({ "/x/{id}": { "post": operation } }), json!({}))
}

/// Returns the changes that `change` makes to an operation.
fn changes(change: impl Fn(&mut Value)) -> Vec<(Weight, String)> {
    let schema = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "string", "maxLength": 5 }, "b": { "enum": ["x", "y"] } } });
    let before = operation(schema.clone(), schema);
    let mut now = before.clone();
    change(&mut now);
    let found = surface::compare(&whole(before), &whole(now));
    found.into_iter().map(|change| {
        assert_eq!(change.at, "POST /x/{id}");
        (change.weight, change.what)
    }).collect()
}

fn sent(operation: &mut Value) -> &mut Value {
    &mut operation["requestBody"]["content"]["application/json"]["schema"]
}

fn given(operation: &mut Value) -> &mut Value {
    &mut operation["responses"]["200"]["content"]["application/json"]["schema"]
}

#[test]
fn each_change_of_an_operation_has_its_weight() {
    type Case = (Weight, &'static str, fn(&mut Value));
    let table: Vec<Case> = vec![
        (Breaking, "the operation id `do` became \"done\"", |o| o["operationId"] = json!("done")),
        (Breaking, "the query parameter `q` is gone", |o| o["parameters"] = json!([])),
        (Breaking, "the query parameter `q` is required now", |o| o["parameters"][0]["required"] = json!(true)),
        (Breaking, "the query parameter `q`: maximum is 8 now", |o| o["parameters"][0]["schema"]["maximum"] = json!(8)),
        (Breaking, "the query parameter `q` is string now, not integer", |o| o["parameters"][0]["schema"]["type"] = json!("string")),
        (Breaking, "needs its body now", |o| o["requestBody"]["required"] = json!(true)),
        (Breaking, "takes no body any more", |o| o["requestBody"] = json!(null)),
        (Breaking, "never answers 200 any more", |o| drop(o["responses"].as_object_mut().map(|all| all.remove("200")))),
        (Safe, "never answers 404 any more", |o| drop(o["responses"].as_object_mut().map(|all| all.remove("404")))),
        (Careful, "may answer 201", |o| o["responses"]["201"] = json!({ "description": "" })),
        (Safe, "may answer 409", |o| o["responses"]["409"] = json!({ "description": "" })),
        (Breaking, "the answer 200 has no header ETag any more", |o| o["responses"]["200"]["headers"] = json!({})),
        (Breaking, "lets nobody in by bearer any more", |o| o["security"] = json!([{ "other": [] }])),
        (Safe, "lets callers in by nothing too", |o| o["security"] = json!([{ "bearer": [] }, {}])),
        (Breaking, "the body: the new field `c` is required", |o| {
            sent(o)["properties"]["c"] = json!({});
            sent(o)["required"] = json!(["a", "c"]);
        }),
        (Breaking, "the body: the field `b` is required now", |o| sent(o)["required"] = json!(["a", "b"])),
        (Safe, "the body: the field `c` is new", |o| sent(o)["properties"]["c"] = json!({})),
        (Breaking, "the body: fields that are not described are refused now", |o| sent(o)["additionalProperties"] = json!(false)),
        (Breaking, "the body, `b` is never \"y\" any more", |o| sent(o)["properties"]["b"]["enum"] = json!(["x"])),
        (Safe, "the body, `b` may be \"z\"", |o| sent(o)["properties"]["b"]["enum"] = json!(["x", "y", "z"])),
        (Breaking, "the body, `a`: maxLength is 4 now", |o| sent(o)["properties"]["a"]["maxLength"] = json!(4)),
        (Careful, "the body, `a`: pattern is \"^x\" now, not null", |o| sent(o)["properties"]["a"]["pattern"] = json!("^x")),
        (Safe, "the answer 200: the field `c` is new", |o| given(o)["properties"]["c"] = json!({})),
        (Breaking, "the answer 200: the field `b` is gone", |o| drop(given(o)["properties"].as_object_mut().map(|all| all.remove("b")))),
        (Breaking, "the answer 200: the field `a` may be missing now", |o| given(o)["required"] = json!([])),
        (Breaking, "the answer 200, `a` is null or string now, not string", |o| given(o)["properties"]["a"]["type"] = json!(["string", "null"])),
        (Careful, "the answer 200, `b` may be \"z\"", |o| given(o)["properties"]["b"]["enum"] = json!(["x", "y", "z"])),
        (Careful, "the answer 200, `a`: maxLength is 6 now", |o| given(o)["properties"]["a"]["maxLength"] = json!(6)),
        (Safe, "is deprecated", |o| o["deprecated"] = json!(true)),
    ];
    for (weight, what, change) in table {
        let found = changes(change);
        assert!(found.contains(&(weight, what.to_owned())), "{what}: {found:?}");
        let other: Vec<_> = found.iter().filter(|(one, text)| *one == Breaking && text != what).collect();
        assert!(weight == Breaking || other.is_empty(), "{what}: {found:?}");
    }
}

#[test]
fn nothing_is_said_of_what_means_the_same() {
    assert!(changes(|_| {}).is_empty());
    assert!(changes(|o| o["description"] = json!("other words")).is_empty());
    assert!(changes(|o| sent(o)["properties"]["a"]["maxLength"] = json!(6)).is_empty(), "more is taken");
    assert!(changes(|o| given(o)["properties"]["a"]["maxLength"] = json!(4)).is_empty(), "less is given");
    let before = whole(operation(json!({}), json!({})));
    let mut renamed = before.clone();
    renamed["paths"] = json!({ "/x/{other}": before["paths"]["/x/{id}"] });
    assert!(surface::compare(&before, &renamed).is_empty(), "nobody sees a path parameter's name");
}

#[test]
fn operations_come_and_go() {
    let before = whole(operation(json!({}), json!({})));
    let lines = |one: &Value, other: &Value| surface::compare(one, other).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(lines(&before, &json!({})), ["BREAKING  POST /x/{id}: the operation is gone"]);
    assert_eq!(lines(&json!({}), &before), ["safe      POST /x/{id}: is new"]);
}

#[test]
fn a_component_is_told_once_and_circles_end() {
    let schemas = |kind: &str| json!({ "Node": { "type": "object", "properties": { "next": to("Node"), "v": { "type": kind } } } });
    let item = |path: &str| json!({ path: crate::house::gives(to("Node")), "/b": crate::house::gives(json!({ "items": to("Node") })) });
    let found = surface::compare(&document("3.1.0", item("/a"), schemas("string")), &document("3.1.0", item("/a"), schemas("number")));
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["BREAKING  schema Node: answered, `v` is number now, not string"]);
}

#[test]
fn a_change_beneath_an_unchanged_envelope_is_found() {
    let paths = json!({ "/a": crate::house::gives(json!({ "type": "object", "properties": { "data": to("Page") } })) });
    let schemas = |item: Value| json!({ "Page": { "properties": { "items": { "items": to("Item") } } }, "Item": item });
    let before = document("3.1.0", paths.clone(), schemas(json!({ "properties": { "a": {}, "b": {} } })));
    let now = document("3.1.0", paths, schemas(json!({ "properties": { "a": {} } })));
    let lines: Vec<String> = surface::compare(&before, &now).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["BREAKING  schema Item: answered: the field `b` is gone"]);
}
