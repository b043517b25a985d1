//! Writes an operation as the door shows it: its parameters at its new path, its id, tags and
//! security. Not for its bodies, which are copied as they are.

use kernel::Result;
use serde_json::{Map, Value, json};

use crate::gather::Gather;
use crate::kinds::Kind;
use crate::pointer::{self, Target};
use crate::select::{Candidate, HOPS};
use crate::source::{Access, Shape};
use crate::template;

impl Gather<'_> {
    /// Writes an operation; `door` holds the placeholders of what the door itself asks for.
    pub(crate) fn operation(
        &mut self,
        candidate: &Candidate<'_>,
        slot: Option<usize>,
        door: &[Value],
    ) -> Result<Value> {
        let empty = Map::new();
        let raw = candidate.item.get(candidate.method).and_then(Value::as_object).unwrap_or(&empty);
        self.stand_at(&format!("/paths/{}/{}", pointer::escaped(candidate.origin), candidate.method));
        let own = self.source.own;
        let mut plain = raw.clone();
        for name in ["operationId", "parameters", "security"] {
            plain.remove(name);
        }
        let shaped = match raw.get("responses").and_then(Value::as_object).filter(|_| candidate.shape != Shape::Plain) {
            Some(responses) => {
                plain.remove("responses");
                Some(self.shaped(responses, candidate.shape)?)
            }
            None => None,
        };
        let mut written = self.members(&plain, Kind::Operation, 2)?;
        written.extend(shaped.map(|responses| ("responses".to_owned(), responses)));
        if let Some(slot) = slot {
            written.insert("operationId".to_owned(), json!(format!("\0o{slot}")));
        }
        if !own {
            self.borrow_words(candidate, &mut written)?;
            written.insert("tags".to_owned(), self.tags(raw));
        }
        let parameters = self.parameters(candidate, raw)?;
        if !parameters.is_empty() || raw.contains_key("parameters") {
            written.insert("parameters".to_owned(), Value::Array(parameters));
        }
        let asked = match candidate.access {
            Access::Door => Some(Value::Array(door.to_vec())),
            Access::Public => Some(json!([])),
            Access::Origin => {
                let document = self.source.document.clone();
                let asked = raw.get("security").or_else(|| document.get("security"));
                asked.and_then(|asked| self.security(asked))
            }
        };
        written.extend(asked.map(|asked| ("security".to_owned(), asked)));
        Ok(Value::Object(written))
    }

    /// What a path item says of all its operations; the path may be shared with another document.
    fn borrow_words(&mut self, candidate: &Candidate<'_>, written: &mut Map<String, Value>) -> Result<()> {
        for (key, value) in candidate.item.iter() {
            let shared = key == "summary" || key == "description" || key.starts_with("x-");
            if shared && !written.contains_key(key) {
                written.insert(key.clone(), self.data(value, 2)?);
            }
        }
        Ok(())
    }

    fn tags(&self, raw: &Map<String, Value>) -> Value {
        let named = raw.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let tags: Vec<String> = named.map(|tag| tag_name(&self.source.name, tag)).collect();
        if tags.is_empty() { json!([self.source.name]) } else { json!(tags) }
    }

    /// Returns the parameters of path item and operation together, at the door's path.
    fn parameters(&mut self, candidate: &Candidate<'_>, raw: &Map<String, Value>) -> Result<Vec<Value>> {
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
        let (shared, own) = (list(candidate.item.get("parameters")), list(raw.get("parameters")));
        let identity = |gather: &Self, value: &Value| {
            let object = gather.followed(value)?;
            Some((object.get("name")?.as_str()?.to_owned(), object.get("in")?.as_str()?.to_owned()))
        };
        let names: Vec<_> = own.iter().filter_map(|value| identity(self, value)).collect();
        let shared = shared.into_iter().filter(|value| identity(self, value).is_none_or(|name| !names.contains(&name)));
        let mut written = Vec::new();
        let mut there = Vec::new();
        let all: Vec<Value> = shared.chain(own).collect();
        for (number, value) in all.iter().enumerate() {
            self.enter(&["parameters", &number.to_string()]);
            let of_path = identity(self, value).filter(|(_, place)| place == "path").map(|(name, _)| name);
            let copy = match &of_path {
                Some(name) if candidate.appearance.fixed.contains(name) => None,
                Some(name) => match candidate.renames.get(name) {
                    Some(new) => {
                        there.push(new.clone());
                        let mut renamed = self.followed(value).unwrap_or_default();
                        renamed.insert("name".to_owned(), json!(new));
                        self.copy(&Value::Object(renamed), Kind::Parameter, 4)?
                    }
                    None => {
                        there.push(name.clone());
                        self.copy(value, Kind::Parameter, 4)?
                    }
                },
                None => self.copy(value, Kind::Parameter, 4)?,
            };
            self.leave(2);
            written.extend(copy);
        }
        for name in template::names(&candidate.path).into_iter().filter(|name| !there.contains(name)) {
            let added =
                candidate.appearance.added.contains(&name) || candidate.renames.values().any(|new| *new == name);
            if self.source.own {
                continue;
            }
            if !added {
                self.found(format!("the path parameter `{name}` is not described; it is shown as text"));
            }
            written.push(json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
        }
        Ok(written)
    }

    /// Returns an object's own members, behind all references.
    pub(crate) fn followed(&self, value: &Value) -> Option<Map<String, Value>> {
        let mut object = value.as_object()?;
        for _ in 0..HOPS {
            let Some(reference) = object.get("$ref").and_then(Value::as_str) else { return Some(object.clone()) };
            let Target::Pointer(pointer) = pointer::read(reference, self.source.url.as_deref()) else { return None };
            object = pointer::find(&self.source.document, &pointer)?.as_object()?;
        }
        None
    }
}

/// Returns the name of an upstream's tag at the door.
pub(crate) fn tag_name(source: &str, tag: &str) -> String {
    if tag == source { tag.to_owned() } else { format!("{source}/{tag}") }
}
