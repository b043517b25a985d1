//! Requests that the door makes itself, with a caller's rights: the parts of compositions. They walk through
//! the same routes, rights and switches as the caller's own; limits counted the whole. Not for sockets.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use compose::{Inputs, PartRequest, Recipe};
use futures_util::FutureExt as _;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method};
use kernel::{Error, Result};
use web::{ClientAddress, PROBLEM_JSON, Principal, RequestIds};

use crate::door::Door;
use crate::errand::Errand;
use crate::front;
use crate::plan::Found;
use crate::server::Core;
use crate::target::Target;
use crate::trail::Trail;

/// Who a request of the door's own is made for.
#[derive(Clone)]
pub(crate) struct Behalf {
    pub core: Rc<Core>,
    pub ids: RequestIds,
    pub caller: Option<Arc<Principal>>,
    pub client: Option<ClientAddress>,
    pub secure: bool,
    pub trail: Trail,
}

impl Door {
    /// Answers with a composition.
    pub(crate) async fn compose(
        &self,
        recipe: &Recipe,
        behalf: &Behalf,
        parts: Vec<(String, String)>,
        query: Option<&str>,
        deadline: Instant,
    ) -> Result<Response> {
        let inputs = Inputs::new(parts, query);
        let call = |part: PartRequest| self.part(part, behalf).boxed_local();
        compose::run(recipe, &inputs, deadline, call).await.into_response()
    }

    async fn part(&self, part: PartRequest, behalf: &Behalf) -> Result<Response> {
        let wrong = |error: http::Error| Error::internal("a part's target is not valid").source_error(error);
        let body = part.body.as_ref().map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request = Request::builder().method(part.method).uri(&part.target).body(body).map_err(wrong)?;
        if part.body.is_some() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        // Without a shape around it, so that a part is the resource and a problem is a problem.
        request.headers_mut().append(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().append(ACCEPT, HeaderValue::from_static(PROBLEM_JSON));
        self.inside(request, behalf, part.deadline).await
    }

    /// Walks a request of the door's own through its route.
    async fn inside(&self, mut request: Request, behalf: &Behalf, deadline: Instant) -> Result<Response> {
        front::check_target(request.uri())?;
        let found = self.plan().find(None, request.method(), request.uri().path());
        let Found::Route { route, path, .. } = found else {
            let message = format!("no route takes {} {}", request.method(), request.uri().path());
            return Err(Error::not_found("request.no_route", message));
        };
        if matches!(route.target, Target::Composition(_)) || !matches!(*request.method(), Method::GET | Method::POST) {
            return Err(Error::invalid("gateway.part_not_asked", "a part is a read of another route"));
        }
        let caller = behalf.caller.as_deref();
        route.steps.authorise(caller, false)?;
        route.steps.switch(caller, self.features())?;
        behalf.trail.write(request.headers_mut());
        request.extensions_mut().insert(behalf.ids.clone());
        if let Some(client) = behalf.client {
            request.extensions_mut().insert(client);
        }
        if matches!(route.target, Target::Service(_))
            && let Some(caller) = caller
        {
            request.extensions_mut().insert(caller.clone());
        }
        let errand = Errand {
            core: behalf.core.clone(),
            ids: behalf.ids.clone(),
            id_values: crate::answer::id_values(&behalf.ids),
            caller: behalf.caller.clone(),
            client: behalf.client,
            deadline,
            secure: behalf.secure,
            upgrade: false,
            standing: None,
            desk: self.desk().clone(),
            prepared: policies::Prepared::default(),
            trail: behalf.trail.clone(),
            route,
        };
        errand.run(request, path).await
    }
}
