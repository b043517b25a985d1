//! Postman collections: order, ids, auth, bodies and scripts. Not for running them; newman does.

use serde_json::{Value, json};
use surface::{Again, Hint, Hints};

fn document() -> Value {
    json!({
        "openapi": "3.1.0", "info": { "title": "T", "version": "1" },
        "tags": [{ "name": "things", "description": "About things." }],
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "key": { "type": "apiKey", "name": "X-Key", "in": "header" },
                "basic": { "type": "http", "scheme": "basic" },
            },
            "schemas": {
                "New": { "type": "object", "required": ["name", "size"], "properties": { "name": { "type": "string", "minLength": 3 }, "size": { "type": "integer", "minimum": 5 }, "note": { "type": "string" } } },
                "Tree": { "properties": { "next": { "$ref": "#/components/schemas/Tree" } } },
            },
        },
        "paths": {
            "/api/v1/things/{id}": {
                "delete": { "operationId": "drop", "tags": ["things"], "security": [{ "key": [] }], "responses": { "204": {} } },
                "get": { "operationId": "read", "tags": ["things"], "security": [{ "basic": [] }], "responses": { "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Tree" } } } } } },
            },
            "/api/v1/things": {
                "get": { "operationId": "list", "tags": ["things"], "security": [{ "bearer": [] }], "responses": { "200": {} }, "parameters": [
                    { "name": "limit", "in": "query", "schema": { "type": "integer", "maximum": 200 } },
                    { "name": "q", "in": "query", "required": true, "schema": { "type": "string" } } ] },
                "post": { "operationId": "make", "tags": ["things"], "security": [], "responses": { "201": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/New" } } } } },
                    "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/New" } } } } },
            },
            "/api/v1/things/{id}/parts/{part}": { "delete": { "operationId": "dropPart", "tags": ["things"], "responses": {} } },
        },
    })
}

fn requests(collection: &Value) -> Vec<&Value> {
    let folders = collection["item"].as_array().expect("folders");
    folders.iter().flat_map(|folder| folder["item"].as_array().expect("requests")).collect()
}

fn ids(collection: &Value) -> Vec<&str> {
    requests(collection).iter().map(|request| request["id"].as_str().expect("an id")).collect()
}

#[test]
fn things_are_made_then_read_then_deleted_from_the_depth() {
    let collection = surface::collection(&document(), &Hints::default());
    assert_eq!(ids(&collection), ["make", "list", "read", "dropPart", "drop"]);
    assert_eq!(collection["item"][0]["description"], "About things.");
    let urls: Vec<_> = requests(&collection).iter().map(|one| one["request"]["url"]["raw"].clone()).collect();
    assert_eq!(urls[0], "{{base}}/api/v1/things");
    assert_eq!(urls[1], "{{base}}/api/v1/things?q=example");
    assert_eq!(urls[2], "{{base}}/api/v1/things/{{things_id}}");
    assert_eq!(urls[3], "{{base}}/api/v1/things/{{things_id}}/parts/{{things_parts_part}}");
    let text = collection.to_string();
    assert!(text.contains("pm.collectionVariables.set(\\\"things_id\\\""), "{text}");
    let variables = collection["variable"].as_array().expect("variables");
    for name in ["base", "bearer", "things_id", "things_parts_part"] {
        assert!(variables.iter().any(|one| one["key"] == name), "{name}");
    }
}

#[test]
fn bodies_and_auth_come_from_the_document() {
    let collection = surface::collection(&document(), &Hints::default());
    let all = requests(&collection);
    let body: Value = serde_json::from_str(all[0]["request"]["body"]["raw"].as_str().expect("a body")).expect("JSON");
    assert_eq!(body, json!({ "name": "example", "size": 5 }));
    let kinds: Vec<_> = all.iter().map(|one| one["request"]["auth"]["type"].as_str().expect("a type")).collect();
    assert_eq!(kinds, ["noauth", "bearer", "basic", "noauth", "apikey"]);
    assert_eq!(all[1]["request"]["auth"]["bearer"][0]["value"], "{{bearer}}");
}

#[test]
fn hints_say_what_the_document_does_not() {
    let hint = |change: fn(&mut Hint)| {
        let mut hint = Hint::default();
        change(&mut hint);
        hint
    };
    let hints = Hints {
        succeed: true,
        operations: [
            ("make".to_owned(), hint(|hint| {
                hint.body = Some(json!({ "name": "{{$guid}}" }));
                hint.capture.insert("made".into(), "data.id".into());
            })),
            ("drop".to_owned(), hint(|hint| hint.skip = Some("it would be gone".into()))),
            ("read".to_owned(), hint(|hint| {
                hint.path.insert("id".into(), "{{made}}".into());
                hint.expect = Some(vec![404]);
                hint.why = Some("nobody has it".into());
                hint.order = -1;
            })),
        ]
        .into(),
        again: vec![Again { operation: "list".into(), name: "List once more".into(), hint: hint(|hint| hint.order = 9) }],
        ..Hints::default()
    };
    let collection = surface::collection(&document(), &hints);
    assert_eq!(ids(&collection), ["read", "make", "list", "dropPart", "drop", "list"]);
    let all = requests(&collection);
    assert_eq!(all[0]["request"]["url"]["raw"], "{{base}}/api/v1/things/{{made}}");
    assert!(all[0]["event"][0].to_string().contains("nobody has it"));
    assert!(all[1]["event"][0].to_string().contains("it succeeds"));
    assert!(all[1]["request"]["body"]["raw"].as_str().expect("a body").contains("{{$guid}}"));
    assert!(all[4]["event"][0].to_string().contains("skipRequest"));
    assert_eq!(all[5]["name"], "List once more");
}

#[test]
fn a_schema_without_end_is_not_checked() {
    let collection = surface::collection(&document(), &Hints::default());
    let all = requests(&collection);
    assert!(all[0].to_string().contains("jsonSchema"));
    assert!(!all[2].to_string().contains("jsonSchema"), "a tree has no end");
}

#[test]
fn what_takes_time_is_asked_for_again() {
    let hint = Hint {
        until: Some("inner.items.length > 0".into()),
        before: vec!["// first".into()],
        token: Some("other".into()),
        ..Hint::default()
    };
    let hints = Hints { operations: [("list".to_owned(), hint)].into(), first: vec!["Begin".into()], ..Hints::default() };
    let collection = surface::collection(&document(), &hints);
    let all = requests(&collection);
    assert_eq!(all[1]["event"][0]["listen"], "prerequest");
    assert!(all[1]["event"][0].to_string().contains("// first"));
    let test = all[1]["event"][1]["script"]["exec"].as_array().expect("lines");
    let lines: Vec<&str> = test.iter().filter_map(Value::as_str).collect();
    let again = lines.iter().position(|line| line.contains("setNextRequest")).expect("asks again");
    let checked = lines.iter().position(|line| line.contains("the status is declared")).expect("checks");
    assert!(again < checked, "nothing is checked before it came about");
    assert_eq!(all[1]["request"]["auth"]["bearer"][0]["value"], "{{other}}");
}
