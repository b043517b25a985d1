//! One route, said once: method, path, who may call it, what it takes and gives, and the function
//! that does it. The router, the gateway's table, the OpenAPI document and the tenant sweep are
//! all made from it. Not for behaviour beyond the access check.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use http::Method;
use kernel::Permission;
use utoipa::ToSchema;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

use crate::app::App;
use crate::features::Feature;
use crate::guard;

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Anyone who is signed in.
    SignedIn,
    /// Anyone who is signed in with a session; an API token is refused.
    Session,
    /// Whoever has the permission in the tenant.
    Permission(Permission),
    /// Whoever runs the installation, by its operator token.
    Operator,
}

/// How the gateway writes the bodies of a route group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The resource, or a problem document.
    #[default]
    Plain,
    /// `{success, data | error, requestId, correlationId, meta}`: inventory and flags.
    Success,
    /// `{status: "success", data}` or `{status: "error", error, code}`: spot.
    Status,
}

/// A query parameter.
#[derive(Clone)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What it does.
    pub summary: String,
    /// What it holds.
    pub schema: RefOr<Schema>,
    /// Whether nothing works without it.
    pub required: bool,
}

/// A body's media type and schema, with the schemas that it refers to.
#[derive(Clone)]
pub(crate) struct Content {
    pub media_type: &'static str,
    pub schema: Option<RefOr<Schema>>,
}

/// An answer that an operation may give.
#[derive(Clone)]
pub(crate) struct Outcome {
    pub status: u16,
    pub summary: &'static str,
    pub content: Vec<Content>,
}

/// How many a list may give, from 1 to `MOST`, as the document says it.
pub struct UpTo<const MOST: u64>;

impl<const MOST: u64> utoipa::PartialSchema for UpTo<MOST> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(MOST)).into()
    }
}

type Bind = Arc<dyn Fn() -> MethodRouter<App> + Send + Sync>;

/// One route of a service.
#[derive(Clone)]
pub struct Operation {
    /// The HTTP method.
    pub method: Method,
    /// The path template, such as `/api/inventory/{id}`.
    pub path: &'static str,
    /// The OpenAPI operation id: service, verb, noun.
    pub id: String,
    /// Who may call it.
    pub access: Access,
    /// How the gateway writes its bodies.
    pub shape: Shape,
    /// Where a separately running service expects the call; the same path unless said.
    pub upstream_path: Option<&'static str>,
    /// The largest body that it takes, in bytes.
    pub body_limit: usize,
    /// Whether the document leaves it out.
    pub hidden: bool,
    /// Whether it opens a connection that stays: a browser may come with a ticket or its cookie.
    pub live: bool,
    /// The switch that it stands behind.
    pub feature: Option<Feature>,
    pub(crate) summary: String,
    pub(crate) description: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) path_parts: Vec<(&'static str, RefOr<Schema>)>,
    pub(crate) takes: Option<Content>,
    /// Whether it may be called without a body too.
    pub(crate) takes_nothing: bool,
    /// The other media types of its body, where that is a stream.
    pub(crate) streams: &'static [&'static str],
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) problems: Vec<u16>,
    pub(crate) schemas: Vec<(String, RefOr<Schema>)>,
    bind: Bind,
}

const DEFAULT_BODY_LIMIT: usize = 1 << 20;

