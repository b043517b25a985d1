//! The notifications service: tells people what concerns them, in the app, by mail and to webhooks,
//! as they and their tenant prefer. This file is the manifest. Not for the events themselves.

use service::Service;

/// Returns the service.
pub fn service() -> Service {
    Service::new("notifications", "Tells people what concerns them: in the app, by mail, to webhooks")
}
