//! What answers a route: a service of the installation, an upstream, a composition, or the door itself. Not
//! for what a request walks through on its way there.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use kernel::{Error, Result};
use service::Backend;
use upstream::Upstream;
use web::ContextKey;

use crate::declared::Fallback;
use crate::socket::SocketRules;

/// Says that an answer is not what it should be, and why.
const DEGRADED: HeaderName = HeaderName::from_static("portico-degraded");

/// Where a route's requests go.
#[derive(Clone)]
pub(crate) enum Target {
    Service(Arc<Backend>),
    Remote(Arc<RemoteTarget>),
    Upstream(Arc<UpstreamTarget>),
    Composition(Arc<compose::Recipe>),
    Fixed(Arc<Fixed>),
}

/// An upstream, and how a route calls it.
pub(crate) struct UpstreamTarget {
    pub name: Arc<str>,
    pub upstream: Arc<Upstream>,
    /// Who answers while the first has no server that could.
    pub otherwise: Option<Arc<Upstream>>,
    pub retry: bool,
    pub honours_idempotency_key: bool,
    pub hedge: bool,
    pub socket: Option<Arc<SocketRules>>,
}

/// A service of the installation in other processes.
pub(crate) struct RemoteTarget {
    pub upstream: Arc<Upstream>,
    pub key: ContextKey,
    pub socket: SocketRules,
}

impl RemoteTarget {
    pub(crate) fn new(upstream: Arc<Upstream>, key: ContextKey) -> Result<Self> {
        // Which pages may open a socket the door has checked already: with the cookie, only its own.
        let config = ws_proxy::Config { origins: vec!["*".to_owned()], ..ws_proxy::Config::default() };
        Ok(Self { upstream, key, socket: SocketRules::compile(&config)? })
    }
}

/// An answer that is made here.
pub(crate) struct Fixed {
    status: StatusCode,
    content_type: HeaderValue,
    body: bytes::Bytes,
}

impl Fixed {
    pub(crate) fn compile(declared: &Fallback) -> Result<Self> {
        let wrong = |what: &str| Error::invalid("gateway.invalid_file", format!("{what} of the answer is not valid"));
        let status = StatusCode::from_u16(declared.status).ok().filter(|status| !status.is_informational());
        Ok(Self {
            status: status.ok_or_else(|| wrong("the status"))?,
            content_type: HeaderValue::try_from(&declared.content_type).map_err(|_| wrong("the media type"))?,
            body: declared.body.clone().into(),
        })
    }

    /// Returns the answer in the place of one that could not be had.
    pub(crate) fn degraded(&self, error: &Error) -> Response {
        self.marked(error.code())
    }

    /// Returns the answer in the place of one that is a failure.
    pub(crate) fn degraded_by(&self, response: &Response) -> Response {
        self.marked(&format!("status-{}", response.status().as_u16()))
    }

    fn marked(&self, why: &str) -> Response {
        let mut response = self.response();
        let why = HeaderValue::try_from(format!("fallback; reason=\"{why}\"")).expect("codes are ASCII");
        response.headers_mut().insert(DEGRADED, why);
        response
    }

    pub(crate) fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, self.content_type.clone());
        response
    }
}

impl Target {
    /// Says what it is, for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Service(_) => "a service in this process".to_owned(),
            Self::Remote(_) => "a service in another process".to_owned(),
            Self::Upstream(target) => {
                let otherwise = if target.otherwise.is_some() { ", another while it has no server" } else { "" };
                format!("the upstream {}{otherwise}", target.name)
            }
            Self::Composition(recipe) => format!("a composition: {}", recipe.describe().join("; ")),
            Self::Fixed(fixed) => format!("the door itself, always {}", fixed.status),
        }
    }
}
