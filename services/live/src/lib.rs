//! Socket.IO over the event log: sign-in in the handshake, rooms by role and person, replay of what
//! was missed. Not for deciding who may see what: each type of event says that.

use service::Service;

/// Returns the service.
pub fn service() -> Service {
    Service::new("live", "Socket.IO over the event log")
}
