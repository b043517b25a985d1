//! How often something may be asked for: per address, tenant, user, credential, route or header's value, by
//! the generic cell rate algorithm (GCRA), on this node alone or on all nodes that share a Redis. The README
//! derives the error bound. Not for budgets of money or tokens: those are the metering part's.

mod compiled;
mod config;
mod fields;
mod gcra;
mod key;
mod lease;
mod metrics;
mod redis;
mod running;
mod shared;
mod table;
mod verdict;

pub use compiled::{Limits, Phase};
pub use config::{Absent, Fields, LimitConfig, LimitUse, LimiterConfig, OnRedisLoss, Store};
pub use key::Subject;
pub use running::Limiter;
pub use verdict::Verdict;
