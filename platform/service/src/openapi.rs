//! The OpenAPI 3.1 document, written from the operations. Schemas come from utoipa; the rest is
//! JSON in a fixed order, so that a diff shows what changed. Not for documents of remote services.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};

use crate::manifest::Service;
use crate::operation::{Access, Content, Operation, Shape};

/// Problems that any operation may answer, beside its own.
const COMMON_PROBLEMS: [u16; 4] = [413, 429, 500, 503];

/// Returns the document of these services.
pub fn document<'s>(services: impl IntoIterator<Item = &'s Service>) -> Value {
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut schemas: BTreeMap<String, Value> = BTreeMap::new();
    let mut tags = Vec::new();
    for service in services.into_iter().filter(|service| !service.operations.is_empty()) {
        tags.push(json!({ "name": service.name, "description": service.summary }));
        for operation in service.operations.iter().filter(|operation| !operation.hidden) {
            for (name, schema) in &operation.schemas {
                add_schema(&mut schemas, name, schema);
            }
            let methods = paths.entry(operation.path).or_default();
            methods.insert(operation.method.as_str().to_lowercase(), write(service, operation));
        }
    }
    schemas.extend(problem_schemas().map(|(name, schema)| (name.to_owned(), schema)));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portico",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "One front door: success bodies are the plain resource, errors are RFC 9457 problem documents, \
                unless a route group has a shape of its own. Send `Accept: application/problem+json` to get the plain \
                problem everywhere.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {
                "RequestId": { "description": "Names this request.", "schema": { "type": "string" } },
                "CorrelationId": { "description": "Names the chain of requests that it belongs to.", "schema": { "type": "string" } },
            },
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A token from `POST /api/auth/login`." },
                "operator": { "type": "http", "scheme": "bearer", "description": "The operator token of the installation." },
            },
        },
    })
}

fn add_schema(schemas: &mut BTreeMap<String, Value>, name: &str, schema: &RefOr<Schema>) {
    let schema = serde_json::to_value(schema).expect("a schema is plain data");
    let known = schemas.entry(name.to_owned()).or_insert_with(|| schema.clone());
    debug_assert_eq!(*known, schema, "two different schemas are called {name}");
}

fn write(service: &Service, operation: &Operation) -> Value {
    let mut responses = BTreeMap::new();
    for outcome in &operation.outcomes {
        // A shaped group has no empty answers: 204 becomes 200 around null.
        let status = if outcome.status == 204 && operation.shape != Shape::Plain { 200 } else { outcome.status };
        let mut content: Map<String, Value> = outcome
            .content
            .iter()
            .map(|content| (content.media_type.to_owned(), media(content, operation.shape)))
            .collect();
        if outcome.status == 204 && operation.shape != Shape::Plain {
            content.insert(
                "application/json".to_owned(),
                json!({ "schema": shaped(operation.shape, json!({ "type": "null" })) }),
            );
        }
        let mut response = json!({ "description": outcome.summary, "headers": id_headers() });
        if !content.is_empty() {
            response["content"] = Value::Object(content);
        }
        responses.insert(status.to_string(), response);
    }
    let mut problems: Vec<u16> = operation.problems.iter().copied().chain(COMMON_PROBLEMS).collect();
    if operation.access != Access::Public {
        problems.push(401);
    }
    if matches!(operation.access, Access::Session | Access::Permission(_)) {
        problems.push(403);
    }
    if !operation.method.is_safe() {
        problems.extend([409, 422]);
    }
    if operation.path.contains('{')
        || operation.takes.is_some()
        || !operation.parameters.is_empty()
        || !operation.method.is_safe()
    {
        problems.push(400);
    }
    for status in problems {
        responses.entry(status.to_string()).or_insert_with(|| problem_response(status, operation.shape));
    }
    let mut written = json!({
        "operationId": operation.id,
        "tags": [service.name],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": parameters(operation),
        "responses": responses,
    });
    match operation.access {
        Access::Public => written["security"] = json!([]),
        Access::Operator => written["security"] = json!([{ "operator": [] }]),
        Access::SignedIn => written["security"] = json!([{ "bearer": [] }]),
        Access::Session => {
            written["security"] = json!([{ "bearer": [] }]);
            written["x-session"] = json!(true);
        }
        Access::Permission(permission) => {
            written["security"] = json!([{ "bearer": [] }]);
            written["x-permission"] = json!(permission);
        }
    }
    if let Some(feature) = operation.feature {
        written["x-feature"] = json!(feature.key);
    }
    if !operation.streams.is_empty() {
        let content: serde_json::Map<_, _> =
            operation.streams.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        written["requestBody"] = json!({ "required": true, "content": content });
    }
    if let Some(content) = &operation.takes {
        let body = media(content, Shape::Plain);
        written["requestBody"] =
            json!({ "required": !operation.takes_nothing, "content": { content.media_type: body } });
    }
    written
}

