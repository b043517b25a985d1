//! Requests that are not for the store: those that change something, after which what is stored about it is
//! invalidated (RFC 9111 section 4.4), and those that pass by. Not for GET and HEAD.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use http::header::{CONTENT_LOCATION, LOCATION};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode};
use kernel::Result;

use crate::cache::{Inner, Route, job};
use crate::directives::Asked;
use crate::fill::When;
use crate::key::{self, Key};
use crate::policy::Policy;
use crate::stored::{Outcome, Why};
use crate::tag::{self, Tag};

impl Inner {
    /// Passes a request by the store.
    pub(crate) async fn pass<F, Fut>(
        &self,
        policy: &Policy,
        request: Request<Body>,
        fetch: &F,
    ) -> Result<Response<Body>>
    where
        F: Fn(Request<Body>) -> Fut,
        Fut: Future<Output = Result<Response<Body>>>,
    {
        let response = fetch(request).await?;
        Ok(self.own(policy, response, Outcome::Bypass, Why::Bypass))
    }

    /// Passes a request on, and invalidates what it has changed.
    pub(crate) async fn write_through<F, Fut>(
        self: &Arc<Self>,
        route: &Route<'_>,
        request: Request<Body>,
        fetch: &F,
    ) -> Result<Response<Body>>
    where
        F: Fn(Request<Body>) -> Fut,
        Fut: Future<Output = Result<Response<Body>>>,
    {
        if [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(request.method()) {
            return self.pass(route.policy, request, fetch).await;
        }
        let (parts, body) = request.into_parts();
        let asked = self.clock.now();
        let before = parts.clone();
        let response = fetch(Request::from_parts(parts, body)).await?;
        let successful = response.status().is_success() || response.status().is_redirection();
        if !successful {
            return Ok(self.own(route.policy, response, Outcome::Bypass, Why::Method));
        }
        let own = key::with(route.policy, route.scope, &before, |key| Key::from(key));
        let mut tags = vec![tag::uri(&own)];
        tags.extend([LOCATION, CONTENT_LOCATION].iter().filter_map(|name| self.named(route, &before, &response, name)));
        self.invalidate(route.scope.tenant, &tags);
        if route.scope.tenant.is_some() {
            // What all share may show the change too.
            self.invalidate(None, &tags);
        }
        let answers_itself = response.status() == StatusCode::OK
            && route.policy.post
            && before.method == Method::POST
            && tags.len() == 2
            && tags[0] == tags[1]
            && response.headers().contains_key(CONTENT_LOCATION);
        if !answers_itself {
            return Ok(self.own(route.policy, response, Outcome::Bypass, Why::Method));
        }
        // RFC 9110 section 9.3.3: it is what GET would give now.
        let began = self.memory.index.sequence();
        let when = When { asked, received: self.clock.now(), began, counted: None };
        let job = job(route, before, Asked::default(), own, Why::Method);
        let plain = explicit(route.policy, &response);
        match plain {
            true => Ok(self.absorb(&job, response, when, None, false)),
            false => Ok(self.own(route.policy, response, Outcome::Bypass, Why::Method)),
        }
    }

    fn named(&self, route: &Route<'_>, parts: &Parts, response: &Response<Body>, name: &HeaderName) -> Option<Tag> {
        let reference = response.headers().get(name)?.to_str().ok()?;
        Some(tag::uri(&key::named(route.policy, route.scope, parts, reference)?))
    }
}

/// Says whether the origin said how long the answer is fresh: without that an answer to POST is not kept.
fn explicit(policy: &Policy, response: &Response<Body>) -> bool {
    let said = crate::directives::Said::of(response.headers(), &policy.targeted, policy.surrogate);
    said.max_age.or(said.s_maxage).is_some() || response.headers().contains_key(http::header::EXPIRES)
}
