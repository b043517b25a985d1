//! Who learns of what changed: named subscriptions that apply effect and cursor in one transaction,
//! the live fan-out that event streams and sockets stand on, and sinks that carry events elsewhere.
//! The log itself is the store's. Not for business words.

mod hub;
mod subscription;

pub use hub::{Feed, Hub, Lagged, Published};
pub use subscription::{Kinds, Subscriber, Subscription};
