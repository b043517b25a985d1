//! The documents: `/openapi.json`, and Swagger UI at `/docs` from files that are built in. Not for
//! the handbook in `docs/`.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use kernel::Error;
use serde_json::Value;
use service::{Access, Operation, Service};
use utoipa_swagger_ui::Config;
use web::Path;

/// The page loads nothing from elsewhere.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/// Returns the service that serves this document.
pub fn service(document: Arc<std::sync::OnceLock<String>>) -> Service {
    let config = Arc::new(Config::from("/openapi.json"));
    let page = config.clone();
    Service::new("docs", "The documents").routes([
        Operation::get("/openapi.json", "docs_get_openapi", move || openapi(document.clone()))
            .access(Access::Public)
            .describe("The OpenAPI document", "Every route of this installation, OpenAPI 3.1.")
            .gives_other(200, "The document", &["application/json"]),
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

async fn openapi(document: Arc<std::sync::OnceLock<String>>) -> Response {
    let text = document.get().cloned().unwrap_or_default();
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], text).into_response()
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
