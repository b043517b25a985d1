//! Socket.IO over the event log: sign-in in the handshake, rooms by role and person, replay of what
//! was missed. This file is the manifest. Not for deciding who may see what: each type of event
//! says that.

mod attend;
mod connect;
mod follow;
mod handler;
mod mount;
mod packet;
mod refresh;
mod replay;
mod rooms;
mod server;
mod session;
mod wire;

use http::Method;
use service::{Access, Operation, Service};

use crate::mount::Mount;
use crate::wire::Wires;

/// The largest body of a request: a packet with a token is what clients send.
const BODY_LIMIT: usize = 16 * 1024;

/// Where clients look; some leave the slash away.
const PATHS: [&str; 2] = ["/socket.io/", "/socket.io"];

/// Returns the service, which carries the events that the other services publish.
pub fn service(services: &[Service]) -> Service {
    let mount = Mount::new(Wires::of(services));
    let operation = |method: Method, path, name: &str| {
        let mount = mount.clone();
        let handler = move |state, request| mount.clone().answer(state, request);
        Operation::new(method, path, format!("live_{name}_socket"), handler).access(Access::Public).hidden().live().describe(
            "Speak Socket.IO",
            "Engine.IO 4 over polling or WebSocket. Public, because the token comes in the CONNECT packet: until then \
             a socket may send nothing else, and is closed after ten seconds.",
        )
    };
    let operations = PATHS
        .into_iter()
        .flat_map(|path| [operation(Method::GET, path, "open"), operation(Method::POST, path, "post")]);
    Service::new("live", "Socket.IO over the event log").routes(operations).body_limit(BODY_LIMIT)
}
