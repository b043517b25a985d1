//! Requests that the door makes itself for a caller: the parts of compositions. Each walks through its route as if the
//! caller had asked for it: networks, limits, rights, switch, transformations, cache, stand-in answers. Not for
//! sockets, nor for what only a connection has: preflights, the size of the head, shedding, shapes.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use compose::{Inputs, PartRequest, Recipe};
use futures_util::FutureExt as _;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method};
use kernel::{Error, Result};
use policies::{Phase, Subject, Verdict};
use service::Access;
use web::{ClientAddress, PROBLEM_JSON, Principal, RequestIds};

use crate::door::Door;
use crate::errand::Errand;
use crate::plan::Found;
use crate::server::Core;
use crate::target::Target;
use crate::trail::Trail;
use crate::{answer, front};

/// Who a request of the door's own is made for.
#[derive(Clone)]
pub(crate) struct Behalf {
    pub core: Rc<Core>,
    pub ids: RequestIds,
    pub caller: Option<Arc<Principal>>,
    pub client: Option<ClientAddress>,
    pub secure: bool,
    pub trail: Trail,
    /// What the caller's own request said, for limits that count by it.
    pub headers: HeaderMap,
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
        // As the caller named it: routes may be for one host, and kept answers are found again by it.
        if let Some(host) = behalf.headers.get(HOST) {
            request.headers_mut().insert(HOST, host.clone());
        }
        // Without a shape around it, so that a part is the resource and a problem is a problem.
        request.headers_mut().append(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers_mut().append(ACCEPT, HeaderValue::from_static(PROBLEM_JSON));
        self.inside(request, behalf, part.deadline).await
    }

    /// Walks a request of the door's own through its route; in the order of `Door::walk`.
    async fn inside(&self, mut request: Request, behalf: &Behalf, deadline: Instant) -> Result<Response> {
        let now = Instant::now();
        let escapes = front::check_target(request.uri())?;
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let found = self.plan().find(host, request.method(), request.uri().path());
        found.takes(escapes)?;
        let Found::Route { route, path, parts } = found else {
            let message = format!("no route takes {} {}", request.method(), request.uri().path());
            return Err(Error::not_found("request.no_route", message));
        };
        // Those that the file names were refused when it was read; a value of the request may still lead to one.
        if matches!(route.target, Target::Composition(_)) || !matches!(*request.method(), Method::GET | Method::POST) {
            return Err(Error::invalid("gateway.part_not_asked", "a part is a read of another route"));
        }
        let (steps, address) = (&route.steps, behalf.client.map(|client| client.0));
        if let Some(addresses) = &steps.addresses {
            addresses.check(address)?;
        }
        let mut told = Verdict::default();
        let subject = Subject { address, tenant: None, user: None, credential: None, headers: &behalf.headers };
        steps.limit(Phase::BeforeAuthentication, &subject, now, &mut told).await?;
        // A public route asks nobody who he is, and answers all alike.
        let caller = behalf.caller.clone().filter(|_| route.access != Access::Public);
        steps.authorise(caller.as_deref(), false)?;
        steps.switch(caller.as_deref(), self.features())?;
        let subject = Subject {
            tenant: caller.as_deref().map(|caller| caller.tenant),
            user: caller.as_deref().and_then(Principal::user),
            credential: caller.as_ref().map(|caller| &*caller.credential),
            ..subject
        };
        steps.limit(Phase::AfterAuthentication, &subject, now, &mut told).await?;
        behalf.trail.write(request.headers_mut());
        let (mut request, _watch) = steps.body_limit.request(request)?;
        let (prepared, shown) =
            self.prepare(&route, &mut request, caller.as_deref(), behalf.client, &behalf.ids, &parts);
        if let Target::Service(_) = &route.target {
            let extensions = request.extensions_mut();
            extensions.insert(behalf.ids.clone());
            behalf.client.map(|client| extensions.insert(client));
            caller.as_deref().map(|caller| extensions.insert(caller.clone()));
        }
        let method = request.method().clone();
        let errand = Errand {
            core: behalf.core.clone(),
            ids: behalf.ids.clone(),
            id_values: answer::id_values(&behalf.ids),
            caller,
            client: behalf.client,
            deadline: steps.timeout.map_or(deadline, |timeout| deadline.min(now + timeout)),
            secure: behalf.secure,
            upgrade: false,
            standing: None,
            desk: self.desk().clone(),
            prepared,
            trail: behalf.trail.clone(),
            route,
        };
        let answered = match &errand.route.steps.cache {
            Some(policy) => self.kept(policy, &errand, request, path, &parts).await,
            None => errand.run(request, path).await,
        };
        answer::back(&errand.route.steps, &method, shown, answered)
    }
}
