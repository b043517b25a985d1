//! Discriminators: which components one tells apart, said or unsaid. Not for other references.

use std::collections::{BTreeMap, HashMap};

use kernel::Result;
use serde_json::{Map, Value, json};

use super::{Gather, IMPLICIT, name_of};
use crate::kinds::Kind;
use crate::pointer::{self, Target};
use crate::source::Source;

impl Gather<'_> {
    pub(super) fn discriminator(&mut self, value: &Value, schema: &Map<String, Value>, depth: usize) -> Result<Value> {
        let Some(object) = value.as_object() else { return self.data(value, depth) };
        let mut mapping = BTreeMap::new();
        for (name, target) in object.get("mapping").and_then(Value::as_object).into_iter().flatten() {
            let Some(text) = target.as_str() else { continue };
            let named = format!("/components/schemas/{}", pointer::escaped(text));
            let pointer = if self.is(&named, Kind::Schema) { Some(named) } else { self.resolve(text, Kind::Schema) };
            match pointer {
                Some(pointer) => {
                    mapping.insert(name.clone(), self.entry(Kind::Schema, pointer));
                }
                None => self.found(format!("the mapping `{name}` leads to `{text}`, which is not there; left out")),
            }
        }
        let mut implicit = BTreeMap::new();
        for name in self.alternatives(schema) {
            let id = self.entry(Kind::Schema, format!("/components/schemas/{}", pointer::escaped(&name)));
            if !mapping.values().any(|mapped| *mapped == id) {
                implicit.insert(name, id);
            }
        }
        let mut copy = Map::new();
        for (key, member) in object.iter().filter(|(key, _)| *key != "mapping") {
            copy.insert(name_of(key), self.data(member, depth + 1)?);
        }
        self.targets.extend(mapping.values().chain(implicit.values()));
        let written = |map: BTreeMap<String, usize>| -> Value {
            map.into_iter().map(|(name, id)| (name_of(&name), json!(format!("\0c{id}")))).collect::<Map<_, _>>().into()
        };
        if object.contains_key("mapping") {
            copy.insert("mapping".to_owned(), written(mapping));
        }
        if !implicit.is_empty() {
            copy.insert(IMPLICIT.to_owned(), written(implicit));
        }
        Ok(Value::Object(copy))
    }

    /// Returns the names of the components that a discriminator tells apart without saying so: the
    /// alternatives beside it or, where there are none, the schemas that build on this one.
    fn alternatives(&mut self, schema: &Map<String, Value>) -> Vec<String> {
        let listed: Vec<&Value> =
            ["oneOf", "anyOf"].iter().filter_map(|key| schema.get(*key)?.as_array()).flatten().collect();
        if !listed.is_empty() {
            let references = listed.iter().filter_map(|value| value["$ref"].as_str().map(str::to_owned));
            let references: Vec<String> = references.collect();
            return references.iter().filter_map(|text| component(&self.resolve(text, Kind::Schema)?)).collect();
        }
        match self.at.as_slice() {
            [components, schemas, name, _] if components == "components" && schemas == "schemas" => {
                let name = name.clone();
                let source = self.source;
                let heirs = self.heirs.get_or_insert_with(|| heirs(source));
                let (mut found, mut next) = (Vec::new(), 0);
                found.extend(heirs.get(&name).into_iter().flatten().cloned());
                while let Some(heir) = found.get(next).cloned() {
                    let more = heirs.get(&heir).into_iter().flatten().filter(|name| !found.contains(name));
                    let more: Vec<String> = more.cloned().collect();
                    found.extend(more);
                    next += 1;
                }
                found
            }
            _ => Vec::new(),
        }
    }
}

/// Returns the name of the component schema that a pointer leads to.
fn component(pointer: &str) -> Option<String> {
    match pointer::parts(pointer).as_slice() {
        [components, schemas, name] if components == "components" && schemas == "schemas" => Some(name.clone()),
        _ => None,
    }
}

/// Returns, for each component schema, those that build on it with `allOf`.
fn heirs(source: &Source) -> HashMap<String, Vec<String>> {
    let mut heirs: HashMap<String, Vec<String>> = HashMap::new();
    for (name, schema) in source.document["components"]["schemas"].as_object().into_iter().flatten() {
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let Some(reference) = part["$ref"].as_str() else { continue };
            if let Target::Pointer(pointer) = pointer::read(reference, source.url.as_deref())
                && let Some(base) = component(&pointer)
            {
                heirs.entry(base).or_default().push(name.clone());
            }
        }
    }
    heirs
}
