//! The webhooks service: tells a tenant's own systems what changed, over HTTPS, signed (Standard
//! Webhooks), retried and logged. This file is the manifest. Not for notifying people.

mod attempt;
mod clean;
mod create;
mod deliver;
mod deliveries;
mod delivery;
mod endpoint;
mod guard;
mod lane;
mod matching;
mod message;
mod migrations;
mod pattern;
mod queue;
mod replay;
mod replay_missing;
mod rotate;
mod schedule;
mod secret;
mod send;
mod settings;
mod settle;
mod standing;
mod state;
mod test_event;
mod update;

use events::{Kinds, Subscription};
use service::{Audience, EventType, PermissionType, Role, Service, crud};
use tasks::{Job, Schedule};

pub use endpoint::Endpoint;
pub use guard::{Internet, Network};
pub use settings::Settings;
pub use state::Webhooks;

/// Returns the service over this state.
pub fn service(webhooks: Webhooks) -> Service {
    // Creating shows a secret and changing looks at the settings, so those two are handlers of their own.
    let own = ["webhooks_create_endpoint", "webhooks_update_endpoint"];
    let standard = crud::<Endpoint>().into_iter().filter(move |operation| !own.contains(&operation.id.as_str()));
    Service::new("webhooks", "Tells tenants' own systems what changed: signed, retried, logged")
        .routes(standard)
        .routes([create::operation(), update::operation(), rotate::operation(), test_event::operation()])
        .routes([replay_missing::operation(), replay::operation()])
        .routes(deliveries::operations())
        .body_limit(BODY)
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .subscriptions([Subscription::new("webhooks.deliveries", Kinds::All, matching::Matching(webhooks.clone()))])
        .jobs([
            Job::new(queue::DELIVER, deliver::Deliver(webhooks.clone()))
                .retry(queue::PATIENT)
                .per_tenant(TENANT_AT_ONCE),
            Job::new(queue::REPLAY, replay_missing::ReplayMissing(webhooks.clone()))
                .retry(queue::PATIENT)
                .per_tenant(1),
        ])
        .schedules([
            Schedule::new("webhooks.clean", "17 3 * * *", clean::Clean(webhooks.clone())),
            Schedule::new("webhooks.rescue", "*/10 * * * *", clean::Rescue),
        ])
        .extension(webhooks)
}

/// No body here needs more.
const BODY: usize = 32 << 10;

/// How many of one tenant's deliveries are on their way at the same time from a process.
const TENANT_AT_ONCE: usize = 8;

const PERMISSIONS: [PermissionType; 2] = [
    PermissionType {
        name: "webhooks.endpoints.read",
        role: Role::Admin,
        summary: "See the webhook endpoints and what was sent to them",
    },
    PermissionType {
        name: "webhooks.endpoints.write",
        role: Role::Admin,
        summary: "Manage webhook endpoints, their secrets, and send again",
    },
];

const EVENTS: [EventType; 7] = [
    event("webhooks.endpoint.created", "A webhook endpoint was created"),
    event("webhooks.endpoint.updated", "A webhook endpoint was changed"),
    event("webhooks.endpoint.deleted", "A webhook endpoint was deleted"),
    event("webhooks.endpoint.restored", "A deleted webhook endpoint was restored"),
    event("webhooks.endpoint.disabled", "A webhook endpoint was switched off because it fails; data tells why"),
    event("webhooks.endpoint.secret_rotated", "A webhook endpoint got a new signing secret"),
    event("webhooks.endpoint.tested", "Somebody asked for a test message to a webhook endpoint"),
];

const fn event(name: &'static str, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Admins, retention_days: None, summary }
}
