//! What gateway.toml declares, with every name looked up and every rule compiled: immutable, and replaced
//! as a whole by a reload. Not for what outlives a reload; see `lasting`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use kernel::{Error, Result};
use service::{Access as ServiceAccess, Shape};
use toml::Spanned;
use upstream::Upstreams;

use crate::declared::{Access, Declared, RouteEntry, Source};
use crate::lasting::Lasting;
use crate::names::Names;
use crate::path::UpstreamPath;
use crate::steps::Steps;
use crate::target::{Fixed, Target, UpstreamTarget};

/// The services that a rule for all others is not for: probes and operators come when all else is too much.
const ALWAYS: [&str; 2] = ["health", "operator"];

/// The declared part of a route plan.
pub struct Compiled {
    pub(crate) routes: Vec<DeclaredRoute>,
    services: BTreeMap<String, Arc<Steps>>,
    /// Of services that the file does not name.
    others: Arc<Steps>,
    /// Of what must answer when nothing else does.
    bare: Arc<Steps>,
    upstreams: Upstreams,
    sources: BTreeMap<String, discovery::Config>,
    issuers: Vec<issuers::Config>,
    register: Option<discovery::Register>,
    openapi: Vec<(String, String)>,
    required: Vec<String>,
}

/// A declared route, before it is put into a table.
pub(crate) struct DeclaredRoute {
    pub template: Arc<str>,
    pub owner: Arc<str>,
    pub hosts: Vec<String>,
    pub methods: Vec<Method>,
    pub access: ServiceAccess,
    pub shape: Shape,
    pub live: bool,
    pub upstream_path: Option<UpstreamPath>,
    upstream_template: String,
    pub target: Target,
    pub steps: Arc<Steps>,
    source: Source,
    at: usize,
}

impl DeclaredRoute {
    fn shown(&self) -> surface::Route {
        surface::Route {
            methods: self.methods.iter().map(Method::to_string).collect(),
            path: self.template.to_string(),
            upstream: self.upstream_template.clone(),
            access: match self.access {
                ServiceAccess::Public if self.steps.forward_authorization => Some(surface::Access::Origin),
                ServiceAccess::Public => Some(surface::Access::Public),
                _ => None,
            },
            shape: match self.shape {
                Shape::Plain => surface::Shape::Plain,
                Shape::Success => surface::Shape::Success,
                Shape::Status => surface::Shape::Status,
            },
        }
    }

    /// Says what is wrong with a part of its composition.
    pub(crate) fn wrong_part(&self, composition: &str, part: &str, reason: &str) -> Error {
        let section = format!("{composition}.parts.{part}");
        self.source.wrong_in("compositions", &section, &format!("the part {part} of {composition}: {reason}"))
    }

    /// Adds the place in the file to what is wrong.
    pub(crate) fn wrong(&self, error: Error) -> Error {
        self.source.wrong(self.at, error.message())
    }
}

impl Compiled {
    /// Compiles what a file declares.
    pub fn new(declared: &Declared, source: &Source, lasting: &Lasting) -> Result<Self> {
        let (mut configs, mut sources) = (BTreeMap::new(), BTreeMap::new());
        for (name, entry) in &declared.upstreams {
            let wrong = |error: Error| source.wrong_in("upstreams", name, error.message());
            let config = entry.config();
            config.check().map_err(wrong)?;
            configs.insert(name.clone(), config);
            if let Some(discovery) = &entry.discovery {
                discovery.check().map_err(wrong)?;
                sources.insert(name.clone(), discovery.clone());
            }
        }
        let upstreams = lasting.upstreams(&configs)?;
        let names = Names::compile(declared, source, lasting)?;
        let mut compiled = Self {
            routes: Vec::new(),
            services: BTreeMap::new(),
            others: Arc::default(),
            bare: Arc::default(),
            upstreams,
            sources: BTreeMap::new(),
            issuers: Vec::new(),
            register: None,
            openapi: Vec::new(),
            required: Vec::new(),
        };
        let others = declared.services.get("*").cloned().unwrap_or_default();
        let wrong = |error: Error| source.wrong_in("services", "*", error.message());
        compiled.others = Arc::new(names.steps_of_service("*", &others).map_err(wrong)?);
        for (name, entry) in declared.services.iter().filter(|(name, _)| *name != "*") {
            let wrong = |error: Error| source.wrong_in("services", name, error.message());
            let steps = names.steps_of_service(name, entry).map_err(wrong)?;
            compiled.services.insert(name.clone(), Arc::new(steps));
        }
        for entry in &declared.routes {
            let wrong = |error: Error| source.wrong(entry.span().start, error.message());
            let route = compiled.route(entry, source, &names).map_err(wrong)?;
            compiled.routes.push(route);
        }
        issuers::check(&declared.issuers)?;
        compiled.sources = sources;
        compiled.issuers = declared.issuers.clone();
        compiled.register = declared.register.clone();
        for (name, entry) in &declared.upstreams {
            if !entry.openapi.is_empty() {
                compiled.openapi.push((name.clone(), entry.openapi.clone()));
            }
            if entry.required {
                compiled.required.push(name.clone());
            }
        }
        Ok(compiled)
    }

