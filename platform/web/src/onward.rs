//! What a call onward to another service takes along of the request that causes it: the caller as the
//! door checked it, the ids, the address, the reason. The guard beside the other handler checks the
//! caller's permission again, so nobody can do by a detour what is not allowed on the way. Not for
//! finding the other service.

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderValue, Method};
use kernel::{Error, Result, TenantId};

use crate::connections::Standing;
use crate::problem::Problem;
use crate::request::{AUDIT_REASON_HEADER, ClientAddress, Granted, Principal, RequestIds};
use crate::trace::{TRACEPARENT, TRACESTATE};

/// The caller of a route, to act as in calls to other services.
#[derive(Clone, Debug)]
pub struct Onward {
    principal: Principal,
    ids: RequestIds,
    standing: Option<Standing>,
    client: Option<ClientAddress>,
    reason: Option<HeaderValue>,
    /// The trace, which the door has checked: its two headers.
    trace: [Option<HeaderValue>; 2],
}

impl Onward {
    /// Returns the caller's tenant.
    pub fn tenant(&self) -> TenantId {
        self.principal.tenant
    }

    /// Says whether the caller has the permission in the tenant.
    pub fn allows(&self, permission: &str) -> bool {
        self.principal.permissions.allows(permission)
    }

    /// Returns a GET of this path and query as the caller.
    pub fn get(&self, target: &str) -> Result<Request> {
        let bad = |error| Error::internal("the target of a call onward is not valid").source_error(error);
        let mut request = Request::builder().method(Method::GET).uri(target).body(Body::empty()).map_err(bad)?;
        if let Some(reason) = &self.reason {
            request.headers_mut().insert(AUDIT_REASON_HEADER, reason.clone());
        }
        for (name, value) in [TRACEPARENT, TRACESTATE].into_iter().zip(&self.trace) {
            value.as_ref().map(|value| request.headers_mut().insert(name, value.clone()));
        }
        let extensions = request.extensions_mut();
        extensions.insert(self.ids.clone());
        extensions.insert(self.principal.clone());
        self.standing.map(|standing| extensions.insert(standing));
        self.client.map(|client| extensions.insert(client));
        Ok(request)
    }
}

impl<S: Sync> FromRequestParts<S> for Onward {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if parts.extensions.get::<Granted>().is_none() {
            return Err(Error::internal("a route without a permission check asked to call onward").into());
        }
        let (Some(principal), Some(ids)) = (parts.extensions.get::<Principal>(), parts.extensions.get::<RequestIds>())
        else {
            return Err(Error::unauthenticated("request.unauthenticated", "send a valid bearer token").into());
        };
        Ok(Self {
            principal: principal.clone(),
            ids: ids.clone(),
            standing: parts.extensions.get().copied(),
            client: parts.extensions.get().copied(),
            reason: parts.headers.get(&AUDIT_REASON_HEADER).cloned(),
            trace: [TRACEPARENT, TRACESTATE].map(|name| parts.headers.get(name).cloned()),
        })
    }
}
