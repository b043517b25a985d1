//! Who learns of what changed: named subscriptions that apply effect and cursor in one transaction,
//! the live fan-out that event streams and sockets stand on, and sinks that carry events elsewhere.
//! The log itself is the store's. Not for business words.

mod apply;
mod cloud_event;
mod dispatcher;
mod doorbell;
mod drive;
mod forget;
mod hub;
mod marks;
mod operate;
mod park;
mod published;
mod redis_streams;
mod replay;
mod retention;
mod scan;
mod sink;
mod statistics;
mod subscription;
mod tables;
mod view;

pub use cloud_event::CloudEvent;
pub use dispatcher::{Dispatcher, Running};
pub use doorbell::Doorbell;
pub use forget::forget;
pub use hub::{Feed, Hub, Lagged};
pub use operate::{Listed, SKIPPED, Stream, list, retry, skip};
pub use park::ALERT;
pub use published::Published;
pub use redis_streams::RedisStreams;
pub use replay::{ReplayReport, replay};
pub use retention::remove_expired;
pub use sink::{NamedSink, Sink};
pub use statistics::SubscriptionStatistics;
pub use subscription::{Kinds, Subscriber, Subscription};
pub use tables::MIGRATIONS;
