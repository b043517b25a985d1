//! `GET /.well-known/jwks.json`: the public keys, for whoever verifies access tokens on their own.
//! Not for private halves, which never leave the process.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use kernel::Answer;
use serde::Serialize;
use service::{Access, App, Operation};
use utoipa::ToSchema;
use web::{Problem, Reply};

use crate::state::Identity;

/// The public keys (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
struct Jwks {
    /// The keys: those that sign, those that will soon, and those whose tokens still work.
    keys: Vec<serde_json::Value>,
}

pub(crate) fn operation() -> Operation {
    Operation::get("/.well-known/jwks.json", "identity_get_jwks", jwks)
        .access(Access::Public)
        .describe(
            "Public keys",
            "The keys that access tokens are signed with, as a JWK set. A key appears here before it signs and stays \
             until its last token has run out, so five minutes of caching are safe.",
        )
        .gives::<Jwks>(200, "The keys")
        .called(200, "application/jwk-set+json")
}

async fn jwks(State(app): State<App>, Extension(identity): Extension<Identity>) -> Result<Response, Problem> {
    let mut response = Reply(Answer::ok(&identity.keys().jwks(app.now()))?).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    Ok(response)
}
