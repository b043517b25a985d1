//! The route table: compiled from the services' operations and the declared routes once, then only read.
//! Not for what a route asks for; see `steps`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::Method;
use kernel::{Error, Result};
use service::{Access, Backend, Service, Shape};
use upstream::Upstream;
use web::ContextKey;

use crate::compiled::{Compiled, DeclaredRoute};
use crate::front;
use crate::metrics::{Metrics, RouteMetrics};
use crate::path::{Escapes, UpstreamPath};
use crate::steps::Steps;
use crate::target::{RemoteTarget, Target};

/// A service and where its requests go.
pub struct Mount<'s> {
    /// The service's manifest.
    pub service: &'s Service,
    /// Where it runs.
    pub seat: Seat,
}

/// Where a service runs.
pub enum Seat {
    /// In this process.
    Here(Backend),
    /// In others, which are told the caller in a header that is signed with this key.
    There(Arc<Upstream>, ContextKey),
}

/// What the door must know of one route.
pub(crate) struct Route {
    pub template: Arc<str>,
    /// The service or the upstream, for metrics.
    pub owner: Arc<str>,
    /// The method, or nothing for all.
    pub method: Option<Method>,
    pub access: Access,
    pub shape: Shape,
    pub live: bool,
    pub upstream_path: Option<UpstreamPath>,
    pub target: Target,
    pub steps: Arc<Steps>,
    pub metrics: RouteMetrics,
}

/// The routes of one path.
#[derive(Clone, Default)]
struct Methods(Vec<Arc<Route>>);

impl Methods {
    fn add(&mut self, route: Route) -> Result<()> {
        if self.0.iter().any(|known| known.method == route.method) {
            let method = route.method.as_ref().map_or("every method", Method::as_str);
            let message = format!("{method} of {} is there twice", route.template);
            return Err(Error::invalid("gateway.invalid_file", message));
        }
        // Those for one method come first.
        match route.method {
            Some(_) => {
                let first = self.0.iter().position(|known| known.method.is_none()).unwrap_or(self.0.len());
                self.0.insert(first, Arc::new(route));
            }
            None => self.0.push(Arc::new(route)),
        }
        Ok(())
    }
}

type Paths = matchit::Router<Methods>;

/// The compiled route table.
pub struct Plan {
    any_host: Paths,
    by_host: HashMap<String, Paths>,
    declared: Arc<Compiled>,
    lines: Vec<String>,
}

/// What a request matched.
pub(crate) enum Found {
    Route {
        route: Arc<Route>,
        /// The path that the backend expects, where it is another.
        path: Option<String>,
        /// The parts of the path that vary, where the route's steps use them.
        parts: Vec<(String, String)>,
    },
    /// The path is known; these are its methods.
    OtherMethods(String),
    Nothing,
}

impl Found {
    /// Refuses a path with escapes that whatever it leads to does not take.
    pub(crate) fn takes(&self, escapes: Escapes) -> Result<()> {
        let taken = match self {
            Self::Route { route, .. } => route.steps.encoded,
            Self::OtherMethods(_) | Self::Nothing => Escapes::default(),
        };
        front::check_escapes(escapes, taken)
    }
}

/// The routes of one host, or of all, before they are compiled.
#[derive(Default)]
struct Table(BTreeMap<Arc<str>, Methods>);

impl Table {
    fn add(&mut self, route: Route) -> Result<()> {
        self.0.entry(route.template.clone()).or_default().add(route)
    }

    fn lines(&self, host: &str) -> impl Iterator<Item = String> {
        self.0.values().flat_map(|methods| &methods.0).map(move |route| {
            let method = route.method.as_ref().map_or("any", Method::as_str);
            format!("{method:<8}{host}{}  {}", route.template, route.owner)
        })
    }

    fn compile(mut self) -> Result<Paths> {
        let mut paths = Paths::new();
        // What takes all that begins with `/shop/` takes `/shop/` too, unless that is declared by itself.
        let beginnings = self.0.iter().filter_map(|(path, methods)| {
            let (beginning, _) = path.split_once("{*").filter(|_| path.ends_with('}'))?;
            (!self.0.contains_key(beginning)).then(|| (beginning.into(), methods.clone()))
        });
        let beginnings: Vec<(Arc<str>, Methods)> = beginnings.collect();
        self.0.extend(beginnings);
        for (path, methods) in self.0 {
            paths.insert(&*path, methods).map_err(|error| {
                Error::invalid("gateway.invalid_file", format!("the path {path} clashes with another: {error}"))
            })?;
        }
        Ok(paths)
    }
}

