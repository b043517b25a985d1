//! Which operations of which document the door really shows, and at which path. Not for writing them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use kernel::{Error, Result};
use serde_json::{Map, Value};

use crate::kinds::METHODS;
use crate::pointer::{self, Target};
use crate::source::{Access, Paths, Route, Shape, Source};
use crate::template::{self, Appearance, Segment, Table, segments};

/// How many references in a row are followed.
pub(crate) const HOPS: usize = 16;

/// An operation that the door may show.
pub(crate) struct Candidate<'a> {
    pub source: usize,
    pub method: &'static str,
    /// The path at the door.
    pub path: String,
    /// The path in its document.
    pub origin: &'a str,
    pub item: Cow<'a, Map<String, Value>>,
    pub access: Access,
    pub shape: Shape,
    pub appearance: Appearance,
    /// Names of path parameters that become others.
    pub renames: HashMap<String, String>,
}

/// Returns the operations that the door shows, by path and method.
pub(crate) fn select<'a>(sources: &'a [Source]) -> Result<Vec<Candidate<'a>>> {
    let mut table = Table::default();
    let mut found = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        found.extend(candidates(number, source, &mut table));
    }
    let mut chosen: BTreeMap<(String, usize), Candidate<'a>> = BTreeMap::new();
    for (candidate, by) in found {
        // The door routes by path alone, so another template may have this one's requests.
        if table.winner(&segments(&candidate.path)) != Some(by.as_str()) {
            continue;
        }
        let method = METHODS.iter().position(|name| *name == candidate.method).unwrap_or_default();
        let key = (template::shape(&candidate.path), method);
        match chosen.get(&key) {
            Some(other) if other.source != candidate.source => return Err(twice(sources, other, &candidate)),
            // One route fixes what two paths of a document say apart: the more literal one answers.
            Some(other) if template::names(other.origin).len() <= template::names(candidate.origin).len() => {}
            _ => {
                chosen.insert(key, candidate);
            }
        }
    }
    Ok(one_name_each(chosen))
}

fn twice(sources: &[Source], one: &Candidate<'_>, other: &Candidate<'_>) -> Error {
    let name = |candidate: &Candidate<'_>| format!("{} ({})", sources[candidate.source].name, candidate.origin);
    let message = format!(
        "{} {} comes from two documents: {} and {}",
        one.method.to_uppercase(),
        one.path,
        name(one),
        name(other)
    );
    Error::conflict("gateway.operation_twice", message)
}

/// Gives paths of one shape one set of parameter names: those of the first source.
fn one_name_each(chosen: BTreeMap<(String, usize), Candidate<'_>>) -> Vec<Candidate<'_>> {
    let mut names: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for ((shape, _), candidate) in &chosen {
        let known = names.entry(shape.clone()).or_insert_with(|| (candidate.source, candidate.path.clone()));
        if candidate.source < known.0 {
            *known = (candidate.source, candidate.path.clone());
        }
    }
    let mut list = Vec::with_capacity(chosen.len());
    for ((shape, _), mut candidate) in chosen {
        let path = names[&shape].1.clone();
        if path != candidate.path {
            let pairs = template::names(&candidate.path).into_iter().zip(template::names(&path));
            candidate.renames = pairs.filter(|(old, new)| old != new).collect();
            candidate.path = path;
        }
        list.push(candidate);
    }
    list
}

/// Returns the operations of a source with the shape of the route that shows them.
fn candidates<'a>(number: usize, source: &'a Source, table: &mut Table) -> Vec<(Candidate<'a>, String)> {
    let routes: Vec<(&Route, Vec<Segment>, Vec<Segment>)> = match &source.paths {
        Paths::Routes(routes) => {
            routes.iter().map(|route| (route, segments(&route.path), segments(&route.upstream))).collect()
        }
        _ => Vec::new(),
    };
    for (route, _, _) in &routes {
        table.add(&route.path);
    }
    let mut found = Vec::new();
    for (origin, item) in source.document["paths"].as_object().into_iter().flatten() {
        if origin.starts_with("x-") {
            continue;
        }
        let Some(item) = path_item(source, item) else { continue };
        for method in METHODS {
            let Some(operation) = item.get(method).filter(|operation| operation.is_object()) else { continue };
            let full = format!("{}{origin}", base(source, &item, operation));
            let mut take = |path: String, by: &str, (access, shape): (Access, Shape), appearance: Appearance| {
                let candidate = Candidate {
                    source: number,
                    method,
                    path,
                    origin,
                    item: item.clone(),
                    access,
                    shape,
                    appearance,
                    renames: HashMap::new(),
                };
                found.push((candidate, template::shape(by)));
            };
            let plain = |path: &str| Appearance { path: path.to_owned(), fixed: Vec::new(), added: Vec::new() };
            match &source.paths {
                Paths::Same => {
                    table.add(&full);
                    take(full.clone(), &full, (source.access, Shape::Plain), plain(&full));
                }
                Paths::Prefix { strip, add } => {
                    let Some(path) = prefixed(&full, strip, add) else { continue };
                    table.add(&path);
                    take(path.clone(), &path, (source.access, Shape::Plain), plain(&path));
                }
                Paths::Routes(_) => {
                    let path = segments(&full);
                    for (route, door, upstream) in &routes {
                        if !route.methods.is_empty()
                            && !route.methods.iter().any(|name| name.eq_ignore_ascii_case(method))
                        {
                            continue;
                        }
                        if let Some(appearance) = template::appearance(door, upstream, &path) {
                            let access = route.access.unwrap_or(source.access);
                            take(appearance.path.clone(), &route.path, (access, route.shape), appearance);
                        }
                    }
                }
            }
        }
    }
    found
}

fn prefixed(path: &str, strip: &str, add: &str) -> Option<String> {
    let rest = path.strip_prefix(strip.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", add.trim_end_matches('/')))
}

/// Returns the path that comes before a document's paths at the origin.
fn base(source: &Source, item: &Map<String, Value>, operation: &Value) -> String {
    if let Some(base) = &source.base {
        return base.trim_end_matches('/').to_owned();
    }
    let servers = [operation.get("servers"), item.get("servers"), source.document.get("servers")];
    let Some(server) = servers.into_iter().flatten().find_map(|list| list.get(0)) else { return String::new() };
    let mut url = server["url"].as_str().unwrap_or_default().to_owned();
    for (name, variable) in server["variables"].as_object().into_iter().flatten() {
        url = url.replace(&format!("{{{name}}}"), variable["default"].as_str().unwrap_or_default());
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => &url,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    match path.trim_start_matches("./") {
        "" | "." => String::new(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

/// Returns a path item, with what it refers to beneath its own members.
fn path_item<'a>(source: &'a Source, item: &'a Value) -> Option<Cow<'a, Map<String, Value>>> {
    let mut object = Cow::Borrowed(item.as_object()?);
    for _ in 0..HOPS {
        let Some(reference) = object.get("$ref").and_then(Value::as_str) else { return Some(object) };
        let Target::Pointer(pointer) = pointer::read(reference, source.url.as_deref()) else { return None };
        let target = pointer::find(&source.document, &pointer)?.as_object()?;
        let mut whole = target.clone();
        whole.extend(
            object.iter().filter(|(name, _)| *name != "$ref").map(|(name, value)| (name.clone(), value.clone())),
        );
        object = Cow::Owned(whole);
    }
    None
}
