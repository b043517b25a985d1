//! Where references, anchors and links lead. Not for what is copied then.

use std::collections::HashMap;

use kernel::Result;
use serde_json::{Map, Value, json};

use super::{DEPTH, Gather};
use crate::kinds::Kind;
use crate::pointer::{self, Target};

impl Gather<'_> {
    pub(super) fn reference(
        &mut self,
        reference: &str,
        object: &Map<String, Value>,
        kind: Kind,
        depth: usize,
    ) -> Result<Option<Value>> {
        let Some(pointer) = self.resolve(reference, kind) else {
            let what = match pointer::read(reference, self.source.url.as_deref()) {
                Target::Elsewhere => "refers to another document",
                _ => "refers to what is not there",
            };
            self.found(format!("`{reference}` {what}; it is shown as undescribed, or left out"));
            return Ok(instead(kind));
        };
        let id = self.entry(kind, pointer);
        self.targets.push(id);
        let mut copy = Map::new();
        // Beside a reference 3.0 ignores everything; 3.1 takes everything in a schema, and two words elsewhere.
        for (key, member) in object.iter().filter(|(key, _)| *key != "$ref") {
            if kind == Kind::Schema && !self.old {
                let siblings = Map::from_iter([(key.clone(), member.clone())]);
                copy.extend(self.members(&siblings, kind, depth)?);
            } else if matches!(key.as_str(), "summary" | "description") && member.is_string() {
                copy.insert(key.clone(), self.data(member, depth)?);
            }
        }
        copy.insert("$ref".to_owned(), Value::String(format!("\0c{id}")));
        Ok(Some(Value::Object(copy)))
    }

    /// Returns the pointer that a reference means, if something of the kind is there.
    pub(crate) fn resolve(&mut self, reference: &str, kind: Kind) -> Option<String> {
        let pointer = match pointer::read(reference, self.source.url.as_deref()) {
            Target::Pointer(pointer) => match &self.resource {
                // Within a schema that has an id of its own, pointers begin there.
                Some(resource) if self.is(&format!("{resource}{pointer}"), kind) => format!("{resource}{pointer}"),
                _ => pointer,
            },
            Target::Anchor(name) => self.anchor(&name)?,
            Target::Elsewhere => self.anchor(reference.trim_end_matches('#'))?,
        };
        self.is(&pointer, kind).then_some(pointer)
    }

    pub(super) fn is(&self, pointer: &str, kind: Kind) -> bool {
        let target = pointer::find(&self.source.document, pointer);
        !pointer.is_empty()
            && target.is_some_and(|value| value.is_object() || (kind == Kind::Schema && value.is_boolean()))
    }

    fn anchor(&mut self, name: &str) -> Option<String> {
        let document = &self.source.document;
        self.anchors.get_or_insert_with(|| anchors(document)).get(name).cloned()
    }

    /// Copies a link to an operation that is shown; another leads nowhere.
    pub(super) fn link(&mut self, object: &Map<String, Value>, depth: usize) -> Result<Option<Value>> {
        let by_id = object.get("operationId").and_then(Value::as_str);
        let by_reference = object.get("operationRef").and_then(Value::as_str);
        let slot = match (by_id, by_reference) {
            (Some(id), _) => self.ids.get(id).copied(),
            (None, Some(reference)) => match pointer::read(reference, self.source.url.as_deref()) {
                Target::Pointer(pointer) => match pointer::parts(&pointer).as_slice() {
                    [paths, path, method] if paths == "paths" => {
                        self.spots.iter().find(|((one, name), _)| one == path && *name == method).map(|(_, slot)| *slot)
                    }
                    _ => None,
                },
                _ => None,
            },
            (None, None) => None,
        };
        let Some(slot) = slot else { return Ok(None) };
        let mut copy = self.members(object, Kind::Link, depth)?;
        copy.remove("operationRef");
        copy.remove("server");
        copy.insert("operationId".to_owned(), Value::String(format!("\0o{slot}")));
        Ok(Some(Value::Object(copy)))
    }
}

/// Returns what stands in the place of something that is not there.
pub(super) fn instead(kind: Kind) -> Option<Value> {
    match kind {
        Kind::Schema | Kind::Header | Kind::Example => Some(json!({})),
        Kind::Response => Some(json!({ "description": "Not described" })),
        Kind::RequestBody => Some(json!({ "content": { "*/*": {} } })),
        _ => None,
    }
}

/// Returns where each anchor and each id of a schema is.
fn anchors(document: &Value) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut open = vec![(String::new(), document, 0)];
    while let Some((pointer, value, depth)) = open.pop() {
        let members: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, member)| (pointer::escaped(key), member)).collect(),
            Value::Array(list) => {
                list.iter().enumerate().map(|(number, member)| (number.to_string(), member)).collect()
            }
            _ => continue,
        };
        for key in ["$anchor", "$id"] {
            if let Some(name) = value.get(key).and_then(Value::as_str) {
                found.entry(name.trim_end_matches('#').to_owned()).or_insert_with(|| pointer.clone());
            }
        }
        if depth < DEPTH {
            open.extend(members.into_iter().rev().map(|(key, member)| (format!("{pointer}/{key}"), member, depth + 1)));
        }
    }
    found
}
