//! Unites documents: paths together, components renamed where two differ, references rewritten,
//! security kept or replaced by the door's. Reads top to bottom. Not for fetching.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kernel::{Error, Result};
use serde_json::{Map, Value, json};

use crate::classes::classes;
use crate::finish::{self, Names};
use crate::gather::{Entry, Gather, Store};
use crate::kinds::{COMPONENTS, Kind};
use crate::operations::tag_name;
use crate::pointer;
use crate::select::{Candidate, select};
use crate::source::{Door, Source, United, empty};

/// Returns one document about all operations that the door shows. The order of the sources decides
/// who keeps a name; the door's own come first.
pub fn unite(door: &Door, sources: &[Source]) -> Result<United> {
    unite_with(door, sources, true)
}

/// Does so, with the components of the door's own services that nothing refers to or without them.
pub(crate) fn unite_with(door: &Door, sources: &[Source], unused: bool) -> Result<United> {
    let old = sources.iter().map(is_old).collect::<Result<Vec<bool>>>()?;
    let chosen = select(sources)?;
    let mut store = Store::default();
    let asked = door_security(door, &mut store);

    // Copy the operations, and what they need, source by source.
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut hooks = Map::new();
    let mut shown = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let mut gather = Gather::new(source, number, old[number], &mut store);
        let mine: Vec<&Candidate<'_>> = chosen.iter().filter(|candidate| candidate.source == number).collect();
        let slots: Vec<Option<usize>> = mine.iter().map(|candidate| slot(&mut gather, candidate)).collect();
        for (candidate, slot) in mine.iter().zip(slots) {
            let written = gather.operation(candidate, slot, &asked)?;
            let item = paths.entry(candidate.path.clone()).or_default();
            item.insert(candidate.method.to_owned(), written);
            if source.own {
                let words = candidate.item.iter().filter(|(key, _)| is_word_of_item(key));
                for (key, value) in words {
                    item.insert(key.clone(), gather.data(value, 2)?);
                }
            }
        }
        copy_hooks(&mut gather, &mut hooks)?;
        if source.own && unused {
            keep_all_components(&mut gather);
        }
        gather.drain()?;
        shown.push((source.name.clone(), mine.len()));
    }

    // Name everything, and put the names in.
    let class = classes(&store.entries);
    let names = finish::name(&store.entries, &store.slots, &class, sources);
    let mut document = empty(door);
    let tags = tags(sources, &paths);
    if !tags.is_empty() {
        document["tags"] = Value::Array(tags);
    }
    document["paths"] =
        paths.into_iter().map(|(path, item)| (path, names.finish(Value::Object(item)))).collect::<Map<_, _>>().into();
    if !hooks.is_empty() {
        document["webhooks"] = names.finish(Value::Object(hooks));
    }
    let components = components(store.entries, &names, sources);
    if !components.is_empty() {
        document["components"] = Value::Object(components);
    }
    for (key, value) in
        sources.iter().filter(|source| source.own).flat_map(|source| source.document.as_object()).flatten()
    {
        if (key.starts_with("x-") || key == "externalDocs" || key == "jsonSchemaDialect") && document.get(key).is_none()
        {
            document[key] = value.clone();
        }
    }
    Ok(United { document, findings: store.findings, shown })
}

/// Says whether a document is of 3.0, and refuses what is neither that nor 3.1.
fn is_old(source: &Source) -> Result<bool> {
    let name = &source.name;
    let document = &source.document;
    if document.get("swagger").is_some() {
        let message = format!(
            "the document of {name} is Swagger {}: convert it to OpenAPI 3 at its origin",
            document["swagger"].as_str().unwrap_or("2.0")
        );
        return Err(Error::invalid("gateway.document_version", message));
    }
    let version = document["openapi"].as_str().unwrap_or_default();
    // 3.1 knows documents that have only webhooks or components.
    let nothing_to_show = version.starts_with("3.1") && document.get("paths").is_none();
    if !document["paths"].is_object() && !nothing_to_show {
        let message = format!("the document of {name} has no paths: it is no OpenAPI document");
        return Err(Error::invalid("gateway.document_invalid", message));
    }
    match version {
        _ if version == "3.0" || version.starts_with("3.0.") => Ok(true),
        _ if version == "3.1" || version.starts_with("3.1.") => Ok(false),
        _ => {
            let message = format!("the document of {name} is OpenAPI \"{version}\": 3.0 and 3.1 are read");
            Err(Error::invalid("gateway.document_version", message))
        }
    }
}

