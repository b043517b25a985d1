//! Keeps answers and gives them again as RFC 9111 allows. Not for who may see them: the caller's scope is part of the key.

mod body;
mod cache;
mod codec;
mod conditional;
mod config;
mod date;
mod directives;
mod fill;
mod flight;
mod index;
mod key;
mod memory;
mod metrics;
mod policy;
mod pump;
mod range;
mod redis_tier;
mod renew;
mod select;
mod stored;
mod tag;
mod tiers;
mod unkeyed;
mod vary;
mod verdict;
mod writes;

pub use cache::{Cache, Route};
pub use config::{Config, RedisConfig};
pub use key::{Class, Scope};
pub use policy::{Credentials, Policy, PolicyConfig};
pub use stored::Outcome;
pub use unkeyed::strip_unkeyed;
