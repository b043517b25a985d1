//! The front door: one port, a table from (method, path template) to a backend, and the steps that
//! every request walks on its way there and back. It knows services only as data. Not for any
//! service's rules, and not for deciding what a caller may do beyond the route's own access.

mod browser;
mod client;
mod detach;
mod door;
mod event_stream;
mod front;
mod gate;
mod metrics;
mod plan;
mod server;
mod shape;
mod token_cache;
mod upgrade;

pub use browser::PublicOrigin;
pub use client::TrustedProxies;
pub use door::{Door, DoorConfig, DoorParts, Entry};
pub use gate::{Gate, OperatorToken};
pub use metrics::Metrics;
pub use plan::{Mount, Plan};
pub use server::{Drain, Server, ServerConfig};
pub use token_cache::{Ticket, TokenCache, TokenCacheConfig};
pub use web::{Authenticate, Verified};
