//! Which operations are shown, where, under which names, and who lets callers in. Not for components.

use std::sync::Arc;

use serde_json::{Value, json};
use surface::{Access, Paths, Route, Shape, Source};

use crate::house::{document, door, gives, plain, route, unite};

fn methods(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), json!({ "operationId": name, "responses": {} }))).collect::<serde_json::Map<_, _>>().into()
}

fn upstream(name: &str, paths: Value, routes: Vec<Route>) -> Source {
    Source::upstream(name, Arc::new(document("3.1.0", paths, json!({}))), routes)
}

fn shown(sources: &[Source]) -> Vec<String> {
    let united = unite(sources);
    let paths = united.document["paths"].as_object().cloned().unwrap_or_default();
    paths.iter().flat_map(|(path, item)| {
        item.as_object().into_iter().flatten().map(move |(method, _)| format!("{method} {path}"))
    }).collect()
}

#[test]
fn one_path_has_the_methods_of_both() {
    let a = plain("a", document("3.1.0", json!({ "/x/{id}": methods(&["get"]) }), json!({})));
    let b = plain("b", document("3.1.0", json!({ "/x/{name}": {
        "parameters": [{ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } }],
        "post": { "responses": {} },
    } }), json!({})));
    let united = unite(&[a, b]);
    let item = &united.document["paths"]["/x/{id}"];
    assert_eq!(united.document["paths"].as_object().expect("paths").len(), 1);
    assert_eq!(item["get"]["operationId"], "a_get");
    assert_eq!(item["post"]["operationId"], "b_post_x_name");
    assert_eq!(item["post"]["parameters"][0]["name"], "id", "one path has one name for its parameter");
}

#[test]
fn the_same_operation_twice_names_both_documents() {
    let paths = json!({ "/x/{a}": methods(&["get"]) });
    let a = plain("alpha", document("3.1.0", paths, json!({})));
    let b = plain("beta", document("3.1.0", json!({ "/x/{b}": methods(&["get"]) }), json!({})));
    let error = surface::unite(&door(), &[a, b]).expect_err("twice");
    assert_eq!(error.code(), "gateway.operation_twice");
    assert!(error.message().contains("alpha (/x/{a})") && error.message().contains("beta (/x/{b})"), "{error}");
}

#[test]
fn only_what_a_route_leads_to_is_shown() {
    let paths = json!({
        "/v1/models": methods(&["get", "post"]), "/v1/models/{model}": methods(&["delete"]),
        "/v1/files/{file}": methods(&["get"]), "/admin": methods(&["post"]),
    });
    let routes = vec![
        Route { methods: vec!["GET".into()], ..route("/api/models", "/v1/models") },
        route("/api/models/{id}", "/v1/models/{id}"),
        route("/api/{tenant}/files/{*rest}", "/v1/files/{*rest}"),
    ];
    let sources = [upstream("llm", paths, routes)];
    assert_eq!(shown(&sources), ["get /api/models", "delete /api/models/{model}", "get /api/{tenant}/files/{file}"]);
    let united = unite(&sources);
    let names = |operation: &Value| -> Vec<String> {
        operation["parameters"].as_array().into_iter().flatten().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&united.document["paths"]["/api/{tenant}/files/{file}"]["get"]), ["tenant", "file"]);
    assert_eq!(united.shown, [("llm".to_owned(), 3)]);
}

#[test]
fn what_the_door_routes_elsewhere_is_not_shown() {
    let own = Source::own("door", json!({ "openapi": "3.1.0", "paths": { "/api/x/{id}": methods(&["get"]), "/api/y": methods(&["get"]) } }));
    let paths = json!({ "/x/special": methods(&["get"]), "/x/{id}": methods(&["post"]), "/y": methods(&["post"]), "/z": methods(&["get"]) });
    let remote = upstream("far", paths, vec![route("/api/{*rest}", "/{*rest}")]);
    assert_eq!(shown(&[own, remote]), ["get /api/x/{id}", "get /api/y", "get /api/z"]);
}

