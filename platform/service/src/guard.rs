//! What stands in front of every handler, local or remote: the access check, a superadmin's reason,
//! the limits, the idempotency key, and the rendering of problems. Not for authentication, which
//! the door does.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::Method;
use kernel::{Error, Result};
use web::{CredentialKind, Granted, Limits, Operator, Principal, Problem, RequestIds};

use crate::features::Features;
use crate::operation::Access;

#[derive(Clone)]
pub(crate) struct Rule {
    pub access: Access,
    pub body_limit: usize,
    /// Whether the handler reads the body itself.
    pub streamed: bool,
    pub switch: Option<Switch>,
}

/// The switch of an operation, and who knows whether it is on.
#[derive(Clone)]
pub(crate) struct Switch {
    pub key: &'static str,
    pub features: Arc<dyn Features>,
}

pub(crate) async fn check(rule: Rule, request: Request, next: Next) -> Response {
    let ids = match request.extensions().get::<RequestIds>() {
        Some(ids) => ids.clone(),
        None => RequestIds::from_headers(request.headers()),
    };
    let response = match prepare(rule, request).await {
        Ok(request) => next.run(request).await,
        Err(error) => Problem::from(error).into_response(),
    };
    web::render(response, &ids)
}

async fn prepare(rule: Rule, mut request: Request) -> Result<Request> {
    let principal = request.extensions().get::<Principal>();
    // What is switched off is so for everybody in the tenant, whoever may use it otherwise.
    // A public route is for whom it finds out itself, not for a caller who happens to be signed in.
    if let (Some(switch), Some(principal)) = (&rule.switch, principal)
        && rule.access != Access::Public
    {
        switch.features.require(principal.tenant, switch.key)?;
    }
    match (rule.access, principal) {
        (Access::Public, _) => {}
        (Access::Operator, _) if request.extensions().get::<Operator>().is_some() => {}
        (Access::Operator, _) => {
            return Err(Error::unauthenticated("request.operator_only", "this needs the operator token"));
        }
        (Access::SignedIn | Access::Session | Access::Permission(_), None) => {
            return Err(Error::unauthenticated("request.unauthenticated", "send a valid bearer token"));
        }
        (Access::SignedIn, Some(_)) => {}
        (Access::Session, Some(principal)) if principal.kind == CredentialKind::Session => {}
        (Access::Session, Some(_)) => {
            let message = "an API token cannot do this: sign in";
            return Err(Error::forbidden("identity.session_required", message));
        }
        (Access::Permission(permission), Some(principal)) if principal.permissions.allows(permission) => {}
        (Access::Permission(permission), Some(_)) => {
            return Err(Error::forbidden("request.forbidden", format!("this needs the permission {permission}")));
        }
    }
    if principal.is_some_and(|principal| principal.elevated.is_some()) {
        let reason = web::audit_reason(request.headers())?;
        if reason.is_none() && !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Err(web::reason_required());
        }
    }
    request.extensions_mut().insert(Granted);
    request.extensions_mut().insert(Limits { body_bytes: rule.body_limit });
    let (mut request, idempotency) = match rule.streamed {
        true => web::take_idempotency_of_stream(request)?,
        false => web::take_idempotency(request, rule.body_limit).await?,
    };
    if let Some(idempotency) = idempotency {
        request.extensions_mut().insert(idempotency);
    }
    Ok(request)
}
