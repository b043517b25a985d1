//! Makes an example of a schema: the author's own where there is one, else the least that keeps it.
//! Not for patterns, of which only the usual ones are known.

use serde_json::{Map, Value, json};

use crate::diff::follow;

/// How deep an example goes.
const DEPTH: usize = 12;

/// Returns an example of this schema.
pub(crate) fn example(document: &Value, schema: &Value) -> Value {
    make(document, schema, 0)
}

fn make(document: &Value, schema: &Value, depth: usize) -> Value {
    let schema = follow(document, schema);
    if depth > DEPTH {
        return Value::Null;
    }
    let said = [&schema["examples"][0], &schema["example"], &schema["default"], &schema["const"], &schema["enum"][0]];
    if let Some(said) = said.into_iter().find(|value| !value.is_null()) {
        return said.clone();
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let own = schema.get("properties").map(|_| object(document, schema, depth));
        let parts = parts.iter().map(|part| make(document, part, depth + 1)).chain(own);
        let members = parts.filter_map(|part| part.as_object().cloned()).flatten();
        return Value::Object(members.collect());
    }
    for word in ["oneOf", "anyOf"] {
        let alternatives = schema[word].as_array().into_iter().flatten();
        if let Some(first) =
            alternatives.filter(|one| one["type"] != "null").map(|one| make(document, one, depth + 1)).next()
        {
            return first;
        }
    }
    match kind(schema) {
        "object" => object(document, schema, depth),
        "array" => {
            let least = schema["minItems"].as_u64().unwrap_or(0).clamp(1, 5);
            Value::Array((0..least).map(|_| make(document, &schema["items"], depth + 1)).collect())
        }
        "integer" => number(schema).map_or(json!(1), |number| json!(number.ceil() as i64)),
        "number" => number(schema).map_or(json!(1.5), |number| json!(number)),
        "boolean" => json!(true),
        "string" => json!(text(schema)),
        _ => Value::Null,
    }
}

fn kind(schema: &Value) -> &str {
    let list =
        schema["type"].as_array().and_then(|list| list.iter().filter_map(Value::as_str).find(|kind| *kind != "null"));
    match schema["type"].as_str().or(list) {
        Some(kind) => kind,
        None if schema.get("properties").is_some() => "object",
        None => "null",
    }
}

fn object(document: &Value, schema: &Value, depth: usize) -> Value {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut made = Map::new();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        if required.contains(&name.as_str()) && follow(document, member)["readOnly"] != true {
            made.insert(name.clone(), make(document, member, depth + 1));
        }
    }
    Value::Object(made)
}

fn number(schema: &Value) -> Option<f64> {
    let above = schema["exclusiveMinimum"].as_f64().map(|bound| bound + 1.0);
    let below = schema["exclusiveMaximum"].as_f64().map(|bound| bound - 1.0);
    let least = schema["minimum"].as_f64().or(above);
    let most = schema["maximum"].as_f64().or(below);
    match (least, most) {
        (Some(least), _) => Some(least.max(1.0).min(most.unwrap_or(f64::MAX))),
        (None, Some(most)) if most < 1.0 => Some(most),
        _ => None,
    }
}

fn text(schema: &Value) -> String {
    let known = match schema["format"].as_str().unwrap_or_default() {
        "date-time" => "2026-01-02T03:04:05Z",
        "date" => "2026-01-02",
        "time" => "03:04:05Z",
        "email" => "someone@example.com",
        "uuid" => "01890a5d-ac96-774b-bcce-b302099a8057",
        "uri" | "url" => "https://example.com/",
        "hostname" => "example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "password" => "correct horse battery staple",
        _ => "example",
    };
    let least = usize::try_from(schema["minLength"].as_u64().unwrap_or(0)).unwrap_or(0).min(4096);
    let most = usize::try_from(schema["maxLength"].as_u64().unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let mut text: String = known.chars().take(most).collect();
    while text.chars().count() < least {
        text.push('e');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_keeps_its_schema() {
        let document = json!({ "components": { "schemas": {
            "Loop": { "type": "object", "required": ["next"], "properties": { "next": { "$ref": "#/components/schemas/Loop" } } },
            "Name": { "type": "string", "minLength": 9, "maxLength": 9 },
        } } });
        let example = |schema| example(&document, &schema);
        assert_eq!(example(json!({ "$ref": "#/components/schemas/Name" })), "exampleee");
        assert_eq!(example(json!({ "type": "string", "maxLength": 2 })), "ex");
        assert_eq!(example(json!({ "type": "integer", "minimum": 3 })), 3);
        assert_eq!(example(json!({ "type": ["null", "integer"], "exclusiveMinimum": 4 })), 5);
        assert_eq!(example(json!({ "enum": ["a", "b"] })), "a");
        assert_eq!(example(json!({ "oneOf": [{ "type": "null" }, { "const": 7 }] })), 7);
        assert_eq!(
            example(json!({ "allOf": [{ "required": ["a"], "properties": { "a": { "type": "boolean" }, "b": {} } }] })),
            json!({ "a": true })
        );
        assert!(example(json!({ "$ref": "#/components/schemas/Loop" })).is_object(), "it ends");
    }
}