#[test]
fn a_prefix_and_the_servers_path_are_minded() {
    let mut given = document("3.0.3", json!({ "/a": methods(&["get"]), "/b": methods(&["get"]) }), json!({}));
    given["servers"] = json!([{ "url": "https://{host}/{version}/", "variables": { "host": { "default": "h" }, "version": { "default": "v2" } } }]);
    given["paths"]["/b"]["servers"] = json!([{ "url": "https://elsewhere/other" }]);
    let source = Source { paths: Paths::Prefix { strip: "/v2/".into(), add: "/api/pets/".into() }, ..plain("pets", given.clone()) };
    assert_eq!(shown(&[source]), ["get /api/pets/a"]);
    assert_eq!(shown(&[plain("pets", given)]), ["get /other/b", "get /v2/a"]);
}

#[test]
fn a_parameter_that_a_route_fixes_is_gone() {
    let paths = json!({ "/{kind}/list": { "get": { "responses": {}, "parameters": [
        { "name": "kind", "in": "path", "required": true, "schema": {} }, { "name": "kind", "in": "query", "schema": {} },
    ] } }, "/users/list": { "get": { "summary": "more literal", "responses": {} } } });
    let routes = vec![route("/api/users", "/users/list"), route("/api/teams", "/teams/list")];
    let united = unite(&[upstream("a", paths, routes)]);
    assert_eq!(united.document["paths"]["/api/users"]["get"]["summary"], "more literal");
    let parameters = &united.document["paths"]["/api/teams"]["get"]["parameters"];
    assert_eq!(parameters.as_array().expect("a list").len(), 1);
    assert_eq!(parameters[0]["in"], "query");
}

#[test]
fn the_door_lets_in_where_it_says_so() {
    let mut given = document("3.1.0", json!({ "/a": methods(&["get"]), "/b": methods(&["get"]), "/c": methods(&["get"]) }), json!({}));
    given["components"]["securitySchemes"] = json!({ "bearer": { "type": "apiKey", "name": "k", "in": "header" } });
    given["security"] = json!([{ "bearer": ["s"] }]);
    let mut routes = vec![route("/a", "/a"), route("/b", "/b"), route("/c", "/c")];
    (routes[1].access, routes[2].access) = (Some(Access::Origin), Some(Access::Public));
    let united = unite(&[Source::upstream("far", Arc::new(given), routes)]);
    let asks = |path: &str| united.document["paths"][path]["get"]["security"].clone();
    assert_eq!(asks("/a"), json!([{ "bearer": [] }]));
    assert_eq!(asks("/b"), json!([{ "Far_bearer": ["s"] }]));
    assert_eq!(asks("/c"), json!([]));
    let schemes = &united.document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["type"], "http");
    assert_eq!(schemes["Far_bearer"]["type"], "apiKey");
}

#[test]
fn tags_servers_links_and_callbacks() {
    let mut given = document("3.1.0", json!({
        "/a": { "summary": "of the item", "x-item": 1, "servers": [{ "url": "/" }], "get": {
            "operationId": "getA", "tags": ["t"], "x-own": { "b": 1 },
            "responses": { "200": { "description": "d", "links": {
                "byId": { "operationId": "getB" }, "byRef": { "operationRef": "#/paths/~1b/get", "parameters": { "x": "$response.body#/id" } },
                "hidden": { "operationId": "getC" }, "named": { "$ref": "#/components/links/L" },
            } } },
            "callbacks": { "done": { "{$request.body#/url}": { "post": { "operationId": "getB", "responses": {} } } } },
        } },
        "/b": { "get": { "operationId": "getB", "responses": {} } },
        "/c": { "get": { "operationId": "getC", "responses": {} } },
    }), json!({}));
    given["components"]["links"] = json!({ "L": { "operationId": "getA" } });
    given["tags"] = json!([{ "name": "t", "description": "about t" }, { "name": "unused" }]);
    given["info"]["description"] = json!("About it.");
    given["webhooks"] = json!({ "hook": { "post": { "operationId": "hook", "responses": {} } } });
    let united = unite(&[Source::upstream("far", Arc::new(given), vec![route("/f/a", "/a"), route("/f/b", "/b")])]);
    let get = &united.document["paths"]["/f/a"]["get"];
    assert_eq!(get["operationId"], "far_getA");
    assert_eq!((&get["summary"], &get["x-item"], &get["x-own"]["b"]), (&json!("of the item"), &json!(1), &json!(1)));
    assert_eq!(get["tags"], json!(["far/t"]));
    let links = &get["responses"]["200"]["links"];
    assert_eq!(links["byId"], json!({ "operationId": "far_getB" }));
    assert_eq!(links["byRef"], json!({ "operationId": "far_getB", "parameters": { "x": "$response.body#/id" } }));
    assert!(links.get("hidden").is_none(), "the door does not lead there");
    assert_eq!(united.document["components"]["links"]["L"]["operationId"], "far_getA");
    assert_eq!(get["callbacks"]["done"]["{$request.body#/url}"]["post"]["operationId"], "far_getB_2");
    assert_eq!(united.document["webhooks"]["far/hook"]["post"]["operationId"], "far_hook");
    assert_eq!(united.document["servers"], json!([{ "url": "/" }]));
    assert_eq!(united.document["tags"], json!([
        { "name": "far", "description": "T 1\n\nAbout it." }, { "name": "far/t", "description": "about t" },
    ]));
    assert!(united.document["paths"]["/f/a"].get("servers").is_none());
}