fn parameters(operation: &Operation) -> Value {
    let mut list: Vec<Value> = Vec::new();
    for name in operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        let said = operation.path_parts.iter().find(|(said, _)| *said == name);
        let schema = said.map_or_else(|| json!({ "type": "string", "minLength": 1 }), |(_, schema)| json!(schema));
        list.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
    }
    for parameter in &operation.parameters {
        list.push(json!({
            "name": parameter.name, "in": "query", "required": parameter.required,
            "description": parameter.summary,
            "schema": parameter.schema,
        }));
    }
    let mut header = |name: &str, description: &str, schema: Value| {
        list.push(json!({
            "name": name, "in": "header", "required": false, "description": description, "schema": schema,
        }));
    };
    if !operation.method.is_safe() {
        header(
            "Idempotency-Key",
            "Makes the request safe to send again: the same key gives the same answer for 24 hours.",
            json!({ "type": "string", "pattern": web::IDEMPOTENCY_KEY_PATTERN }),
        );
    }
    if operation.problems.contains(&412) {
        header(
            "If-Match",
            "The ETag of the version that the change is meant for.",
            json!({ "type": "string", "pattern": web::IF_MATCH_PATTERN, "examples": ["\"v1\""] }),
        );
    }
    if operation.outcomes.iter().any(|outcome| outcome.status == 304) {
        header("If-None-Match", "The ETags of the versions that the caller has.", json!({ "type": "string" }));
    }
    Value::Array(list)
}

fn media(content: &Content, shape: Shape) -> Value {
    match &content.schema {
        // Of a stream of events the schema would be that of each event.
        None if ["application/json", "text/event-stream"].contains(&content.media_type) => json!({}),
        None => json!({ "schema": { "type": "string" } }),
        Some(schema) => {
            let schema = serde_json::to_value(schema).expect("a schema is plain data");
            json!({ "schema": shaped(shape, schema) })
        }
    }
}

/// Returns the schema of a success body as the gateway writes it.
pub fn shaped(shape: Shape, schema: Value) -> Value {
    match shape {
        Shape::Plain => schema,
        Shape::Success => json!({
            "type": "object",
            "required": ["success", "data", "requestId", "correlationId", "meta"],
            "properties": {
                "success": { "const": true },
                "data": schema,
                "requestId": { "type": "string" },
                "correlationId": { "type": "string" },
                "meta": { "type": "object", "properties": { "durationMs": { "type": "integer" } } },
            },
        }),
        Shape::Status => json!({
            "type": "object",
            "required": ["status", "data"],
            "properties": { "status": { "const": "success" }, "data": schema },
        }),
    }
}

fn problem_response(status: u16, shape: Shape) -> Value {
    let refer = |name: &str| json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } });
    let mut content = json!({ "application/problem+json": refer("Problem") });
    match shape {
        Shape::Plain => {}
        Shape::Success => content["application/json"] = refer("ShapedProblem"),
        Shape::Status => content["application/json"] = refer("StatusProblem"),
    }
    json!({ "description": problem_title(status), "content": content })
}

/// Returns the schemas of problems, plain and in each shape.
fn problem_schemas() -> [(&'static str, Value); 3] {
    let shaped = json!({
        "type": "object",
        "description": "A problem in the shape of its route group.",
        "required": ["success", "error", "requestId", "correlationId", "meta"],
        "properties": {
            "success": { "const": false },
            "error": { "$ref": "#/components/schemas/Problem" },
            "requestId": { "type": "string" },
            "correlationId": { "type": "string" },
            "meta": { "type": "object", "properties": { "durationMs": { "type": "integer" } } },
        },
    });
    let status = json!({
        "type": "object",
        "description": "A problem in the shape of its route group.",
        "required": ["status", "error", "code"],
        "properties": { "status": { "const": "error" }, "error": { "type": "string" }, "code": { "type": "string" } },
    });
    [("Problem", problem_schema()), ("ShapedProblem", shaped), ("StatusProblem", status)]
}

fn problem_title(status: u16) -> &'static str {
    match status {
        400 => "The request is not valid",
        401 => "Sign in first",
        403 => "Not allowed",
        404 => "There is no such thing, or it is not yours",
        409 => "In conflict with the present state",
        412 => "It has changed since you read it",
        413 => "The body is too large",
        415 => "The body's media type is not taken",
        428 => "Say which version you mean, with If-Match",
        422 => "The Idempotency-Key was used for a different request",
        429 => "Too many requests",
        503 => "Not available now",
        _ => "A fault of the server",
    }
}

fn id_headers() -> Value {
    json!({
        "X-Request-Id": { "$ref": "#/components/headers/RequestId" },
        "X-Correlation-Id": { "$ref": "#/components/headers/CorrelationId" },
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457 problem details.",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "type": "string", "description": "Stable; branch on this." },
            "requestId": { "type": "string" },
            "correlationId": { "type": "string" },
            "errors": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "message"],
                    "properties": { "field": { "type": "string" }, "message": { "type": "string" } },
                },
            },
        },
    })
}
