//! What the tests have in common. Not for rules.

use std::sync::Arc;

use serde_json::{Value, json};
use surface::{Access, Door, Paths, Route, Source, United};

/// A door that lets people in by a bearer token.
pub fn door() -> Door {
    let own = json!({
        "info": { "title": "Door", "version": "1" },
        "servers": [{ "url": "/" }],
        "components": { "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } } },
    });
    Door::of(&own, vec![json!({ "bearer": [] })])
}

/// An upstream shown whole, at the paths of its document, with its own security.
pub fn plain(name: &str, document: Value) -> Source {
    Source {
        name: name.to_owned(),
        document: Arc::new(document),
        url: None,
        paths: Paths::Same,
        base: None,
        own: false,
        access: Access::Origin,
    }
}

/// A route for all methods.
pub fn route(path: &str, upstream: &str) -> Route {
    Route { path: path.to_owned(), upstream: upstream.to_owned(), ..Route::default() }
}

/// A document with these paths and component schemas.
pub fn document(version: &str, paths: Value, schemas: Value) -> Value {
    json!({ "openapi": version, "info": { "title": "T", "version": "1" }, "paths": paths,
        "components": { "schemas": schemas } })
}

/// A GET that answers a schema.
pub fn gives(schema: Value) -> Value {
    json!({ "get": { "responses": { "200": { "description": "d", "content": { "application/json": { "schema": schema } } } } } })
}

/// A reference to a component schema.
pub fn to(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The schema that a GET of the united document answers.
pub fn answered<'a>(united: &'a United, path: &str) -> &'a Value {
    &united.document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
}

/// Unites, and insists that every reference of the result leads somewhere and every id is its own.
pub fn unite(sources: &[Source]) -> United {
    let united = surface::unite(&door(), sources).expect("unites");
    assert_whole(&united.document);
    united
}

/// Insists that every reference leads somewhere and every operation id is its own.
pub fn assert_whole(document: &Value) {
    let mut open = vec![document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.strip_prefix('#').expect("a local reference");
                    assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                open.extend(map.iter().filter(|(key, _)| !["example", "examples", "default", "enum", "const"].contains(&key.as_str())).map(|(_, value)| value));
            }
            Value::Array(list) => open.extend(list),
            Value::String(text) => assert!(!text.starts_with('\0'), "a placeholder is left"),
            _ => {}
        }
    }
    let items = document["paths"].as_object().into_iter().flat_map(|paths| paths.values());
    let operations = items.flat_map(|item| item.as_object().into_iter().flatten());
    let mut ids: Vec<&str> = operations.filter_map(|(_, operation)| operation["operationId"].as_str()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operation id is there twice");
}
