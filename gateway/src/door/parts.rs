//! What doors are made of, and what those of all cores have in common. Not for requests.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use kernel::Clock;
use service::Features;
use tokio::runtime::Handle;
use web::{Connections, ContextKey};

use crate::browser::PublicOrigin;
use crate::client::TrustedProxies;
use crate::gate::{Gate, OperatorToken};
use crate::lasting::Lasting;

/// Where the door stands.
#[derive(Clone)]
pub enum Entry {
    /// Towards the outside: callers bring tokens.
    Public(Gate),
    /// Behind another gateway: callers bring a signed context.
    Internal(ContextKey),
}

/// The door's limits.
#[derive(Clone, Copy, Debug)]
pub struct DoorConfig {
    /// How many requests are worked on at a time; more are turned away.
    pub in_flight: usize,
    /// How long a request may wait for the head of its answer.
    pub timeout: Duration,
}

impl Default for DoorConfig {
    fn default() -> Self {
        Self { in_flight: 4_096, timeout: Duration::from_secs(30) }
    }
}

/// What the doors of all cores have in common.
#[derive(Clone)]
pub struct DoorParts {
    /// Where the doors stand.
    pub entry: Entry,
    /// The operator token.
    pub operator: OperatorToken,
    /// The proxies in front of a public door.
    pub trusted_proxies: TrustedProxies,
    /// The origin of the pages that may use the cookie.
    pub origin: PublicOrigin,
    /// The runtime of the services.
    pub runtime: Handle,
    /// The connections that outlive their request, which a revocation closes.
    pub connections: Connections,
    /// Knows which switches are on.
    pub features: Arc<dyn Features>,
    /// The clock.
    pub clock: Clock,
    /// The limits.
    pub config: DoorConfig,
    /// What outlives a reload.
    pub lasting: Lasting,
    /// How many requests are worked on, over all cores.
    pub working: Arc<AtomicUsize>,
}