impl Operation {
    /// Returns an operation that calls `handler`.
    pub fn new<H, T>(method: Method, path: &'static str, id: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, App> + Sync,
        T: Send + 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).expect("a standard method");
        Self {
            method,
            path,
            id: id.into(),
            access: Access::SignedIn,
            shape: Shape::Plain,
            upstream_path: None,
            body_limit: DEFAULT_BODY_LIMIT,
            hidden: false,
            live: false,
            feature: None,
            summary: String::new(),
            description: String::new(),
            parameters: Vec::new(),
            path_parts: Vec::new(),
            takes: None,
            takes_nothing: false,
            streams: &[],
            outcomes: Vec::new(),
            problems: Vec::new(),
            schemas: Vec::new(),
            bind: Arc::new(move || on(filter, handler.clone())),
        }
    }

    /// Returns a GET operation.
    pub fn get<H, T>(path: &'static str, id: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, App> + Sync,
        T: Send + 'static,
    {
        Self::new(Method::GET, path, id, handler)
    }

    /// Returns a POST operation.
    pub fn post<H, T>(path: &'static str, id: impl Into<String>, handler: H) -> Self
    where
        H: Handler<T, App> + Sync,
        T: Send + 'static,
    {
        Self::new(Method::POST, path, id, handler)
    }

    /// Says who may call it.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Asks for a permission.
    #[must_use]
    pub fn permission(self, permission: Permission) -> Self {
        self.access(Access::Permission(permission))
    }

    /// Leaves it out of the document: files that a documented page loads.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Says that it opens a connection that stays: a stream, or an upgrade.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// Puts it behind a switch: while that is off for the caller's tenant, it answers 503. An operation that
    /// is public has no such tenant: it asks [`App::features`] itself as soon as it knows one.
    #[must_use]
    pub fn feature(mut self, feature: Feature) -> Self {
        self.feature = Some(feature);
        self
    }

    /// Says how the gateway writes its bodies.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Says what it does, in a line and in full: what it takes, gives, does, and what guards it.
    #[must_use]
    pub fn describe(mut self, summary: impl Into<String>, description: impl Into<String>) -> Self {
        self.summary = summary.into();
        self.description = description.into();
        self
    }

    /// Says what a part of the path holds that varies; without this, any text.
    #[must_use]
    pub fn path<T: utoipa::PartialSchema>(mut self, name: &'static str) -> Self {
        self.path_parts.push((name, T::schema()));
        self
    }

    /// Adds the two query parameters of a list that is read page by page.
    #[must_use]
    pub fn paged(self) -> Self {
        self.query::<UpTo<200>>("limit", "How many at most, up to 200; 50 unless said.")
            .query::<String>("cursor", "Where to go on: `next` of the page before.")
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query<T: utoipa::PartialSchema>(mut self, name: &str, summary: impl Into<String>) -> Self {
        let (name, schema) = (name.to_owned(), T::schema());
        self.parameters.push(Parameter { name, summary: summary.into(), schema, required: false });
        self
    }

    /// Adds a query parameter that must be there.
    #[must_use]
    pub fn required_query<T: utoipa::PartialSchema>(self, name: &str, summary: impl Into<String>) -> Self {
        let mut operation = self.query::<T>(name, summary);
        operation.parameters.iter_mut().filter(|parameter| parameter.name == name).for_each(|it| it.required = true);
        operation
    }

    pub(crate) fn parameters(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// Says what JSON it takes.
    #[must_use]
    pub fn takes<T: ToSchema>(mut self) -> Self {
        let schema = self.refer::<T>();
        self.takes = Some(Content { media_type: "application/json", schema: Some(schema) });
        self
    }

    /// Says that it takes a body of these media types, up to a size, and reads it as it comes: nobody holds
    /// all of it, so its handler makes the fingerprint of an idempotency key complete.
    #[must_use]
    pub fn takes_stream(mut self, media_types: &'static [&'static str], most_bytes: usize) -> Self {
        self.streams = media_types;
        self.body_limit = most_bytes;
        self
    }

    /// Says what JSON it takes, if there is any: it may be called without a body too.
    #[must_use]
    pub fn may_take<T: ToSchema>(self) -> Self {
        Self { takes_nothing: true, ..self.takes::<T>() }
    }

    /// Says what JSON it gives.
    #[must_use]
    pub fn gives<T: ToSchema>(mut self, status: u16, summary: &'static str) -> Self {
        let schema = self.refer::<T>();
        self.outcomes.push(Outcome {
            status,
            summary,
            content: vec![Content { media_type: "application/json", schema: Some(schema) }],
        });
        self
    }

    /// Says that it gives something without a JSON schema: nothing, or a stream.
    #[must_use]
    pub fn gives_other(mut self, status: u16, summary: &'static str, media_types: &[&'static str]) -> Self {
        let content = media_types.iter().map(|media_type| Content { media_type, schema: None }).collect();
        self.outcomes.push(Outcome { status, summary, content });
        self
    }

    /// Says what the JSON of an outcome is called, where that is not `application/json`.
    #[must_use]
    pub fn called(mut self, status: u16, media_type: &'static str) -> Self {
        let outcomes = self.outcomes.iter_mut().filter(|outcome| outcome.status == status);
        outcomes.flat_map(|outcome| &mut outcome.content).for_each(|content| content.media_type = media_type);
        self
    }

    /// Says that an outcome may come in another media type too.
    #[must_use]
    pub fn also(mut self, status: u16, media_type: &'static str) -> Self {
        if let Some(outcome) = self.outcomes.iter_mut().find(|outcome| outcome.status == status) {
            outcome.content.push(Content { media_type, schema: None });
        }
        self
    }

    /// Says which problems it may answer, beside those that any operation may.
    #[must_use]
    pub fn problems(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses);
        self
    }

    fn refer<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        let name = T::name().into_owned();
        self.schemas.push((name.clone(), T::schema()));
        RefOr::Ref(utoipa::openapi::Ref::from_schema_name(name))
    }

    /// Returns the route with its access check.
    pub(crate) fn route(&self, app: &App) -> MethodRouter<App> {
        let switch = self.feature.map(|feature| guard::Switch { key: feature.key, features: app.features.clone() });
        let rule = guard::Rule {
            access: self.access,
            body_limit: self.body_limit,
            streamed: !self.streams.is_empty(),
            switch,
        };
        let check = axum::middleware::from_fn(move |request, next| guard::check(rule.clone(), request, next));
        (self.bind)().layer(check)
    }
}
