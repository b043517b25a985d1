//! What gateway.toml gives names to, compiled, and the steps of a route that uses them. Not for the routes
//! themselves; see `compiled`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Result};
use policies::{
    Addresses, BodyLimit, BodyLimitConfig, Cors, HeadLimit, LimitUse, Limits, Priority, RequestTransform,
    ResponseTransform, Shed,
};

use crate::declared::{Access, Declared, RouteEntry, ServiceEntry, Source};
use crate::lasting::Lasting;
use crate::path::{self, Escapes};
use crate::socket::SocketRules;
use crate::steps::{Need, Steps};
use crate::target::{Fixed, Target};

/// The compiled rules that routes name.
pub(crate) struct Names<'d> {
    declared: &'d Declared,
    lasting: &'d Lasting,
    cors: Named<Cors>,
    addresses: Named<Addresses>,
    compositions: Named<compose::Recipe>,
    sockets: Named<SocketRules>,
    requests: Named<RequestTransform>,
    responses: Named<ResponseTransform>,
    caches: Named<http_cache::Policy>,
    meters: Named<metering::Plan>,
}

type Named<T> = BTreeMap<String, Arc<T>>;

impl<'d> Names<'d> {
    /// Compiles all that has a name; what is wrong is told with its place.
    pub(crate) fn compile(declared: &'d Declared, source: &Source, lasting: &'d Lasting) -> Result<Self> {
        for (name, limit) in &declared.limits {
            limit.check(name).map_err(|error| source.wrong_in("limits", name, error.message()))?;
        }
        Ok(Self {
            declared,
            lasting,
            cors: compiled((source, "cors"), &declared.cors, |_, config| Cors::compile(config))?,
            addresses: compiled((source, "addresses"), &declared.addresses, |_, config| Addresses::compile(config))?,
            compositions: compiled((source, "compositions"), &declared.compositions, compose::Recipe::compile)?,
            requests: compiled((source, "requests"), &declared.requests, |_, config| {
                RequestTransform::compile(config)
            })?,
            responses: compiled((source, "responses"), &declared.responses, |_, config| {
                ResponseTransform::compile(config)
            })?,
            meters: compiled((source, "meters"), &declared.meters, |_, config| config.compile())?,
            caches: compiled((source, "caches"), &declared.caches, |_, config| http_cache::Policy::compile(config))?,
            sockets: compiled((source, "sockets"), &declared.sockets, |_, config| SocketRules::compile(config))?,
        })
    }

    /// Returns a composition.
    pub(crate) fn composition(&self, name: &str) -> Result<Arc<compose::Recipe>> {
        find("composition", &self.compositions, name).map(|found| found.expect("the name is not empty"))
    }

    /// Returns the rules for a route's sockets; the usual ones where it names none.
    pub(crate) fn socket(&self, route: &RouteEntry) -> Result<Option<Arc<SocketRules>>> {
        match find("sockets", &self.sockets, &route.socket)? {
            None if route.websocket => Ok(Some(Arc::new(SocketRules::compile(&ws_proxy::Config::default())?))),
            found => Ok(found),
        }
    }

    /// Returns what a declared route walks through.
    pub(crate) fn steps(&self, route: &RouteEntry, target: &Target) -> Result<Steps> {
        let body =
            BodyLimitConfig { request_bytes: route.body_limit_bytes, response_bytes: route.response_limit_bytes };
        let mut steps = Steps {
            names_path_parts: !path::names(&route.path).is_empty()
                && (matches!(target, Target::Composition(_))
                    || [&route.request, &route.response, &route.cache].iter().any(|name| !name.is_empty())),
            encoded: Escapes::compile(&route.encoded)?,
            forward_authorization: route.forward_authorization,
            forward_cookies: route.forward_cookies,
            need: match &route.access {
                Access::Public => Need::Nothing,
                Access::SignedIn => Need::Caller,
                Access::Session => Need::Session,
                Access::Permissions(permissions) => Need::Permissions(permissions.clone().into()),
                Access::Roles(roles) => Need::Roles(roles.clone().into()),
                Access::Operator => Need::Operator,
            },
            feature: (!route.feature.is_empty()).then(|| route.feature.as_str().into()),
            timeout: route.timeout_ms.map(Duration::from_millis),
            head_limit: route.head.as_ref().map(HeadLimit::compile),
            body_limit: BodyLimit::compile(&body),
            addresses: find("addresses", &self.addresses, &route.addresses)?,
            cors: find("cors", &self.cors, &route.cors)?,
            limits: self.limits(&route.limits, &route.path)?,
            meter: find("meters", &self.meters, &route.meter)?,
            cache: self.cache(route)?,
            request: find("requests", &self.requests, &route.request)?,
            response: find("responses", &self.responses, &route.response)?,
            shed: self.shed(&route.path, route.priority)?,
            fallback: route.fallback.as_ref().map(Fixed::compile).transpose()?.map(Arc::new),
            priority: route.priority,
            ..Steps::default()
        };
        let upstream = matches!(target, Target::Upstream(_));
        let wrong = |message: &str| Err(Error::invalid("gateway.invalid_file", message.to_owned()));
        if steps.cache.is_some() && matches!(target, Target::Composition(_)) {
            return wrong("a composition is not kept; name the cache at the routes of its parts, which are");
        }
        if steps.meter.is_some() && (!upstream || route.websocket || !route.socket.is_empty()) {
            return wrong("a meter counts what an upstream answers; it cannot count sockets or what the door answers");
        }
        steps.said = said(&route.addresses, &route.cors, &route.limits);
        if !route.meter.is_empty() {
            steps.said.push(format!("tokens are counted by {:?}: reserved, streamed, settled", route.meter));
        }
        if !route.cache.is_empty() {
            steps.said.push(format!("answers are kept by {:?}", route.cache));
        }
        if !route.encoded.is_empty() {
            steps.said.push(format!("its path may hold {}, which are handed on as they are", route.encoded.join(", ")));
        }
        if let Some(bytes) = route.body_limit_bytes {
            steps.said.push(format!("a body of at most {bytes} bytes"));
        }
        Ok(steps)
    }

