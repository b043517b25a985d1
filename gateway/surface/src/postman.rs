//! A Postman collection (format v2.1) made from a document: a folder for each tag, bodies from
//! examples and schemas, ids handed from the request that makes a thing to those that use it. Not for
//! what the document does not say; a `Hint` says that.

mod hints;
mod scripts;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use hints::{Again, Hint, Hints};

use crate::diff::follow;
use crate::example::example;
use crate::kinds::METHODS;

/// What stands for an id until a request has made one.
const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

/// One request on its way into the collection.
struct Request<'a> {
    method: &'static str,
    path: &'a str,
    operation: &'a Value,
    hint: Hint,
    name: Option<String>,
}

/// Returns the collection of a document's operations.
pub fn collection(document: &Value, hints: &Hints) -> Value {
    let mut requests = requests(document, hints);
    let places = folder_places(document, hints);
    requests.sort_by_key(|request| {
        let place = places.get(folder(request)).copied().unwrap_or(0);
        let within = (request.hint.order, stage(request), depth(request), request.path, rank(request.method));
        (place, folder(request).to_owned(), within, request.name.clone())
    });
    let mut folders: Vec<(String, Vec<Value>)> = Vec::new();
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for request in &requests {
        for name in path_variables(request).into_values() {
            if let Some(name) = name.strip_prefix("{{").and_then(|name| name.strip_suffix("}}")) {
                variables.entry(name.to_owned()).or_insert_with(|| NOBODY.to_owned());
            }
        }
        let (folder, item) = (folder(request), item(document, hints, request));
        match folders.last_mut() {
            Some((name, items)) if name == folder => items.push(item),
            _ => folders.push((folder.to_owned(), vec![item])),
        }
    }
    variables.extend(schemes(document).into_keys().map(|name| (name, String::new())));
    variables.insert("base".to_owned(), "http://127.0.0.1:8080".to_owned());
    variables.insert("run_all".to_owned(), "false".to_owned());
    variables.extend(hints.variables.clone());
    let about = |name: &str| {
        let mut tags = document["tags"].as_array().into_iter().flatten();
        tags.find(|tag| tag["name"] == name).map_or(json!(""), |tag| tag["description"].clone())
    };
    let folders: Vec<Value> = folders
        .into_iter()
        .map(|(name, items)| json!({ "name": name, "description": about(&name), "item": items }))
        .collect();
    json!({
        "info": {
            "name": document["info"]["title"],
            "description": document["info"]["description"],
            "version": document["info"]["version"],
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "variable": variables.into_iter().map(|(key, value)| json!({ "key": key, "value": value })).collect::<Vec<_>>(),
        "item": folders,
    })
}

/// Returns the place of each folder: those of hints, then tags, then hints again.
fn folder_places<'a>(document: &'a Value, hints: &'a Hints) -> BTreeMap<&'a str, usize> {
    let tags = document["tags"].as_array().into_iter().flatten().filter_map(|tag| tag["name"].as_str());
    let first = hints.first.iter().map(String::as_str);
    let last = hints.last.iter().map(String::as_str);
    first.chain(tags).chain(last).enumerate().map(|(place, name)| (name, place + 1)).collect()
}

fn folder<'a>(request: &'a Request<'_>) -> &'a str {
    let tag = request.operation["tags"][0].as_str().unwrap_or("API");
    request.hint.folder.as_deref().unwrap_or(tag)
}

fn requests<'a>(document: &'a Value, hints: &Hints) -> Vec<Request<'a>> {
    let mut list = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let id = operation["operationId"].as_str().unwrap_or_default();
            let hint = hints.operations.get(id).cloned().unwrap_or_default();
            list.push(Request { method, path, operation, hint, name: None });
            for again in hints.again.iter().filter(|again| again.operation == id) {
                let (hint, name) = (again.hint.clone(), Some(again.name.clone()));
                list.push(Request { method, path, operation, hint, name });
            }
        }
    }
    list
}

/// Things are made before they are read, changed and, at the end, deleted.
fn stage(request: &Request<'_>) -> u8 {
    match request.method {
        "delete" => 3,
        _ => 0,
    }
}

/// Deleting begins with what is deepest; everything else with what is not.
fn depth(request: &Request<'_>) -> isize {
    let depth = request.path.split('/').count().cast_signed();
    if request.method == "delete" { -depth } else { 0 }
}

fn rank(method: &str) -> usize {
    ["post", "put", "get", "head", "options", "patch", "trace", "delete"]
        .iter()
        .position(|name| *name == method)
        .unwrap_or(9)
}

/// Returns what stands in the place of each path parameter.
fn path_variables(request: &Request<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut words: Vec<&str> = Vec::new();
    for part in request.path.split('/').skip(1) {
        match part.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => {
                let usual = format!("{{{{{}_{name}}}}}", words.join("_"));
                found.insert(name.to_owned(), request.hint.path.get(name).cloned().unwrap_or(usual));
            }
            None if part == "api" || (part.starts_with('v') && part[1..].parse::<u8>().is_ok()) => {}
            None => words.push(part),
        }
    }
    found
}

/// Returns the variable that holds the id of what a POST or a list at this path is about.
fn made(document: &Value, request: &Request<'_>) -> Option<String> {
    let beneath = format!("{}/{{", request.path.trim_end_matches('/'));
    let paths = document["paths"].as_object()?;
    let member = paths
        .keys()
        .find(|path| {
            path.starts_with(&beneath) && path[beneath.len()..].ends_with('}') && !path[beneath.len()..].contains('/')
        })
        .or_else(|| paths.keys().find(|path| path.starts_with(&beneath)))?;
    let name = member[beneath.len()..].split('}').next()?;
    let words = request.path.split('/').filter(|part| !part.is_empty() && *part != "api" && !part.starts_with('{'));
    let words: Vec<&str> = words.filter(|part| !(part.starts_with('v') && part[1..].parse::<u8>().is_ok())).collect();
    Some(format!("{}_{name}", words.join("_")))
}

