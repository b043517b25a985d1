//! Answers of a route from the cache: whose they are, and how they come there. Not for the rules of a cache.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http_cache::{Class, Scope};
use kernel::Result;
use web::Principal;

use crate::door::Door;
use crate::errand::Errand;

impl Door {
    /// Answers from what is kept, or with what the target says.
    pub(crate) async fn kept(
        &self,
        policy: &Arc<http_cache::Policy>,
        errand: &Errand,
        request: Request,
        path: Option<String>,
        parts: &[(String, String)],
    ) -> Result<Response> {
        let scope = match errand.caller.as_deref() {
            Some(caller) if !policy.is_shared() => Scope::of(caller.tenant, class_of(caller), errand.secure),
            _ => Scope::public(errand.secure),
        };
        let parameter = |name: &str| parts.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let route = http_cache::Route { policy, scope: &scope, parameter: &parameter };
        let errand = errand.clone();
        let fetch = move |request: Request| {
            let (errand, path) = (errand.clone(), path.clone());
            async move { errand.run(request, path).await }
        };
        self.parts.lasting.cache().answer(&route, request, fetch).await
    }
}

/// Returns who may see the same answers: whoever has the same role and rights.
fn class_of(caller: &Principal) -> Class {
    let mut parts = vec![caller.role.as_bytes()];
    parts.extend(caller.permissions.iter().map(str::as_bytes));
    Class::of(&parts)
}
