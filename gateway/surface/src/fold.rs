//! Says once what a document says often: equal responses and parameters become components. The
//! document means the same and is a fraction as long. Not for schemas, whose names are the author's.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::finish::allowed;
use crate::kinds::METHODS;

/// How often something stands in a document before it is named.
const OFTEN: usize = 3;

/// Returns the document with its repeated responses and parameters folded.
pub fn fold(document: &Value) -> Value {
    let mut folded = document.clone();
    let mut responses = Folder::new(document, "responses");
    let mut parameters = Folder::new(document, "parameters");
    each_operation(&mut folded, |operation| {
        for (_, response) in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
            responses.count(response);
        }
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            parameters.count(parameter);
        }
    });
    each_operation(&mut folded, |operation| {
        for (status, response) in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
            let name = format!("{}{status}", schema_name(response));
            responses.replace(response, &name);
        }
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or("parameter").to_owned();
            parameters.replace(parameter, &name);
        }
    });
    for folder in [responses, parameters] {
        if !folder.members.is_empty() {
            folded["components"][folder.kind] = Value::Object(folder.members);
        }
    }
    folded
}

fn each_operation(document: &mut Value, mut work: impl FnMut(&mut Value)) {
    for (_, item) in document.get_mut("paths").and_then(Value::as_object_mut).into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            if METHODS.contains(&method.as_str()) {
                work(operation);
            }
        }
    }
}

struct Folder {
    kind: &'static str,
    members: Map<String, Value>,
    counts: HashMap<String, usize>,
    names: HashMap<String, String>,
}

impl Folder {
    fn new(document: &Value, kind: &'static str) -> Self {
        let members = document["components"][kind].as_object().cloned().unwrap_or_default();
        Self { kind, members, counts: HashMap::new(), names: HashMap::new() }
    }

    fn count(&mut self, value: &Value) {
        if value.get("$ref").is_none() {
            *self.counts.entry(value.to_string()).or_default() += 1;
        }
    }

    fn replace(&mut self, value: &mut Value, wanted: &str) {
        let text = value.to_string();
        if self.counts.get(&text).is_none_or(|count| *count < OFTEN) {
            return;
        }
        let members = &mut self.members;
        let name = self.names.entry(text).or_insert_with(|| {
            let wanted = allowed(wanted);
            let mut name = wanted.clone();
            let mut number = 1;
            while members.contains_key(&name) {
                number += 1;
                name = format!("{wanted}_{number}");
            }
            members.insert(name.clone(), value.clone());
            name
        });
        *value = json!({ "$ref": format!("#/components/{}/{name}", self.kind) });
    }
}

/// Returns the name of the schema that a response is made of.
fn schema_name(response: &Value) -> String {
    let mut content = response["content"].as_object().into_iter().flat_map(Map::values);
    let reference = content.find_map(|media| media["schema"]["$ref"].as_str());
    reference.and_then(|text| text.rsplit('/').next()).unwrap_or("Answer").to_owned()
}
