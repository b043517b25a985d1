//! Extractors whose refusals are problems with a stable code. [`Caller`] is the only place where a
//! request's [`Ctx`] is built. Not for authentication: the door has done that before.

use std::convert::Infallible;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};

use axum::extract::{FromRequest, FromRequestParts, Request};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use kernel::{Ctx, CtxParts, Error, Idempotency};
use serde::de::DeserializeOwned;

use crate::objects::Objects;
use crate::problem::Problem;
use crate::request::{ClientAddress, Granted, Limits, Principal, RequestIds, audit_reason, bytes_within};

/// The checked caller of a route, as a context.
pub struct Caller(pub Ctx);

impl Deref for Caller {
    type Target = Ctx;

    fn deref(&self) -> &Ctx {
        &self.0
    }
}
impl DerefMut for Caller {
    fn deref_mut(&mut self) -> &mut Ctx {
        &mut self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let granted = parts.extensions.get::<Granted>().is_some();
        let (Some(principal), Some(ids)) = (parts.extensions.get::<Principal>(), parts.extensions.get::<RequestIds>())
        else {
            return Err(Error::unauthenticated("request.unauthenticated", "send a valid bearer token").into());
        };
        if !granted {
            return Err(Error::internal("a route without a permission check asked for a context").into());
        }
        // A read may go without: then the reason is the one that opened the session.
        let reason = match &principal.elevated {
            Some(opened) => Some(audit_reason(&parts.headers)?.unwrap_or_else(|| opened.to_string())),
            None => None,
        };
        Ok(Self(Ctx::new(CtxParts {
            tenant: principal.tenant,
            actor: principal.actor.clone(),
            permissions: principal.permissions.clone(),
            request_id: ids.request.clone(),
            correlation_id: ids.correlation.clone(),
            idempotency: parts.extensions.get::<Idempotency>().cloned(),
            reason,
        })))
    }
}

/// The address that a request comes from, as far as it is known; not for deciding who somebody is.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub Option<IpAddr>);

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<ClientAddress>().map(|client| client.0)))
    }
}

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let json = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
        });
        if !json {
            let error = Error::invalid("request.unsupported_media_type", "send the body as application/json");
            return Err(error.status_code(415).into());
        }
        let limit = request.extensions().get::<Limits>().map_or(1 << 20, |limits| limits.body_bytes);
        let bytes = bytes_within(request.into_body(), limit).await?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(Objects(&mut reader)).map_err(|error| {
            let field = error.path().to_string();
            let message = plain(&error.inner().to_string());
            let problem = Error::invalid("request.invalid_body", format!("the body is not valid: {message}"));
            if field == "." { problem } else { problem.field(field, message) }
        })?;
        reader.end().map_err(|_| Error::invalid("request.invalid_body", "the body goes on after its JSON value"))?;
        Ok(Self(value))
    }
}

/// Drops the Rust-side part of a message about JSON, keeping line and column.
fn plain(message: &str) -> String {
    message.chars().take(300).collect()
}

/// The path's parameters.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(error) => Err(Error::invalid(
                "request.invalid_path",
                format!("the path is not valid: {}", plain(error.body_text().trim_start_matches("Invalid URL: "))),
            )
            .into()),
        }
    }
}

/// The query's parameters.
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        match serde_urlencoded::from_str(query) {
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(Error::invalid(
                "request.invalid_query",
                format!("the query is not valid: {}", plain(&error.to_string())),
            )
            .into()),
        }
    }
}