#[test]
fn path_items_may_be_elsewhere_in_the_document() {
    let mut given = document("3.1.0", json!({ "/a": { "$ref": "#/components/pathItems/Shared", "post": { "responses": {} } }, "/loop": { "$ref": "#/paths/~1loop" } }), json!({}));
    given["components"]["pathItems"] = json!({ "Shared": gives(json!({ "type": "string" })) });
    assert_eq!(shown(&[plain("a", given)]), ["get /a", "post /a"]);
}

#[test]
fn versions_that_are_not_read_say_so() {
    let error = |document: Value| surface::unite(&door(), &[plain("old", document)]).expect_err("refused");
    assert!(error(json!({ "swagger": "2.0", "paths": {} })).message().contains("Swagger 2.0"));
    assert!(error(json!({ "openapi": "4.0.0", "paths": {} })).message().contains("4.0.0"));
    assert_eq!(error(json!({ "openapi": "3.0.0" })).code(), "gateway.document_invalid");
    assert_eq!(error(json!([])).code(), "gateway.document_invalid");
}

#[test]
fn bodies_are_shown_in_the_shape_of_their_route() {
    let answer = json!({ "description": "d", "content": { "application/json": { "schema": crate::house::to("Thing") },
        "text/csv": {} } });
    let problem = json!({ "description": "p", "content": { "application/problem+json": { "schema": { "type": "object" } } } });
    let get = json!({ "responses": { "200": { "$ref": "#/components/responses/Answer" }, "204": { "description": "n" }, "404": problem } });
    let mut given = document("3.1.0", json!({ "/a": { "get": get }, "/n": { "get": { "responses": { "204": { "description": "n" } } } } }), json!({ "Thing": { "type": "string" } }));
    given["components"]["responses"] = json!({ "Answer": answer });
    let routes = vec![
        Route { shape: Shape::Success, ..route("/s", "/a") },
        Route { shape: Shape::Status, ..route("/t", "/a") },
        Route { shape: Shape::Success, ..route("/u", "/n") },
        route("/plain", "/a"),
    ];
    let united = unite(&[Source::upstream("far", Arc::new(given), routes)]);
    let schema = |path: &str, status: &str| {
        united.document["paths"][path]["get"]["responses"][status]["content"]["application/json"]["schema"].clone()
    };
    assert_eq!(schema("/s", "404")["properties"]["error"], json!({ "type": "object" }));
    assert_eq!(schema("/t", "404")["properties"]["status"], json!({ "const": "error" }));
    assert_eq!(schema("/s", "200")["properties"]["data"], crate::house::to("Thing"));
    assert_eq!(schema("/u", "200")["properties"]["data"], json!({ "type": "null" }), "204 becomes 200 around null");
    let plain = &united.document["paths"]["/plain"]["get"]["responses"];
    assert_eq!(plain["200"], json!({ "$ref": "#/components/responses/Answer" }));
    assert!(plain.get("204").is_some());
    assert_eq!(united.document["components"]["responses"]["Answer"]["content"]["application/json"]["schema"], crate::house::to("Thing"));
}