    /// Begins what goes on in the background: finding servers, fetching issuers' keys.
    pub fn begin(&self, lasting: &Lasting) -> Result<()> {
        lasting.set_issuers(&self.issuers)?;
        lasting.discover(self.sources.clone())
    }

    /// Returns where others are told that this process is there.
    pub fn register(&self) -> Option<&discovery::Register> {
        self.register.as_ref()
    }

    /// Returns the upstreams that have an OpenAPI document, and where it is.
    pub fn documents(&self) -> &[(String, String)] {
        &self.openapi
    }

    /// Says whether the installation is unhealthy without this upstream.
    pub fn is_required(&self, name: &str) -> bool {
        self.required.iter().any(|required| required == name)
    }

    /// Returns the routes that lead to an upstream, for the document that shows them.
    pub fn shown(&self, upstream: &str) -> Vec<surface::Route> {
        let leads = |route: &&DeclaredRoute| matches!(&route.target, Target::Upstream(to) if *to.name == *upstream);
        self.routes.iter().filter(leads).filter(|route| route.hosts.is_empty()).map(DeclaredRoute::shown).collect()
    }

    /// Returns what the routes of a service walk through.
    pub(crate) fn steps_of_service(&self, name: &str) -> Arc<Steps> {
        let others = if ALWAYS.contains(&name) { &self.bare } else { &self.others };
        self.services.get(name).unwrap_or(others).clone()
    }

    /// Returns the upstreams.
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    fn route(&self, entry: &Spanned<RouteEntry>, source: &Source, names: &Names<'_>) -> Result<DeclaredRoute> {
        let route = entry.get_ref();
        let wrong = |message: String| Error::invalid("gateway.invalid_file", message);
        if !route.path.starts_with('/') {
            return Err(wrong(format!("the path {:?} of a route must start with /", route.path)));
        }
        let method = |name: &String| {
            let known =
                Method::from_bytes(name.as_bytes()).ok().filter(|_| name.bytes().all(|byte| byte.is_ascii_uppercase()));
            known.ok_or_else(|| wrong(format!("{name:?} is no HTTP method")))
        };
        let upstream_path = match route.upstream_path.as_str() {
            "" => None,
            template => Some(UpstreamPath::compile(template, &route.path)?),
        };
        let target = self.target(route, names)?;
        Ok(DeclaredRoute {
            template: route.path.as_str().into(),
            owner: owner(route),
            hosts: route.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            methods: route.methods.iter().map(method).collect::<Result<_>>()?,
            access: match &route.access {
                Access::Public => ServiceAccess::Public,
                Access::Operator => ServiceAccess::Operator,
                Access::Session => ServiceAccess::Session,
                Access::SignedIn | Access::Permissions(_) | Access::Roles(_) => ServiceAccess::SignedIn,
            },
            shape: route.shape.into(),
            live: route.live || route.websocket,
            upstream_path,
            upstream_template: if route.upstream_path.is_empty() { &route.path } else { &route.upstream_path }.clone(),
            steps: Arc::new(names.steps(route, &target)?),
            target,
            source: source.clone(),
            at: entry.span().start,
        })
    }

    fn target(&self, route: &RouteEntry, names: &Names<'_>) -> Result<Target> {
        let wrong = |message: String| Error::invalid("gateway.invalid_file", message);
        let named = [!route.upstream.is_empty(), !route.composition.is_empty(), route.respond.is_some()];
        if named.iter().filter(|named| **named).count() != 1 {
            return Err(wrong(format!("{} needs one of upstream, composition and respond", route.path)));
        }
        if let Some(respond) = &route.respond {
            return Ok(Target::Fixed(Arc::new(Fixed::compile(respond)?)));
        }
        if !route.composition.is_empty() {
            return Ok(Target::Composition(names.composition(&route.composition)?));
        }
        let find = |name: &str| {
            self.upstreams.get(name).cloned().ok_or_else(|| wrong(format!("there is no upstream {name:?}")))
        };
        let otherwise = match route.otherwise.as_str() {
            "" => None,
            name => Some(find(name)?),
        };
        Ok(Target::Upstream(Arc::new(UpstreamTarget {
            name: route.upstream.as_str().into(),
            upstream: find(&route.upstream)?,
            otherwise,
            retry: route.retry.unwrap_or(true),
            honours_idempotency_key: route.honours_idempotency_key,
            hedge: route.hedge,
            socket: names.socket(route)?,
        })))
    }
}

/// Returns what a route counts under: its name, or whoever answers.
fn owner(route: &RouteEntry) -> Arc<str> {
    let names = [&route.name, &route.upstream, &route.composition];
    names.into_iter().find(|name| !name.is_empty()).map_or("gateway", String::as_str).into()
}
