//! Schemas of OpenAPI 3.0 in the words of 3.1, which are those of JSON Schema 2020-12. Not for the
//! rest of a document, which 3.1 reads as it stands.

use serde_json::{Map, Value, json};

/// Returns a schema of 3.0 as one of 3.1.
pub(crate) fn modern(mut schema: Map<String, Value>) -> Value {
    bound(&mut schema, "exclusiveMinimum", "minimum");
    bound(&mut schema, "exclusiveMaximum", "maximum");
    if let Some(example) = schema.remove("example") {
        schema.entry("examples").or_insert_with(|| json!([example]));
    }
    encoded(&mut schema);
    match schema.remove("nullable") {
        Some(Value::Bool(true)) => nullable(schema),
        _ => Value::Object(schema),
    }
}

/// 3.0 says by a boolean whether the bound itself is outside; 3.1 says the bound.
fn bound(schema: &mut Map<String, Value>, exclusive: &str, inclusive: &str) {
    match schema.get(exclusive) {
        Some(Value::Bool(true)) => {
            schema.remove(exclusive);
            if let Some(bound) = schema.remove(inclusive) {
                schema.insert(exclusive.to_owned(), bound);
            }
        }
        Some(Value::Bool(false)) => {
            schema.remove(exclusive);
        }
        _ => {}
    }
}

fn encoded(schema: &mut Map<String, Value>) {
    if schema.get("type").and_then(Value::as_str) != Some("string") {
        return;
    }
    match schema.get("format").and_then(Value::as_str) {
        Some("byte") => {
            schema.remove("format");
            schema.entry("contentEncoding").or_insert(json!("base64"));
        }
        Some("binary") => {
            schema.remove("format");
            schema.entry("contentMediaType").or_insert(json!("application/octet-stream"));
        }
        _ => {}
    }
}

/// By 3.0.3 `nullable` means something beside `type`. Beside `allOf` and its like it is written by
/// many generators, who mean it; there null becomes one of two alternatives.
fn nullable(mut schema: Map<String, Value>) -> Value {
    match schema.get("type").cloned() {
        Some(Value::String(kind)) => {
            schema.insert("type".to_owned(), json!([kind, "null"]));
            Value::Object(schema)
        }
        None if ["allOf", "anyOf", "oneOf"].iter().any(|key| schema.contains_key(*key)) => {
            let mut outer = Map::new();
            for key in ["description", "title", "default", "examples", "deprecated", "readOnly", "writeOnly"] {
                if let Some(value) = schema.remove(key) {
                    outer.insert(key.to_owned(), value);
                }
            }
            outer.insert("anyOf".to_owned(), json!([Value::Object(schema), { "type": "null" }]));
            Value::Object(outer)
        }
        _ => Value::Object(schema),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(schema: Value) -> Value {
        modern(schema.as_object().expect("an object").clone())
    }

    #[test]
    fn each_word_of_3_0_has_its_word_in_3_1() {
        assert_eq!(now(json!({ "type": "string", "nullable": true })), json!({ "type": ["string", "null"] }));
        assert_eq!(now(json!({ "type": "string", "nullable": false })), json!({ "type": "string" }));
        assert_eq!(now(json!({ "nullable": true })), json!({}));
        assert_eq!(
            now(json!({ "allOf": [{ "$ref": "#/x" }], "nullable": true, "description": "d" })),
            json!({ "anyOf": [{ "allOf": [{ "$ref": "#/x" }] }, { "type": "null" }], "description": "d" })
        );
        assert_eq!(
            now(
                json!({ "type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": false })
            ),
            json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 9 })
        );
        assert_eq!(now(json!({ "exclusiveMinimum": true })), json!({}));
        assert_eq!(now(json!({ "example": 1 })), json!({ "examples": [1] }));
        assert_eq!(
            now(json!({ "type": "string", "format": "byte" })),
            json!({ "type": "string", "contentEncoding": "base64" })
        );
        assert_eq!(
            now(json!({ "type": "string", "format": "binary" })),
            json!({ "type": "string", "contentMediaType": "application/octet-stream" })
        );
    }
}
