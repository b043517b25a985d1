//! Traces: which requests are recorded, what their spans say, and how these get to a collector over OTLP. Not
//! for metrics and logs, and not for the context's headers: they are `web`'s.
//!
//! A [`Tracer`] decides at the door; a [`Trace`] goes along with the request; a [`Span`] is one piece of work
//! in it. A request that is not recorded allocates nothing here.

mod config;
mod export;
mod post;
mod random;
mod span;
mod tracer;

pub use config::{Config, TrustParent};
pub use export::Exporter;
pub use span::{Span, Trace};
pub use tracer::{Asked, Entered, Tracer};