    /// Returns the cache of a route. What was kept before a reload, or by a node with another file, is given only where
    /// the route, its upstreams and what is changed about its requests are the same.
    fn cache(&self, route: &RouteEntry) -> Result<Option<Arc<http_cache::Policy>>> {
        if find("caches", &self.caches, &route.cache)?.is_none() {
            return Ok(None);
        }
        let declared = self.declared;
        let (config, upstreams) = (&declared.caches[&route.cache], &declared.upstreams);
        let (first, second) = (upstreams.get(&route.upstream), upstreams.get(&route.otherwise));
        let way = format!("{route:?} {config:?} {first:?} {second:?} {:?}", declared.requests.get(&route.request));
        http_cache::Policy::compile(config).map(|policy| Some(Arc::new(policy.by_way(&way))))
    }

    /// Returns what the routes of one of the installation's own services walk through.
    pub(crate) fn steps_of_service(&self, name: &str, service: &ServiceEntry) -> Result<Steps> {
        Ok(Steps {
            said: said(&service.addresses, &service.cors, &service.limits),
            addresses: find("addresses", &self.addresses, &service.addresses)?,
            cors: find("cors", &self.cors, &service.cors)?,
            limits: self.limits(&service.limits, name)?,
            shed: self.shed(name, service.priority)?,
            priority: service.priority,
            ..Steps::default()
        })
    }

    fn shed(&self, route: &str, priority: Priority) -> Result<Option<Shed>> {
        let Some(config) = &self.declared.shedding else { return Ok(None) };
        self.lasting.shedders().compile("gateway", config, route, priority).map(Some)
    }

    fn limits(&self, uses: &[LimitUse], route: &str) -> Result<Option<Limits>> {
        if uses.is_empty() {
            return Ok(None);
        }
        Limits::compile(self.lasting.limiter(), &self.declared.limits, uses, route).map(Some)
    }
}

/// Says which rules a route names.
fn said(addresses: &str, cors: &str, limits: &[LimitUse]) -> Vec<String> {
    let mut lines = Vec::new();
    if !addresses.is_empty() {
        lines.push(format!("from the networks {addresses:?}"));
    }
    if !cors.is_empty() {
        lines.push(format!("pages of other origins by {cors:?}; preflights are answered here"));
    }
    for limit in limits {
        lines.push(match limit {
            LimitUse::Name(limit) => format!("the limit {limit:?}"),
            LimitUse::Weighted { limit, cost } => format!("the limit {limit:?}, which it takes {cost} of"),
        });
    }
    lines
}

fn compiled<C, T>(
    (source, kind): (&Source, &str),
    configs: &BTreeMap<String, C>,
    compile: impl Fn(&str, &C) -> Result<T>,
) -> Result<Named<T>> {
    let one = |(name, config): (&String, &C)| {
        let made = compile(name, config).map_err(|error| source.wrong_in(kind, name, error.message()))?;
        Ok((name.clone(), Arc::new(made)))
    };
    configs.iter().map(one).collect()
}

/// Finds what has this name; nothing for no name.
fn find<T>(kind: &str, known: &Named<T>, name: &str) -> Result<Option<Arc<T>>> {
    if name.is_empty() {
        return Ok(None);
    }
    let missing = || {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let there =
            if names.is_empty() { "none is declared".to_owned() } else { format!("there is {}", names.join(", ")) };
        Error::invalid("gateway.invalid_file", format!("[{kind}.{name}] is not declared: {there}"))
    };
    known.get(name).cloned().map(Some).ok_or_else(missing)
}
