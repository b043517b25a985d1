//! Asks another server one question over HTTP or HTTPS: one connection, limits on time and on bytes, no redirects, no
//! proxy from the environment. Not for requests of clients, which go through pools, and not for retries.

mod address;
mod answer;
mod client;

pub use answer::Answer;
pub use client::{Client, within};
