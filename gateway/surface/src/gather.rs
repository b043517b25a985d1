//! Copies what an operation needs out of its document: each reference becomes a placeholder for the
//! thing it leads to, which is copied in its turn. Not for names; those are given when everything
//! from all documents is known.
//!
//! Placeholders are strings that begin with NUL: `\0c7` is entry 7, `\0o7` operation slot 7. Data that
//! begin with NUL get a second one, so that no document can write a placeholder.

mod discriminator;
mod references;

use std::collections::{HashMap, VecDeque};

use kernel::{Error, Result};
use serde_json::{Map, Value};

use crate::kinds::{Child, Kind};
use crate::modern::modern;
use crate::pointer;
use crate::source::{Finding, Source};
use references::instead;

/// How deep a document may be nested: as deep as `serde_json` reads one, and a little more for those
/// that were put together here.
const DEPTH: usize = 136;
/// The member that lists what a discriminator means by names of its own document.
pub(crate) const IMPLICIT: &str = "\0implicit";

/// A component on its way into the united document.
pub(crate) struct Entry {
    /// The number of its source; nothing for the door's own.
    pub source: Option<usize>,
    pub kind: Kind,
    /// The name it would like to have.
    pub name: String,
    pub value: Value,
    /// The entries it refers to, in the order of the text.
    pub targets: Vec<usize>,
}

/// The id of an operation on its way into the united document.
pub(crate) struct Slot {
    pub source: usize,
    pub wanted: String,
}

/// What is filled from all documents.
#[derive(Default)]
pub(crate) struct Store {
    pub entries: Vec<Entry>,
    pub slots: Vec<Slot>,
    pub findings: Vec<Finding>,
}

/// One document being read.
pub(crate) struct Gather<'a> {
    pub source: &'a Source,
    pub number: usize,
    pub store: &'a mut Store,
    /// Where operations of this document are shown: by path and method.
    pub spots: HashMap<(String, &'static str), usize>,
    /// The same by their operation ids.
    pub ids: HashMap<String, usize>,
    old: bool,
    index: HashMap<(Kind, String), usize>,
    queue: VecDeque<(usize, String)>,
    targets: Vec<usize>,
    at: Vec<String>,
    anchors: Option<HashMap<String, String>>,
    heirs: Option<HashMap<String, Vec<String>>>,
    resource: Option<String>,
}

impl<'a> Gather<'a> {
    pub(crate) fn new(source: &'a Source, number: usize, old: bool, store: &'a mut Store) -> Self {
        Self {
            source,
            number,
            store,
            spots: HashMap::new(),
            ids: HashMap::new(),
            old,
            index: HashMap::new(),
            queue: VecDeque::new(),
            targets: Vec::new(),
            at: Vec::new(),
            anchors: None,
            heirs: None,
            resource: None,
        }
    }

    /// Says from where in the document the next copies are.
    pub(crate) fn stand_at(&mut self, pointer: &str) {
        self.at = pointer::parts(pointer);
        self.resource = None;
    }

    /// Goes to a member of where it stands.
    pub(crate) fn enter(&mut self, parts: &[&str]) {
        self.at.extend(parts.iter().map(|part| (*part).to_owned()));
    }

    /// Goes back up.
    pub(crate) fn leave(&mut self, parts: usize) {
        self.at.truncate(self.at.len().saturating_sub(parts));
    }

    /// Notes something that could not be kept as it stood.
    pub(crate) fn found(&mut self, what: impl Into<String>) {
        let at: String = self.at.iter().map(|part| format!("/{}", pointer::escaped(part))).collect();
        self.store.findings.push(Finding { source: self.source.name.clone(), at, what: what.into() });
    }

    /// Returns the placeholder of an operation's id, with a slot for one that is not known yet.
    pub(crate) fn slot(&mut self, wanted: &str) -> usize {
        self.store.slots.push(Slot { source: self.number, wanted: wanted.to_owned() });
        self.store.slots.len() - 1
    }

    /// Copies what waits because something refers to it.
    pub(crate) fn drain(&mut self) -> Result<()> {
        while let Some((id, pointer)) = self.queue.pop_front() {
            let source = self.source;
            let Some(value) = pointer::find(&source.document, &pointer) else { continue };
            self.stand_at(&pointer);
            self.targets.clear();
            let kind = self.store.entries[id].kind;
            let copy = self.copy(value, kind, 0)?;
            let entry = &mut self.store.entries[id];
            entry.value = copy.unwrap_or_else(|| instead(kind).unwrap_or_else(|| Value::Object(Map::new())));
            entry.targets = std::mem::take(&mut self.targets);
        }
        Ok(())
    }

    /// Returns the entry for what a pointer leads to.
    pub(crate) fn entry(&mut self, kind: Kind, pointer: String) -> usize {
        if let Some(id) = self.index.get(&(kind, pointer.clone())) {
            return *id;
        }
        let id = self.store.entries.len();
        let name = wanted_name(&pointer);
        self.store.entries.push(Entry {
            source: Some(self.number),
            kind,
            name,
            value: Value::Null,
            targets: Vec::new(),
        });
        self.index.insert((kind, pointer.clone()), id);
        self.queue.push_back((id, pointer));
        id
    }

