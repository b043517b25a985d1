//! The flags service: named switches of a tenant. This file is the manifest. Not for experiments.

use service::Service;

/// Returns the service.
pub fn service() -> Service {
    Service::new("flags", "Kill switches and feature flags")
}
