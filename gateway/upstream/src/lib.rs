//! Takes a request to one of the servers of an upstream and brings its answer, with everything that
//! resilience asks for. Not for which route goes where, and not for what a request may do.
//!
//! [`Upstreams`] are made from the configuration and shared by all cores; each core has a [`Client`] with
//! connections of its own; a [`Call`] says what a route wants of one request.

mod alarm;
mod answer;
mod attempt;
mod balance;
mod boxed;
mod breaker;
mod budget;
mod bulkhead;
mod call;
mod client;
mod config;
mod connect;
mod dial;
mod failure;
mod gather;
mod health;
mod latency;
mod lease;
mod member;
mod metrics;
mod outgoing;
mod outlier;
mod place;
mod pool;
mod prepare;
mod random;
mod replay;
mod retry;
mod sent;
mod settings;
mod tenants;
mod tls;
mod upload;
mod uploads;
mod upstream;
mod watch;
mod window;

pub use answer::Tunnel;
pub use boxed::boxed;
pub use call::{Attempt, Call, GRACE, IDEMPOTENCY_KEY, Observe, Observed, Observer};
pub use client::Client;
pub use config::{
    Balance, Config, HostHeader, Protocol, Scheme, Server, ServerConfig, TIME_LEFT, Timeouts, TlsConfig, WeightedServer,
};
pub use failure::{Failure, FailureKind};
pub use gather::poll_write_parts;
pub use metrics::Metrics;
pub use settings::{BreakerConfig, BulkheadConfig, HealthConfig, OutlierConfig, PoolConfig, RetryConfig};
pub use uploads::{Sender, Uploading, Uploads};
pub use upstream::{Environment, Upstream, Upstreams};
