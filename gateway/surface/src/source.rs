//! What is united: documents, where their operations appear at the door, and who lets callers in.
//! Not for how it is done.

use std::sync::Arc;

use serde_json::{Map, Value, json};

/// A document and how the door shows it.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name: prefix of operation ids, tags, and of components whose name is taken.
    pub name: String,
    /// The OpenAPI 3.0 or 3.1 document.
    pub document: Arc<Value>,
    /// Where it was read, so that references which spell it out are known as its own.
    pub url: Option<String>,
    /// Where its operations appear.
    pub paths: Paths,
    /// The path that comes before its paths at the origin; otherwise its first server says.
    pub base: Option<String>,
    /// Whether its names stay as they are and all of its components are kept: the door's own services.
    pub own: bool,
    /// Who lets callers in, unless a route says otherwise.
    pub access: Access,
}

/// Where a document's operations appear at the door.
#[derive(Clone, Debug)]
pub enum Paths {
    /// All of them, where they are.
    Same,
    /// All of them, behind another beginning: `strip` is taken off the path, `add` put before it.
    Prefix {
        /// What the origin's paths begin with; others are not shown.
        strip: String,
        /// What the door's begin with instead.
        add: String,
    },
    /// Those which a route of the door leads to.
    Routes(Vec<Route>),
}

/// One route of the door, as far as the document must know it.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// The methods, in capitals; none means all.
    pub methods: Vec<String>,
    /// The door's template, such as `/api/models/{id}` or `/api/models/{*rest}`.
    pub path: String,
    /// The origin's template, with parameters of the same names.
    pub upstream: String,
    /// Who lets callers in, where it is not as for the whole source.
    pub access: Option<Access>,
    /// What the door puts around the bodies.
    pub shape: Shape,
}

/// What the door puts around JSON bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    #[default]
    Plain,
    /// `{success, data | error, requestId, correlationId, meta}`.
    Success,
    /// `{status: "success", data}` or `{status: "error", error, code}`.
    Status,
}

/// Who lets callers in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// The origin: its security is kept.
    #[default]
    Origin,
    /// The door: its own requirement stands in the place of the origin's.
    Door,
    /// Nobody: anyone may call.
    Public,
}

/// What the united document says of the door itself.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// The `info` object.
    pub info: Value,
    /// The addresses.
    pub servers: Vec<Value>,
    /// The door's security schemes by name.
    pub schemes: Map<String, Value>,
    /// What the door asks for where it lets callers in, such as `[{"bearer": []}]`.
    pub security: Vec<Value>,
}

impl Door {
    /// Returns what the door's own document says, and this as what it asks for.
    pub fn of(document: &Value, security: Vec<Value>) -> Self {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        Self {
            info: document["info"].clone(),
            servers: list(&document["servers"]),
            schemes: document["components"]["securitySchemes"].as_object().cloned().unwrap_or_default(),
            security,
        }
    }
}

impl Source {
    /// Returns the document of the door's own services, shown as it is.
    pub fn own(name: &str, document: Value) -> Self {
        Self {
            name: name.to_owned(),
            document: Arc::new(document),
            url: None,
            paths: Paths::Same,
            base: Some(String::new()),
            own: true,
            access: Access::Origin,
        }
    }

    /// Returns the document of an upstream that these routes lead to.
    pub fn upstream(name: &str, document: Arc<Value>, routes: Vec<Route>) -> Self {
        Self {
            name: name.to_owned(),
            document,
            url: None,
            paths: Paths::Routes(routes),
            base: None,
            own: false,
            access: Access::Door,
        }
    }
}

/// Something in a document that could not be kept as it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The source's name.
    pub source: String,
    /// Where in its document, as a JSON pointer (RFC 6901).
    pub at: String,
    /// What is wrong, and what was done about it.
    pub what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: #{}: {}", self.source, self.at, self.what)
    }
}

/// One document out of many.
#[derive(Clone, Debug)]
pub struct United {
    /// The document, OpenAPI 3.1.
    pub document: Value,
    /// What could not be kept as it stood.
    pub findings: Vec<Finding>,
    /// How many operations of each source are shown.
    pub shown: Vec<(String, usize)>,
}

/// Returns an empty document about this door.
pub(crate) fn empty(door: &Door) -> Value {
    let info = if door.info.is_object() { door.info.clone() } else { json!({ "title": "API", "version": "0" }) };
    let servers = if door.servers.is_empty() { json!([{ "url": "/" }]) } else { json!(door.servers) };
    json!({ "openapi": "3.1.0", "info": info, "servers": servers })
}
