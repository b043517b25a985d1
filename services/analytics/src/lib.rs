//! The analytics service: figures over what others do, from projections of their events. This file is
//! the manifest; each answer has a file of its own. Not for what is true now: that is the ledger of the
//! service that owns it.

mod migrations;
mod pace;
mod project;
mod queries;
mod summary;
mod tables;
mod top;
mod trend;
mod trending;
mod window;

use contracts::analytics::{READ_INVENTORY, SERVICE};
use service::{PermissionType, Role, Service};

/// Returns the service.
pub fn service() -> Service {
    Service::new(SERVICE, "Figures over what others do: stock, demand and trends")
        .routes([summary::operation(), trending::operation(), top::operation()])
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .subscriptions([project::subscription()])
        .extension(pace::Pace::default())
}

const PERMISSIONS: [PermissionType; 1] =
    [PermissionType { name: READ_INVENTORY, role: Role::Viewer, summary: "See figures over the stock and its demand" }];
