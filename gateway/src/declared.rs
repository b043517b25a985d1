//! The gateway's own file, gateway.toml: upstreams, routes and what they ask for. Read and checked as a
//! whole, with the line of what is wrong, before anything of it is used. Not for the settings of the
//! process, which are portico.toml's.

mod place;
mod route;
mod saga;
mod upstream;

use std::collections::BTreeMap;

use kernel::Result;
use policies::{
    AddressesConfig, CorsConfig, LimitConfig, LimiterConfig, RequestTransformConfig, ResponseTransformConfig,
    ShedderConfig,
};
use serde::Deserialize;
use toml::Spanned;

pub use place::Source;
pub use route::{Access, Fallback, RouteEntry, ServiceEntry};
pub use saga::{CallEntry, SagaEntry, StepEntry};
pub use upstream::UpstreamEntry;

/// What gateway.toml declares.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Declared {
    /// The servers behind the door, by name.
    pub upstreams: BTreeMap<String, UpstreamEntry>,
    /// What all limits have in common.
    pub limiter: LimiterConfig,
    /// How often may be asked, by name.
    pub limits: BTreeMap<String, LimitConfig>,
    /// Which pages of other origins may read answers, by name.
    pub cors: BTreeMap<String, CorsConfig>,
    /// Networks, by name.
    pub addresses: BTreeMap<String, AddressesConfig>,
    /// What is changed about requests, by name.
    pub requests: BTreeMap<String, RequestTransformConfig>,
    /// What is changed about answers, by name.
    pub responses: BTreeMap<String, ResponseTransformConfig>,
    /// How load is shed; without it only the number of requests at a time is bounded.
    pub shedding: Option<ShedderConfig>,
    /// Answers made of several, by name.
    pub compositions: BTreeMap<String, compose::Config>,
    /// Writes of several steps that all happen or are all undone, by name.
    pub sagas: BTreeMap<String, SagaEntry>,
    /// How the tokens of language models are counted, by name.
    pub meters: BTreeMap<String, metering::Config>,
    /// Where others are told that this process is there.
    pub register: Option<discovery::Register>,
    /// Rules for WebSockets, by name.
    pub sockets: BTreeMap<String, ws_proxy::Config>,
    /// The cache that all routes share.
    pub cache: http_cache::Config,
    /// How answers are kept, by name.
    pub caches: BTreeMap<String, http_cache::PolicyConfig>,
    /// Who else issues access tokens.
    pub issuers: Vec<issuers::Config>,
    /// The routes, in any order: the most exact one wins.
    pub routes: Vec<Spanned<RouteEntry>>,
    /// What the routes of the installation's own services ask for beyond what they say themselves.
    pub services: BTreeMap<String, ServiceEntry>,
}

/// The commented example of everything that the file may hold.
pub const EXAMPLE: &str = include_str!("../../config/gateway.example.toml");

impl Declared {
    /// Reads the file; what is wrong in it is told with line and column.
    pub fn parse(source: &Source) -> Result<Self> {
        toml::from_str(source.text()).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            source.wrong(at, error.message())
        })
    }

    /// Adds an upstream that is declared elsewhere than in the file; the file's own wins.
    pub fn add_upstream(&mut self, name: &str, upstream: UpstreamEntry) {
        self.upstreams.entry(name.to_owned()).or_insert(upstream);
    }

    /// Adds a route that is declared elsewhere than in the file.
    pub fn add_route(&mut self, route: RouteEntry) {
        self.routes.push(Spanned::new(0..0, route));
    }
}
