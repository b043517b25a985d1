//! The documents: `/openapi.json`, which is replaced when an upstream's document changes, and Swagger
//! UI at `/docs` from files that are built in. Not for the handbook in `docs/`.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use kernel::Error;
use serde_json::Value;
use service::{Access, Operation, Service};
use surface::Published;
use utoipa_swagger_ui::Config;
use web::Path;

/// The page loads nothing from elsewhere.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/// Returns the service that serves this document.
pub fn service(document: Arc<Published>) -> Service {
    let config = Arc::new(Config::from("/openapi.json"));
    let page = config.clone();
    Service::new("docs", "The documents").routes([
        Operation::get("/openapi.json", "docs_get_openapi", move |headers: HeaderMap| {
            openapi(document.clone(), headers)
        })
        .access(Access::Public)
        .describe(
            "The OpenAPI document",
            "Every route of this installation, OpenAPI 3.1, those of its upstreams that have a document included.",
        )
        .gives_other(200, "The document", &["application/json"])
        .gives_other(304, "The caller has it", &[]),
        Operation::get("/docs", "docs_get_page", move || file(page.clone(), "index.html".to_owned()))
            .access(Access::Public)
            .describe("The documentation in a browser", "Swagger UI; it loads nothing from elsewhere.")
            .gives_other(200, "The page", &["text/html"]),
        Operation::get("/docs/{file}", "docs_get_file", move |Path(name): Path<String>| file(config.clone(), name))
            .access(Access::Public)
            .hidden(),
    ])
}

/// Writes a document as it is served and committed.
pub fn written(document: &Value) -> String {
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}

async fn openapi(document: Arc<Published>, headers: HeaderMap) -> Response {
    let shown = document.get();
    let head = [(CACHE_CONTROL, "no-cache".to_owned()), (ETAG, shown.etag.clone())];
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // A weak comparison (RFC 9110, section 13.1.2).
    if known
        .flat_map(|list| list.split(','))
        .any(|tag| ["*", shown.etag.as_str()].contains(&tag.trim().trim_start_matches("W/")))
    {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, [(CONTENT_TYPE, "application/json")], shown.text.clone()).into_response()
}

async fn file(config: Arc<Config<'static>>, name: String) -> web::Result<Response> {
    let missing = || Error::not_found("request.not_found", "there is no such file");
    let found = utoipa_swagger_ui::serve(&name, config).map_err(|error| missing().context(error.to_string()))?;
    let found = found.ok_or_else(missing)?;
    let headers = [(CONTENT_TYPE, found.content_type), (CONTENT_SECURITY_POLICY, POLICY.to_owned())];
    if name != "index.html" {
        return Ok((headers, found.bytes.into_owned()).into_response());
    }
    // The page is served without a trailing slash, so its relative links need a base.
    let page = String::from_utf8_lossy(&found.bytes).replacen("<head>", "<head>\n    <base href=\"/docs/\" />", 1);
    Ok((headers, page).into_response())
}
