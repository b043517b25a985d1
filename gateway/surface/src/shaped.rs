//! Answers as the door writes them where it puts a shape around bodies: JSON in its envelope, nothing as
//! null, problems beside their shaped form. Not for documents whose bodies are shaped already.

use kernel::Result;
use serde_json::{Map, Value, json};

use crate::gather::Gather;
use crate::kinds::Kind;
use crate::source::Shape;

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

impl Gather<'_> {
    /// Writes the answers of an operation in a shape.
    pub(crate) fn shaped(&mut self, responses: &Map<String, Value>, shape: Shape) -> Result<Value> {
        let mut written = Map::new();
        for (status, response) in responses {
            if status.starts_with("x-") {
                written.insert(status.clone(), self.data(response, 3)?);
                continue;
            }
            // Written out: others may refer to the same response without a shape.
            let whole = self.followed(response).map_or_else(|| response.clone(), Value::Object);
            self.enter(&["responses", status]);
            let copy = self.copy(&whole, Kind::Response, 3)?;
            self.leave(2);
            let Some(mut copy) = copy.filter(Value::is_object) else { continue };
            let success = status.starts_with('2');
            let content = copy.as_object_mut().map(|copy| copy.entry("content").or_insert_with(|| json!({})));
            if let Some(content) = content.and_then(Value::as_object_mut) {
                let given = content.get(JSON).map(|media| media["schema"].clone());
                let schema = given.filter(|schema| !schema.is_null()).unwrap_or_else(|| json!({}));
                if success && content.contains_key(JSON) {
                    // The author's examples are of what is inside.
                    content.insert(JSON.to_owned(), json!({ "schema": around(shape, schema) }));
                } else if status == "204" {
                    content.insert(JSON.to_owned(), json!({ "schema": around(shape, json!({ "type": "null" })) }));
                } else if let Some(problem) = content.get(PROBLEM).map(|media| media["schema"].clone()) {
                    content.insert(JSON.to_owned(), json!({ "schema": around_problem(shape, problem) }));
                }
                if content.is_empty() {
                    copy.as_object_mut().map(|copy| copy.remove("content"));
                }
            }
            // Both become 200; what says more stays.
            match status.as_str() {
                "204" => drop(written.entry("200").or_insert(copy)),
                _ => drop(written.insert(status.clone(), copy)),
            }
        }
        Ok(Value::Object(written))
    }
}

fn around(shape: Shape, schema: Value) -> Value {
    match shape {
        Shape::Plain => schema,
        Shape::Success => envelope("data", true, schema),
        Shape::Status => json!({
            "type": "object", "required": ["status", "data"],
            "properties": { "status": { "const": "success" }, "data": schema },
        }),
    }
}

fn around_problem(shape: Shape, problem: Value) -> Value {
    match shape {
        Shape::Plain => problem,
        Shape::Success => envelope("error", false, problem),
        Shape::Status => json!({
            "type": "object", "required": ["status", "error", "code"],
            "properties": { "status": { "const": "error" }, "error": { "type": "string" }, "code": { "type": "string" } },
        }),
    }
}

fn envelope(member: &str, success: bool, schema: Value) -> Value {
    json!({
        "type": "object",
        "required": ["success", member, "requestId", "correlationId", "meta"],
        "properties": {
            "success": { "const": success },
            member: schema,
            "requestId": { "type": "string" },
            "correlationId": { "type": "string" },
            "meta": { "type": "object", "properties": { "durationMs": { "type": "integer" } } },
        },
    })
}
