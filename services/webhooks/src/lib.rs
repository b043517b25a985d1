//! The webhooks service: tells a tenant's own systems what changed, over HTTPS, signed (Standard
//! Webhooks), retried and logged. This file is the manifest. Not for notifying people.

use service::Service;

/// Returns the service.
pub fn service() -> Service {
    Service::new("webhooks", "Tells tenants' own systems what changed: signed, retried, logged")
}
