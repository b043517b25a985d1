//! Refuses what two servers could read in two ways: a scanner between the socket and hyper that looks at the
//! bytes of HTTP/1.1 in place, follows the framing, and lets through only what RFC 9112 allows and every
//! server reads alike; and a guard for the frames of HTTP/2. Not for answering, not for routing, and not for
//! what a path or a header means.
//!
//! A refused head is replaced, in what hyper reads, by a tiny request of ours that names the reason
//! ([`Refusal::of`] finds it again), so that refusals walk the same way as every other answer, in order.

mod body;
mod config;
mod field;
mod frames;
mod guard;
mod head;
mod http2;
mod link;
mod names;
mod pace;
mod paced;
mod reading;
mod refusal;
mod scanner;
mod syntax;
mod target;
mod windows;

pub use config::Config;
pub use frames::FrameGuard;
pub use guard::Guard;
pub use http2::{check_http2, settle_target};
pub use link::{Link, Watchdog};
pub use paced::Paced;
pub use refusal::Refusal;
pub use scanner::{Scan, Scanner, Then};
