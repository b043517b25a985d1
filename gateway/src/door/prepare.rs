//! What transformations are shown of a request, before it goes on. Not for what they change.

use axum::extract::Request;
use policies::{Prepared, Values};
use web::{ClientAddress, Principal, RequestIds};

use crate::door::Door;
use crate::plan::Route;

impl Door {
    /// Renders what the transformations of request and answer show of the request.
    pub(crate) fn prepare(
        &self,
        route: &Route,
        request: &mut Request,
        caller: Option<&Principal>,
        client: Option<ClientAddress>,
        ids: &RequestIds,
        parts: &[(String, String)],
    ) -> (Prepared, Prepared) {
        let (of_request, of_answer) = (&route.steps.request, &route.steps.response);
        if of_request.is_none() && of_answer.is_none() {
            return Default::default();
        }
        let path = |name: &str| parts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let values = Values {
            tenant: caller.map(|caller| caller.tenant),
            user: caller.and_then(Principal::user),
            subject: caller.map(|caller| &*caller.credential),
            role: caller.map(|caller| &*caller.role),
            request_id: Some(ids.request.as_str()),
            client_ip: client.map(|client| client.0),
            path: &path,
            query: request.uri().query(),
            headers: request.headers(),
            now: self.parts.clock.now(),
        };
        let prepared = of_request.as_ref().map(|transform| transform.prepare(&values)).unwrap_or_default();
        let shown = of_answer.as_ref().map(|transform| transform.prepare(&values)).unwrap_or_default();
        if let Some(transform) = of_answer {
            transform.ask(request.headers_mut());
        }
        (prepared, shown)
    }
}
