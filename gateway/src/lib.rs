//! The front door: one port, a table from (method, path template) to a backend, and the steps that
//! every request walks on its way there and back. It knows services only as data. Not for any
//! service's rules, and not for deciding what a caller may do beyond the route's own access.

mod door;
mod front;
mod metrics;
mod plan;
mod server;
mod shape;

pub use door::{Authenticate, Door, DoorConfig, DoorParts, Entry, OperatorToken};
pub use metrics::Metrics;
pub use plan::{Mount, Plan};
pub use server::{Drain, Server, ServerConfig};
