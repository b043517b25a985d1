//! The front door: one port, a table from (method, path template) to a backend, and the steps that
//! every request walks on its way there and back. It knows services only as data. Not for any
//! service's rules, and not for deciding what a caller may do beyond the route's own access.

mod answer;
mod arrival;
mod background;
mod browser;
mod checks;
mod client;
mod compiled;
mod declared;
mod detach;
mod door;
mod errand;
mod event_stream;
mod explain;
mod federation;
mod figures;
mod front;
mod gate;
mod identify;
mod identity_values;
mod inside;
mod lasting;
mod metrics;
mod names;
mod path;
mod plan;
mod server;
mod shape;
mod socket;
mod steps;
mod target;
mod tls;
mod token_cache;
mod trail;
mod upgrade;
mod wire;

pub use background::BackgroundClient;
pub use browser::PublicOrigin;
pub use client::TrustedProxies;
pub use compiled::Compiled;
pub use declared::{
    Access, CallEntry, Declared, EXAMPLE, Fallback, RouteEntry, SagaEntry, ServiceEntry, Source, StepEntry,
    UpstreamEntry,
};
pub use door::{Door, DoorConfig, DoorParts, Entry};
pub use explain::Explained;
pub use gate::{Gate, OperatorToken};
pub use lasting::{Lasting, LastingParts};
pub use metrics::Metrics;
pub use plan::{Mount, Plan, Seat};
pub use server::{Core, Drain, Renewal, Server, ServerConfig};
pub use tls::{Tls, TlsConfig};
pub use token_cache::{Ticket, TokenCache, TokenCacheConfig};
pub use web::{Authenticate, Verified};
