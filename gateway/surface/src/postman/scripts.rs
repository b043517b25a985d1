//! The scripts of a request: what is checked of its answer, and which ids are kept for later. Not for
//! what is sent.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Hints, Request};
use crate::diff::follow;

/// Returns the script that runs before a request: it leaves it out unless `run_all` is set, waits
/// between two tries, and does what the hint says.
pub(super) fn before(request: &Request<'_>) -> Option<Value> {
    let mut lines = Vec::new();
    if let Some(reason) = &request.hint.skip {
        lines.push(format!("// Not sent: {reason}"));
        lines.push("if (pm.variables.get('run_all') !== 'true') pm.execution.skipRequest();".to_owned());
    }
    if request.hint.until.is_some() {
        lines.push("if (Number(pm.variables.get('tries') || 0) > 0) setTimeout(() => {}, 100);".to_owned());
    }
    lines.extend(request.hint.before.iter().cloned());
    (!lines.is_empty()).then(|| event("prerequest", lines))
}

/// Returns the script that checks an answer.
pub(super) fn test(document: &Value, hints: &Hints, request: &Request<'_>, made: Option<String>) -> Value {
    let responses = request.operation["responses"].as_object().cloned().unwrap_or_default();
    let declared: Vec<String> = responses.keys().cloned().collect();
    let mut lines = vec![
        "let body; try { body = pm.response.json(); } catch { body = {}; }".to_owned(),
        "const inner = (body && body.data) || body || {};".to_owned(),
        format!("const declared = {};", json!(declared)),
        "const code = String(pm.response.code);".to_owned(),
        "pm.test('the status is declared', () => pm.expect(declared.some((one) => one === code || one === 'default' \
         || one === code[0] + 'XX'), code).to.be.true);"
            .to_owned(),
    ];
    match &request.hint.expect {
        Some(statuses) => {
            let why = request.hint.why.as_deref().unwrap_or("as the hint says");
            lines.push(format!("// {why}"));
            let statuses = json!(statuses);
            lines.push(format!(
                "pm.test('the status is one of {statuses}', () => pm.expect({statuses}).to.include(pm.response.code));"
            ));
        }
        None if hints.succeed => {
            lines.push(
                "pm.test('it succeeds', () => pm.expect(code, pm.response.text()).to.match(/^[23]/));".to_owned(),
            );
        }
        None => {}
    }
    lines.extend(contents(document, &responses));
    lines.extend(captures(request, made));
    if let Some(until) = &request.hint.until {
        lines = asked_again(until, lines);
    }
    event("test", lines)
}

/// Checks the media type of every answer, and JSON against its schema where that is simple.
fn contents(document: &Value, responses: &Map<String, Value>) -> Vec<String> {
    let mut types = Map::new();
    let mut schemas = Map::new();
    for (status, response) in responses {
        let content = follow(document, response)["content"].as_object().cloned().unwrap_or_default();
        let media_types: Vec<&String> = content.keys().collect();
        if !media_types.is_empty() {
            types.insert(status.clone(), json!(media_types));
        }
        // Problems are alike everywhere; the successes are worth their room.
        let schema = content.get("application/json").filter(|_| status.starts_with('2')).map(|media| &media["schema"]);
        if let Some(schema) =
            schema.filter(|schema| schema.is_object()).and_then(|schema| written_out(document, schema))
        {
            schemas.insert(status.clone(), schema);
        }
    }
    let mut lines = vec![
        format!("const types = {}[code];", Value::Object(types)),
        "const type = (pm.response.headers.get('Content-Type') || '').split(';')[0];".to_owned(),
        "if (types && type) pm.test('the media type is declared', () => pm.expect(types).to.include(type));".to_owned(),
    ];
    if !schemas.is_empty() {
        lines.push(format!("const schema = {}[code];", Value::Object(schemas)));
        lines.push(
            "if (schema && type === 'application/json') pm.test('the body keeps its schema', () => \
             pm.response.to.have.jsonSchema(schema, { unknownFormats: 'ignore' }));"
                .to_owned(),
        );
    }
    lines
}

/// Asks again until something has come about, and checks only what was found then.
fn asked_again(until: &str, checks: Vec<String>) -> Vec<String> {
    let mut lines = checks[..2].to_vec();
    lines.push("const tries = Number(pm.variables.get('tries') || 0);".to_owned());
    lines.push(format!("if (!({until}) && tries < 100) {{"));
    lines.push("  pm.variables.set('tries', tries + 1);".to_owned());
    lines.push("  pm.execution.setNextRequest(pm.info.requestName);".to_owned());
    lines.push("} else {".to_owned());
    lines.push("  pm.variables.unset('tries');".to_owned());
    lines.push(format!("  pm.test('it came about', () => pm.expect(Boolean({until})).to.be.true);"));
    lines.extend(checks.into_iter().skip(2).map(|line| format!("  {line}")));
    lines.push("}".to_owned());
    lines
}

fn captures(request: &Request<'_>, made: Option<String>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(variable) = made.filter(|_| ["post", "get"].contains(&request.method)) {
        let variable = json!(variable);
        match request.method {
            "post" => lines.push(format!(
                "if (pm.response.code < 300 && inner.id) pm.collectionVariables.set({variable}, String(inner.id));"
            )),
            // A list lends an id where nothing was made.
            _ => lines.push(format!(
                "const first = (Array.isArray(inner) ? inner : inner.items || [])[0]; if (pm.response.code < 300 && first && first.id \
                 && String(pm.collectionVariables.get({variable})).startsWith('00000000-')) \
                 pm.collectionVariables.set({variable}, String(first.id));"
            )),
        }
    }
    for (variable, path) in &request.hint.capture {
        let path: Vec<&str> = path.split('.').collect();
        let value = format!("{}.reduce((at, key) => at && at[key], body)", json!(path));
        let variable = json!(variable);
        lines.push(format!("if (pm.response.code < 300) pm.collectionVariables.set({variable}, String({value}));"));
    }
    lines
}

fn event(listen: &str, lines: Vec<String>) -> Value {
    json!({ "listen": listen, "script": { "type": "text/javascript", "exec": lines } })
}

/// Returns a schema with its references written out, unless that would be long or never end.
fn written_out(document: &Value, schema: &Value) -> Option<Value> {
    let mut room = 400usize;
    inline(document, schema, &mut BTreeSet::new(), &mut room)
}

fn inline(document: &Value, schema: &Value, open: &mut BTreeSet<String>, room: &mut usize) -> Option<Value> {
    *room = room.checked_sub(1)?;
    match schema {
        Value::Object(map) => {
            let mut whole = Map::new();
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                if !open.insert(reference.to_owned()) {
                    return None;
                }
                let target = inline(document, follow(document, schema), open, room)?;
                open.remove(reference);
                return Some(target);
            }
            for (key, value) in map {
                // Words for people, and formats that validators know differently.
                if ["description", "title", "examples", "example", "format", "default", "deprecated"]
                    .contains(&key.as_str())
                    && !value.is_object()
                {
                    continue;
                }
                whole.insert(key.clone(), inline(document, value, open, room)?);
            }
            Some(Value::Object(whole))
        }
        Value::Array(list) => list.iter().map(|one| inline(document, one, open, room)).collect(),
        other => Some(other.clone()),
    }
}