impl Plan {
    /// Compiles the operations of these services, and the declared routes.
    pub fn compile(mounts: Vec<Mount<'_>>, declared: Arc<Compiled>, metrics: &Metrics) -> Result<Self> {
        let (mut any, mut hosts) = (Table::default(), HashMap::<String, Table>::new());
        for mount in mounts {
            let owner = Arc::<str>::from(mount.service.name);
            let target = match mount.seat {
                Seat::Here(backend) => Target::Service(Arc::new(backend)),
                Seat::There(upstream, key) => Target::Remote(Arc::new(RemoteTarget::new(upstream, key)?)),
            };
            let steps = declared.steps_of_service(mount.service.name);
            for operation in &mount.service.operations {
                let upstream_path = operation.upstream_path.map(|path| UpstreamPath::compile(path, operation.path));
                any.add(Route {
                    template: operation.path.into(),
                    owner: owner.clone(),
                    method: Some(operation.method.clone()),
                    access: operation.access,
                    shape: operation.shape,
                    live: operation.live,
                    upstream_path: upstream_path.transpose()?,
                    target: target.clone(),
                    steps: steps.clone(),
                    metrics: metrics.route(&owner, operation.method.as_str(), operation.path),
                })?;
            }
        }
        for route in &declared.routes {
            let tables: Vec<&mut Table> = match &route.hosts[..] {
                [] => vec![&mut any],
                _ => {
                    for host in &route.hosts {
                        hosts.entry(host.clone()).or_default();
                    }
                    hosts.iter_mut().filter(|(host, _)| route.hosts.contains(host)).map(|(_, table)| table).collect()
                }
            };
            for table in tables {
                for made in Route::declared(route, metrics) {
                    table.add(made).map_err(|error| route.wrong(error))?;
                }
            }
        }
        let lines = any.lines("").chain(hosts.iter().flat_map(|(host, table)| table.lines(host))).collect();
        let by_host = hosts.into_iter().map(|(host, table)| Ok((host, table.compile()?))).collect::<Result<_>>()?;
        let plan = Self { any_host: any.compile()?, by_host, declared, lines };
        plan.declared.routes.iter().try_for_each(|route| plan.check_parts(route))?;
        Ok(plan)
    }

    /// Refuses compositions of compositions: a file could make one request into any number.
    fn check_parts(&self, route: &DeclaredRoute) -> Result<()> {
        let Target::Composition(recipe) = &route.target else { return Ok(()) };
        let host = route.hosts.first().map(String::as_str);
        for (part, method, path) in recipe.leads_to() {
            if let Found::Route { route: found, .. } = self.find(host, method, &path)
                && matches!(found.target, Target::Composition(_))
            {
                let to = &found.template;
                return Err(route.wrong_part(recipe.name(), part, &format!("{to} is a composition itself")));
            }
        }
        Ok(())
    }

    /// Finds the route of a request to this host.
    pub(crate) fn find(&self, host: Option<&str>, method: &Method, path: &str) -> Found {
        if !self.by_host.is_empty()
            && let Some(host) = host
            && let Some(paths) = self.by_host.get(&host_name(host))
        {
            match find(paths, method, path) {
                Found::Nothing => {}
                found => return found,
            }
        }
        find(&self.any_host, method, path)
    }

    /// Returns how many routes there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Says whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns how many routes are declared.
    pub fn declared_len(&self) -> usize {
        self.declared.routes.len()
    }

    /// Returns every route in a line: method, path, and whoever answers.
    pub fn list(&self) -> Vec<String> {
        self.lines.clone()
    }
}

/// Returns a host's name as it is declared: small letters, no port.
fn host_name(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.to_ascii_lowercase()
}

fn find(paths: &Paths, method: &Method, path: &str) -> Found {
    let Ok(matched) = paths.at(path) else { return Found::Nothing };
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let takes = |route: &&Arc<Route>| route.method.as_ref().is_none_or(|known| known == wanted || known == method);
    match matched.value.0.iter().find(takes) {
        Some(route) => Found::Route {
            path: route.upstream_path.as_ref().map(|template| template.of(&matched.params)),
            // Only a route whose steps name them needs them.
            parts: match route.steps.names_path_parts {
                true => matched.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                false => Vec::new(),
            },
            route: route.clone(),
        },
        None => {
            let known = matched.value.0.iter().filter_map(|route| route.method.as_ref().map(Method::as_str));
            Found::OtherMethods(known.collect::<Vec<_>>().join(", "))
        }
    }
}

impl Route {
    fn declared(route: &DeclaredRoute, metrics: &Metrics) -> Vec<Self> {
        let methods: Vec<Option<Method>> = match &route.methods[..] {
            [] => vec![None],
            methods => methods.iter().cloned().map(Some).collect(),
        };
        let made = methods.into_iter().map(|method| Self {
            template: route.template.clone(),
            owner: route.owner.clone(),
            access: route.access,
            shape: route.shape,
            live: route.live,
            upstream_path: route.upstream_path.clone(),
            target: route.target.clone(),
            steps: route.steps.clone(),
            metrics: metrics.route(&route.owner, method.as_ref().map_or("any", Method::as_str), &route.template),
            method,
        });
        made.collect()
    }
}
