//! A declared route: which requests it takes, where they go, and what they walk through. Not for what
//! its names mean: they are looked up when the plan is compiled.

use policies::{HeadLimitConfig, Priority};
use serde::Deserialize;

/// One `[[routes]]` entry.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteEntry {
    /// The path template: `/a/{id}`, or `/a/{*rest}` for all below.
    pub path: String,
    /// The methods; all when there are none.
    pub methods: Vec<String>,
    /// The hosts that it is for; all when there are none.
    pub hosts: Vec<String>,
    /// What it is called in metrics and messages; its path unless said.
    pub name: String,
    /// A line for the OpenAPI document and `portico gateway explain`.
    pub summary: String,
    /// The upstream that answers.
    pub upstream: String,
    /// The path that the upstream expects, with the same names in braces; the same path unless said.
    pub upstream_path: String,
    /// The escapes that its path may hold although they are refused elsewhere: `%25`, `%2F`, `%5C`. They are handed on
    /// as they came; `%2F` begins no new segment.
    pub encoded: Vec<String>,
    /// The upstream that answers while the first has no server that could.
    pub otherwise: String,
    /// The composition that answers.
    pub composition: String,
    /// An answer that is always the same.
    pub respond: Option<Fallback>,
    /// Who may call it.
    pub access: Access,
    /// Whether browsers may come with the cookie or a ticket and stay: streams and sockets. A stream may be silent for
    /// longer than the upstream's `body_idle_ms`.
    pub live: bool,
    /// Whether the caller's own Authorization header goes to the upstream.
    pub forward_authorization: bool,
    /// Whether the caller's cookies go to the upstream and the upstream's come back.
    pub forward_cookies: bool,
    /// The switch that it stands behind.
    pub feature: String,
    /// How the bodies are written: `plain`, `success` or `status`.
    pub shape: ShapeName,
    /// How long the whole may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The largest body that a request may have, in bytes.
    pub body_limit_bytes: Option<u64>,
    /// The largest body that an answer may have, in bytes.
    pub response_limit_bytes: Option<u64>,
    /// How large the head of a request may be; over what `server.limits` says for all.
    pub head: Option<HeadLimitConfig>,
    /// Whether a failed attempt may be made again; only where the method allows it.
    pub retry: Option<bool>,
    /// Whether the upstream keeps the promise of an Idempotency-Key, so that a POST with one may be made again.
    pub honours_idempotency_key: bool,
    /// Whether a second attempt is sent to another server when the first is slow; reads only.
    pub hedge: bool,
    /// Whether it may become a WebSocket.
    pub websocket: bool,
    /// What is answered when the upstream cannot.
    pub fallback: Option<Fallback>,
    /// `critical` is never shed, `sheddable` first.
    pub priority: Priority,
    /// The limits: names, or `{ limit = "name", cost = 5 }`.
    pub limits: Vec<policies::LimitUse>,
    /// The rules for pages of other origins.
    pub cors: String,
    /// The networks that may call it.
    pub addresses: String,
    /// How answers are kept.
    pub cache: String,
    /// What is changed about requests.
    pub request: String,
    /// What is changed about answers.
    pub response: String,
    /// How the tokens of a language model are counted.
    pub meter: String,
    /// The rules for sockets.
    pub socket: String,
}

/// What all routes of one of the installation's own services ask for beyond what they say themselves.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceEntry {
    /// The limits: names, or `{ limit = "name", cost = 5 }`.
    pub limits: Vec<policies::LimitUse>,
    /// The rules for pages of other origins.
    pub cors: String,
    /// The networks that may call it.
    pub addresses: String,
    /// Whether its routes are shed under load.
    pub priority: Priority,
}

/// Who may call a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Anyone.
    Public,
    /// Anyone who is signed in.
    #[default]
    SignedIn,
    /// Anyone who is signed in with a session.
    Session,
    /// Whoever has all of these permissions.
    Permissions(Vec<String>),
    /// Whoever has one of these roles.
    Roles(Vec<String>),
    /// Whoever runs the installation.
    Operator,
}

/// The names of the shapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeName {
    /// As the upstream answers; errors of the door are problem documents.
    #[default]
    Plain,
    /// `{success, data | error, ...}`.
    Success,
    /// `{status, data}` or `{status, error, code}`.
    Status,
}

/// An answer that is made here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Its status.
    #[serde(default = "ok")]
    pub status: u16,
    /// Its media type.
    #[serde(default = "json")]
    pub content_type: String,
    /// Its body.
    #[serde(default)]
    pub body: String,
}

fn ok() -> u16 {
    200
}

fn json() -> String {
    "application/json".to_owned()
}

impl From<ShapeName> for service::Shape {
    fn from(name: ShapeName) -> Self {
        match name {
            ShapeName::Plain => Self::Plain,
            ShapeName::Success => Self::Success,
            ShapeName::Status => Self::Status,
        }
    }
}