fn item(document: &Value, hints: &Hints, request: &Request<'_>) -> Value {
    let operation = request.operation;
    let id = operation["operationId"].as_str().unwrap_or(request.path);
    let name = request.name.clone().unwrap_or_else(|| operation["summary"].as_str().unwrap_or(id).to_owned());
    let mut headers: Vec<Value> =
        request.hint.headers.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let mut written = json!({
        "method": request.method.to_uppercase(),
        "url": url(document, request),
        "description": operation["description"],
    });
    if let Some((media_type, body)) = body(document, request) {
        headers.push(json!({ "key": "Content-Type", "value": media_type }));
        written["body"] = body;
    }
    written["header"] = Value::Array(headers);
    written["auth"] = auth(document, request);
    let test = scripts::test(document, hints, request, made(document, request));
    let events: Vec<Value> = scripts::before(request).into_iter().chain([test]).collect();
    json!({ "name": name, "id": id, "request": written, "event": events, "response": [] })
}

fn url(document: &Value, request: &Request<'_>) -> Value {
    let variables = path_variables(request);
    let parts: Vec<String> = request
        .path
        .split('/')
        .skip(1)
        .map(|part| {
            variables.iter().fold(part.to_owned(), |part, (name, value)| part.replace(&format!("{{{name}}}"), value))
        })
        .collect();
    let mut query: Vec<Value> = Vec::new();
    for parameter in operation_parameters(document, request) {
        let Some(name) = parameter["name"].as_str().filter(|_| parameter["in"] == "query") else { continue };
        let hinted = request.hint.query.get(name).cloned();
        let required = parameter["required"] == true;
        let value = hinted.clone().unwrap_or_else(|| plain(&example(document, &parameter["schema"])));
        query.push(json!({
            "key": name, "value": value, "description": parameter["description"],
            "disabled": hinted.is_none() && !required,
        }));
    }
    let sent: Vec<String> = query
        .iter()
        .filter(|one| one["disabled"] == false)
        .map(|one| format!("{}={}", one["key"].as_str().unwrap_or_default(), one["value"].as_str().unwrap_or_default()))
        .collect();
    let end = if sent.is_empty() { String::new() } else { format!("?{}", sent.join("&")) };
    json!({ "raw": format!("{{{{base}}}}/{}{end}", parts.join("/")), "host": ["{{base}}"], "path": parts, "query": query })
}

fn operation_parameters<'a>(document: &'a Value, request: &Request<'a>) -> impl Iterator<Item = &'a Value> {
    let shared = &document["paths"][request.path]["parameters"];
    let lists = [shared, &request.operation["parameters"]];
    lists.into_iter().filter_map(Value::as_array).flatten().map(move |value| follow(document, value))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns the media type and the body that a request is sent with.
fn body(document: &Value, request: &Request<'_>) -> Option<(String, Value)> {
    let content = follow(document, &request.operation["requestBody"])["content"].as_object()?;
    let (media_type, media) = content.get_key_value("application/json").or_else(|| content.iter().next())?;
    let said = media["examples"]
        .as_object()
        .and_then(|named| named.values().next())
        .map(|one| &follow(document, one)["value"]);
    let own = [Some(&media["example"]), said].into_iter().flatten().find(|value| !value.is_null()).cloned();
    let value = request.hint.body.clone().or(own).unwrap_or_else(|| example(document, &media["schema"]));
    if value == json!(false) {
        return None;
    }
    let raw = match &value {
        Value::String(text) if media_type != "application/json" => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    let language = if media_type.contains("json") { "json" } else { "text" };
    Some((media_type.clone(), json!({ "mode": "raw", "raw": raw, "options": { "raw": { "language": language } } })))
}

fn schemes(document: &Value) -> BTreeMap<String, &Value> {
    let all = document["components"]["securitySchemes"].as_object().into_iter().flatten();
    all.map(|(name, scheme)| (name.clone(), follow(document, scheme))).collect()
}

fn auth(document: &Value, request: &Request<'_>) -> Value {
    let list = request.operation.get("security").or_else(|| document.get("security"));
    let first = list.and_then(|list| list.get(0)).and_then(Value::as_object).and_then(|way| way.keys().next());
    let Some(name) = first else { return json!({ "type": "noauth" }) };
    let all = schemes(document);
    let scheme = all.get(name).copied().unwrap_or(&Value::Null);
    let pair = |key: &str, value: String| json!({ "key": key, "value": value, "type": "string" });
    let variable = format!("{{{{{}}}}}", request.hint.token.as_deref().unwrap_or(name));
    match (scheme["type"].as_str(), scheme["scheme"].as_str()) {
        (Some("apiKey"), _) => json!({ "type": "apikey", "apikey": [
            pair("key", scheme["name"].as_str().unwrap_or_default().to_owned()),
            pair("value", variable),
            pair("in", if scheme["in"] == "query" { "query" } else { "header" }.to_owned()),
        ] }),
        (Some("http"), Some("basic")) => json!({ "type": "basic", "basic": [
            pair("username", format!("{{{{{name}_user}}}}")),
            pair("password", format!("{{{{{name}_password}}}}")),
        ] }),
        _ => json!({ "type": "bearer", "bearer": [pair("token", variable)] }),
    }
}