/// Gives the door's schemes entries of their own, and returns its requirement in their terms.
fn door_security(door: &Door, store: &mut Store) -> Vec<Value> {
    let mut asked = Vec::new();
    let mut ids = HashMap::new();
    for requirement in &door.security {
        let mut written = Map::new();
        for (name, scopes) in requirement.as_object().into_iter().flatten() {
            let id = *ids.entry(name.clone()).or_insert_with(|| {
                let value =
                    door.schemes.get(name).cloned().unwrap_or_else(|| json!({ "type": "http", "scheme": "bearer" }));
                let (kind, name) = (Kind::SecurityScheme, name.clone());
                store.entries.push(Entry { source: None, kind, name, value, targets: Vec::new() });
                store.entries.len() - 1
            });
            written.insert(format!("\0c{id}"), scopes.clone());
        }
        asked.push(Value::Object(written));
    }
    asked
}

/// Gives an operation its slot, and tells links where it is.
fn slot(gather: &mut Gather<'_>, candidate: &Candidate<'_>) -> Option<usize> {
    let raw = candidate.item.get(candidate.method)?;
    let own = gather.source.own;
    let slot = match raw.get("operationId").and_then(Value::as_str) {
        Some(id) => {
            let slot = gather.slot(id);
            gather.ids.entry(id.to_owned()).or_insert(slot);
            slot
        }
        None if own => return None,
        None => gather.slot(&made_id(candidate)),
    };
    gather.spots.entry((candidate.origin.to_owned(), candidate.method)).or_insert(slot);
    Some(slot)
}

fn made_id(candidate: &Candidate<'_>) -> String {
    let words = candidate.origin.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(candidate.method).chain(words).collect::<Vec<_>>().join("_")
}

fn is_word_of_item(key: &str) -> bool {
    key == "summary" || key == "description" || key.starts_with("x-")
}

fn copy_hooks(gather: &mut Gather<'_>, hooks: &mut Map<String, Value>) -> Result<()> {
    let source = gather.source;
    for (name, item) in source.document["webhooks"].as_object().into_iter().flatten() {
        gather.stand_at(&format!("/webhooks/{}", pointer::escaped(name)));
        let shown = if source.own { name.clone() } else { tag_name(&source.name, name) };
        if let Some(copy) = gather.copy(item, Kind::PathItem, 2)? {
            hooks.insert(shown, copy);
        }
    }
    Ok(())
}

fn keep_all_components(gather: &mut Gather<'_>) {
    let source = gather.source;
    for (kind, member) in COMPONENTS {
        for name in source.document["components"][member].as_object().into_iter().flat_map(Map::keys) {
            gather.entry(kind, format!("/components/{member}/{}", pointer::escaped(name)));
        }
    }
}

fn components(entries: Vec<Entry>, names: &Names, sources: &[Source]) -> Map<String, Value> {
    let mut components: Map<String, Value> = Map::new();
    for (id, entry) in entries.into_iter().enumerate() {
        let members = components.entry(names.kinds[id]).or_insert_with(|| json!({}));
        if let Some(members) = members.as_object_mut()
            && !members.contains_key(&names.entries[id])
        {
            members.insert(names.entries[id].clone(), names.finish(entry.value));
        }
    }
    for source in sources {
        for (key, value) in source.document["components"].as_object().into_iter().flatten() {
            if key.starts_with("x-") && source.own {
                components.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    components
}

/// Returns the tags: the door's own as they are, each upstream's behind its name.
fn tags(sources: &[Source], paths: &BTreeMap<String, Map<String, Value>>) -> Vec<Value> {
    let operations = paths.values().flat_map(Map::values);
    let used: BTreeSet<&str> =
        operations.flat_map(|operation| operation["tags"].as_array()).flatten().filter_map(Value::as_str).collect();
    let mut tags = Vec::new();
    for source in sources {
        let said = source.document["tags"].as_array().into_iter().flatten().filter(|tag| tag["name"].is_string());
        if source.own {
            tags.extend(said.cloned());
            continue;
        }
        if used.iter().any(|tag| *tag == source.name || tag.starts_with(&format!("{}/", source.name))) {
            tags.push(json!({ "name": source.name, "description": about(source) }));
        }
        for tag in said {
            let name = tag_name(&source.name, tag["name"].as_str().unwrap_or_default());
            if name != source.name && used.contains(name.as_str()) {
                let mut tag = tag.clone();
                tag["name"] = json!(name);
                tags.push(tag);
            }
        }
    }
    tags
}

fn about(source: &Source) -> String {
    let info = &source.document["info"];
    let words = [info["title"].as_str(), info["version"].as_str()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    match info["description"].as_str() {
        Some(description) if !description.is_empty() => format!("{words}\n\n{description}"),
        _ => words,
    }
}
