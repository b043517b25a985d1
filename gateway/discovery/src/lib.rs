//! Says where the servers of an upstream are, and keeps saying it; and tells others where this process
//! is. Not for calling those servers, nor for whether they are well.

mod address;
mod config;
mod consul;
mod dns;
mod endpoint;
mod etcd;
mod http;
mod keeper;
mod pause;
mod registration;
mod watch;

pub use config::{Config, Consul, Dns, Etcd, Secret, Srv, Static};
pub use endpoint::Endpoint;
pub use keeper::State;
pub use registration::{Register, RegisterConsul, RegisterEtcd, Registration};
pub use watch::{Discovery, Guard};
