//! WebSockets between a client and an origin: the handshake judged from both sides, frames passed as they are,
//! and a Close said in time. Not for speaking WebSocket to a client itself, and not for HTTP/2's extended CONNECT.

mod config;
mod frame;
mod handshake;
mod join;
mod lane;
mod origin;
mod pace;
mod relay;
mod sockets;

pub use config::Config;
pub use handshake::{Handshake, complete_refusal};
pub use join::{Joined, Life, Socket, join};
pub use origin::OriginRule;
pub use sockets::{Counts, Place, Reason, Sockets};
