//! What a route asks of requests and answers: how often, from where, how large, for which origins, and
//! what is changed on the way. Each policy is compiled once, when the plan is, and then only read; what
//! counts (limits, shedders) is made once and lives through reloads.
//!
//! Not for who somebody is and what they may do, and not for where a request goes.

mod addresses;
mod body_limit;
mod cors;
mod fault;
mod json;
mod limits;
mod shedder;
mod template;
mod transform;

pub use addresses::{Addresses, AddressesConfig};
pub use body_limit::{BodyLimit, BodyLimitConfig, HeadLimit, HeadLimitConfig};
pub use cors::{Cors, CorsConfig};
pub use fault::{BodyFault, FaultWatch};
pub use limits::{
    Absent, Fields, LimitConfig, LimitUse, Limiter, LimiterConfig, Limits, OnRedisLoss, Phase, Store, Subject, Verdict,
};
pub use shedder::{Admission, Priority, Shed, Shedder, ShedderConfig, Shedders};
pub use template::Values;
pub use transform::{
    Etag, HeaderChanges, JsonConfig, OnInvalid, Prepared, QueryChanges, RequestTransform, RequestTransformConfig,
    ResponseTransform, ResponseTransformConfig,
};

/// Returns the refusal of a configuration.
fn wrong(message: impl Into<String>) -> kernel::Error {
    kernel::Error::invalid("config.invalid", message)
}
