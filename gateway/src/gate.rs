//! From the Authorization header to a checked caller: what a token looks like, who checks it, and
//! the cache in between. Not for what a route needs: that is checked beside the handler.

use std::sync::Arc;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use kernel::{Error, Result};
use subtle::ConstantTimeEq as _;
use tokio::runtime::Handle;
use web::{Authenticate, Verified};

use crate::checks::Joined;
use crate::token_cache::TokenCache;

/// The longest token that is looked at.
const TOKEN_LIMIT: usize = 4 * 1024;

/// Checks the tokens of a public door.
#[derive(Clone)]
pub struct Gate {
    /// What was checked a short while ago.
    pub cache: Arc<TokenCache>,
    /// Who checks the others.
    pub authenticate: Arc<dyn Authenticate>,
}

impl Gate {
    /// Returns the caller behind the token; a known one without leaving this core.
    pub(crate) async fn check(&self, token: &str, runtime: &Handle) -> Result<Arc<Verified>> {
        if let Some(known) = self.cache.get(token) {
            return Ok(known);
        }
        let flight = match self.cache.join_or_begin(token) {
            Joined::Known(known) => return Ok(known),
            Joined::Under(flight) => flight,
            Joined::First(check) => {
                let flight = check.flight();
                let (authenticate, text) = (self.authenticate.clone(), token.to_owned());
                // The database belongs to the services' runtime, not to this core's. It ends there also when whoever
                // came first has gone: others may wait for it.
                runtime.spawn(async move {
                    let checked = authenticate.bearer(&text).await;
                    check.end(&text, checked.map(Arc::new));
                });
                flight
            }
        };
        flight.landed().await
    }

    /// Returns the caller behind a ticket, which is spent with that.
    pub(crate) async fn spend(&self, ticket: String, path: String, runtime: &Handle) -> Result<Verified> {
        let authenticate = self.authenticate.clone();
        let checked = runtime.spawn(async move { authenticate.ticket(&ticket, &path).await });
        checked.await.map_err(|error| Error::internal("authentication failed to run").source_error(error))?
    }
}

/// The token of whoever runs the installation.
#[derive(Clone)]
pub struct OperatorToken(Arc<str>);

impl OperatorToken {
    /// Returns the token.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn is(&self, text: &str) -> bool {
        !self.0.is_empty() && bool::from(self.0.as_bytes().ct_eq(text.as_bytes()))
    }
}

fn refused() -> Error {
    Error::unauthenticated("request.unauthenticated", "send one Authorization header: Bearer and a token")
}

/// Returns the Authorization header; more than one is refused.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Option<HeaderValue>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().cloned();
    if values.next().is_some() { Err(refused()) } else { Ok(value) }
}

/// Says whether a bearer token was sent, good or bad.
pub(crate) fn has_token(headers: &HeaderMap) -> bool {
    let is_bearer = |value: &HeaderValue| value.as_bytes().get(..7).is_some_and(|b| b.eq_ignore_ascii_case(b"bearer "));
    headers.get_all(AUTHORIZATION).iter().any(is_bearer)
}

/// Returns the bearer token in an Authorization header; another scheme and a huge token are refused.
pub(crate) fn bearer(value: &HeaderValue) -> Result<&str> {
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
    let token = token.trim();
    let taken = scheme.eq_ignore_ascii_case("bearer") && token.len() <= TOKEN_LIMIT;
    if taken { Ok(token) } else { Err(refused()) }
}

/// Says how to authenticate (RFC 6750, section 3), and whether the token that was sent is why not.
pub(crate) fn challenge(headers: &mut HeaderMap, token_refused: bool) {
    let text = match token_refused {
        true => "Bearer realm=\"portico\", error=\"invalid_token\"",
        false => "Bearer realm=\"portico\"",
    };
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(text));
}