    /// Copies a value of a kind; nothing where it has to be left out.
    pub(crate) fn copy(&mut self, value: &Value, kind: Kind, depth: usize) -> Result<Option<Value>> {
        self.check(depth)?;
        let Some(object) = value.as_object() else { return self.data(value, depth).map(Some) };
        if kind.component().is_some()
            && let Some(Value::String(reference)) = object.get("$ref")
        {
            return self.reference(reference, object, kind, depth);
        }
        if kind == Kind::Link {
            return self.link(object, depth);
        }
        let resource = self.resource.clone();
        if kind == Kind::Schema && object.get("$id").and_then(Value::as_str).is_some_and(|id| !id.starts_with('#')) {
            self.resource = Some(self.at.iter().map(|part| format!("/{}", pointer::escaped(part))).collect());
        }
        let copy = self.members(object, kind, depth)?;
        self.resource = resource;
        Ok(Some(if self.old && kind == Kind::Schema { modern(copy) } else { Value::Object(copy) }))
    }

    /// Copies the members of an object, each as what it holds.
    pub(crate) fn members(
        &mut self,
        object: &Map<String, Value>,
        kind: Kind,
        depth: usize,
    ) -> Result<Map<String, Value>> {
        let mut copy = Map::new();
        for (key, member) in object {
            self.at.push(key.clone());
            let member = match (kind, key.as_str()) {
                // Where it is reached is the door's business.
                (Kind::Operation | Kind::PathItem, "servers") => None,
                // Names within one document; references by them are written as pointers.
                (Kind::Schema, "$anchor" | "$id") => None,
                (Kind::Operation, "operationId") => {
                    member.as_str().map(|id| Value::String(format!("\0o{}", self.slot(id))))
                }
                (Kind::Operation, "security") => self.security(member),
                (Kind::Schema, "discriminator") => Some(self.discriminator(member, object, depth)?),
                _ => self.member(member, kind.child(key), depth)?,
            };
            self.at.pop();
            if let Some(member) = member {
                copy.insert(name_of(key), member);
            }
        }
        Ok(copy)
    }

    fn member(&mut self, value: &Value, child: Child, depth: usize) -> Result<Option<Value>> {
        match (child, value) {
            (Child::One(kind), Value::Object(_)) => self.copy(value, kind, depth + 1),
            (Child::List(kind), Value::Array(list)) | (Child::One(kind), Value::Array(list)) => {
                let mut copy = Vec::with_capacity(list.len());
                for (number, member) in list.iter().enumerate() {
                    self.at.push(number.to_string());
                    copy.extend(self.copy(member, kind, depth + 2)?);
                    self.at.pop();
                }
                Ok(Some(Value::Array(copy)))
            }
            (Child::Map(kind) | Child::Extensible(kind), Value::Object(map)) => {
                let mut copy = Map::new();
                for (name, member) in map {
                    self.at.push(name.clone());
                    let member = if matches!(child, Child::Extensible(_)) && name.starts_with("x-") {
                        Some(self.data(member, depth + 1)?)
                    } else {
                        self.copy(member, kind, depth + 2)?
                    };
                    self.at.pop();
                    copy.extend(member.map(|member| (name_of(name), member)));
                }
                Ok(Some(Value::Object(copy)))
            }
            _ => self.data(value, depth + 1).map(Some),
        }
    }

    /// Copies requirements; a scheme that is not described cannot be asked for.
    pub(crate) fn security(&mut self, list: &Value) -> Option<Value> {
        let mut copy = Vec::new();
        for requirement in list.as_array()? {
            let mut kept = Map::new();
            let mut whole = true;
            for (name, scopes) in requirement.as_object().into_iter().flatten() {
                let pointer = format!("/components/securitySchemes/{}", pointer::escaped(name));
                if self.is(&pointer, Kind::SecurityScheme) {
                    let id = self.entry(Kind::SecurityScheme, pointer);
                    self.targets.push(id);
                    kept.insert(format!("\0c{id}"), scopes.clone());
                } else {
                    self.found(format!("the security scheme `{name}` is not there; this alternative is left out"));
                    whole = false;
                }
            }
            if whole {
                copy.push(Value::Object(kept));
            }
        }
        (!copy.is_empty() || list.as_array()?.is_empty()).then_some(Value::Array(copy))
    }

    /// Copies data as they are.
    pub(crate) fn data(&self, value: &Value, depth: usize) -> Result<Value> {
        self.check(depth)?;
        Ok(match value {
            Value::String(text) => Value::String(name_of(text)),
            Value::Array(list) => {
                Value::Array(list.iter().map(|member| self.data(member, depth + 1)).collect::<Result<_>>()?)
            }
            Value::Object(map) => {
                let members = map.iter().map(|(key, member)| Ok((name_of(key), self.data(member, depth + 1)?)));
                Value::Object(members.collect::<Result<_>>()?)
            }
            other => other.clone(),
        })
    }

    fn check(&self, depth: usize) -> Result<()> {
        if depth < DEPTH {
            return Ok(());
        }
        let message = format!("the document of {} is nested too deeply", self.source.name);
        Err(Error::invalid("gateway.document_too_deep", message))
    }
}

/// Returns a text in which no placeholder can hide.
fn name_of(text: &str) -> String {
    if text.starts_with('\0') { format!("\0{text}") } else { text.to_owned() }
}

fn wanted_name(pointer: &str) -> String {
    let parts = pointer::parts(pointer);
    if let [components, _, name] = parts.as_slice()
        && components == "components"
    {
        return name.clone();
    }
    const STRUCTURE: [&str; 8] =
        ["paths", "components", "schemas", "responses", "content", "properties", "schema", "parameters"];
    let words: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !STRUCTURE.contains(part)).collect();
    words.join("_").trim_matches('/').to_owned()
}
