//! The cookie for pages of this server (decision 0010): puts an access token of the caller's session
//! where scripts cannot read it and browsers send it by themselves. Not for believing it: the gateway
//! asks where a request with it came from.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderValue, Method};
use kernel::{Answer, Error, Result, Timestamp};
use serde::Serialize;
use service::{Access, App, Operation};
use utoipa::ToSchema;
use web::{Principal, Problem, Reply, Standing};

use crate::credentials::access_token::{self, Subject};
use crate::opening::not_stored;
use crate::routes::me::person_of;
use crate::state::Identity;

/// A cookie was set.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CookieSet {
    /// When it stops working: refresh the session and set it anew before.
    expires_at: Timestamp,
}

pub(crate) fn operations() -> [Operation; 2] {
    [
        Operation::post("/api/auth/cookie", "identity_set_cookie", set)
            .access(Access::Session)
            .describe(
                "Use a cookie",
                "For pages of this server. Sets `__Host-portico` (HttpOnly, Secure, SameSite=Lax), which works as long \
                 as the access token that this is asked with; after each refresh, ask again. With the cookie, changes \
                 and streams are taken from pages of this server only: their `Origin` says so.",
            )
            .gives::<CookieSet>(200, "Set")
            .problems(&[403]),
        Operation::new(Method::DELETE, "/api/auth/cookie", "identity_clear_cookie", clear)
            .access(Access::Session)
            .describe("Stop using a cookie", "Clears the cookie; the session goes on.")
            .gives_other(204, "Cleared", &[])
            .problems(&[403]),
    ]
}

async fn set(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(principal): Extension<Principal>,
    Extension(standing): Extension<Standing>,
) -> Result<Response, Problem> {
    let (user, tenant, session) = (person_of(&principal)?, principal.tenant, principal.credential.parse()?);
    let subject = Subject { user, tenant, session, role: &principal.role };
    let now = app.now();
    // No longer than the token it was asked with: only a refresh token prolongs anything.
    let (token, expires_at) = access_token::sign(identity.keys(), identity.settings(), &subject, now, standing.until)?;
    let age = expires_at.seconds() - now.seconds();
    let response = not_stored(Answer::ok(&CookieSet { expires_at })?);
    with_cookie(response, &token, age)
}

async fn clear() -> Result<Response, Problem> {
    let mut response = Reply(Answer::no_content()).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    with_cookie(response, "", 0)
}

fn with_cookie(mut response: Response, token: &str, age: i64) -> Result<Response, Problem> {
    let text = format!("__Host-portico={token}; Max-Age={age}; Path=/; HttpOnly; Secure; SameSite=Lax");
    let value = HeaderValue::try_from(text).map_err(|_| Error::internal("an access token is no text for a cookie"))?;
    response.headers_mut().insert(SET_COOKIE, value);
    Ok(response)
}
