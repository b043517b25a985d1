//! The route table: compiled from the services' operations once, then only read. Not for policies
//! that change per tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use kernel::{Error, Result};
use service::{Access, Backend, Service, Shape};

use crate::metrics::{Metrics, RouteMetrics};

/// A service and where its requests go.
pub struct Mount<'s> {
    /// The service's manifest.
    pub service: &'s Service,
    /// Where it runs.
    pub backend: Backend,
}

/// What the door must know of one operation.
pub(crate) struct Route {
    pub template: &'static str,
    pub access: Access,
    pub shape: Shape,
    pub live: bool,
    pub upstream: Option<&'static str>,
    pub backend: Arc<Backend>,
    pub metrics: RouteMetrics,
}

/// The operations of one path.
#[derive(Default)]
struct Methods(Vec<(Method, Arc<Route>)>);

/// The compiled route table.
pub struct Plan {
    paths: matchit::Router<Methods>,
}

/// What a request matched.
pub(crate) enum Found {
    Route(Arc<Route>, Vec<(String, String)>),
    /// The path is known; these are its methods.
    OtherMethods(String),
    Nothing,
}

impl Plan {
    /// Compiles the operations of these services.
    pub fn compile(mounts: Vec<Mount<'_>>, metrics: &Metrics) -> Result<Self> {
        let mut table: BTreeMap<&'static str, Methods> = BTreeMap::new();
        for mount in mounts {
            let backend = Arc::new(mount.backend);
            for operation in &mount.service.operations {
                let methods = table.entry(operation.path).or_default();
                if methods.0.iter().any(|(method, _)| *method == operation.method) {
                    return Err(Error::internal(format!("two operations are {} {}", operation.method, operation.path)));
                }
                let route = Route {
                    template: operation.path,
                    access: operation.access,
                    shape: operation.shape,
                    live: operation.live,
                    upstream: operation.upstream_path,
                    backend: backend.clone(),
                    metrics: metrics.route(mount.service.name, &operation.method, operation.path),
                };
                methods.0.push((operation.method.clone(), Arc::new(route)));
            }
        }
        let mut paths = matchit::Router::new();
        for (path, methods) in table {
            paths
                .insert(path, methods)
                .map_err(|error| Error::internal(format!("the path {path} clashes: {error}")))?;
        }
        Ok(Self { paths })
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Found {
        let Ok(matched) = self.paths.at(path) else { return Found::Nothing };
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        match matched.value.0.iter().find(|(known, _)| known == wanted) {
            Some((_, route)) => {
                // Only a route whose upstream path differs needs its parameters here.
                let parameters = match route.upstream {
                    Some(_) => matched.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                    None => Vec::new(),
                };
                Found::Route(route.clone(), parameters)
            }
            None => {
                let known: Vec<&str> = matched.value.0.iter().map(|(method, _)| method.as_str()).collect();
                Found::OtherMethods(known.join(", "))
            }
        }
    }
}

impl Route {
    /// Returns the path that the backend expects.
    pub(crate) fn upstream_path(&self, path: &str, parameters: &[(String, String)]) -> String {
        let Some(template) = self.upstream else { return path.to_owned() };
        parameters.iter().fold(template.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
    }
}
