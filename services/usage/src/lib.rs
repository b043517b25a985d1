//! The usage service: what a tenant's calls of language models may use and have used. Reservations and records in the
//! tenant's tables, budgets of the tenant's own, figures. This file is the manifest. Not for reading answers and
//! counting tokens, which the gateway's metering does, and not for invoices.

mod again;
mod budget;
mod call;
mod clean;
mod counter;
mod create;
mod day;
mod extend;
mod lapse;
mod migrations;
mod record;
mod records;
mod replace;
mod reserve;
mod settle;
mod standing;
mod summary;

use service::{Audience, EventType, PermissionType, Role, Service, crud};
use store::Constraint;
use tasks::Schedule;

pub use budget::Budget;
pub use call::{Exhausted, Limit, Outcome, Per, Price, Reserved, Spent, Tokens, Unit, Wanted};
pub use extend::extend;
pub use record::{Record, RecordId};
pub use reserve::reserve;
pub use settle::{release, settle};

/// Returns the service.
pub fn service() -> Service {
    // Creating looks at how many there are, replacing and getting at the counters; nothing is restored.
    let standard = crud::<Budget>()
        .into_iter()
        .filter(|operation| ["usage_list_budgets", "usage_delete_budget"].contains(&operation.id.as_str()));
    Service::new("usage", "What calls of language models used: budgets, reservations, records")
        .routes(standard)
        .routes([create::operation(), standing::operation(), replace::operation()])
        .routes([records::operation(), summary::operation()])
        .body_limit(BODY)
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .constraints(CONSTRAINTS)
        .schedules([
            Schedule::new("usage.lapse", "* * * * *", lapse::Lapse),
            Schedule::new("usage.clean", "41 3 * * *", clean::Clean),
        ])
}

/// No body here needs more.
const BODY: usize = 16 << 10;

const PERMISSIONS: [PermissionType; 3] = [
    PermissionType { name: "usage.budgets.read", role: Role::Admin, summary: "See the budgets of language models" },
    PermissionType { name: "usage.budgets.write", role: Role::Admin, summary: "Manage the budgets of language models" },
    PermissionType {
        name: "usage.records.read",
        role: Role::Admin,
        summary: "See who used which language model, and what that cost",
    },
];

/// What a call used is known.
const RECORDED: &str = "usage.recorded";
/// A budget had no room for a call.
const BUDGET_EXHAUSTED: &str = "usage.budget_exhausted";
/// For how many days the log keeps single calls; the records are kept for longer.
const LOGGED_DAYS: u32 = 90;

const EVENTS: [EventType; 5] = [
    event("usage.budget.created", None, "A budget of language models was created"),
    event("usage.budget.updated", None, "A budget of language models was changed"),
    event("usage.budget.deleted", None, "A budget of language models was deleted"),
    event(RECORDED, Some(LOGGED_DAYS), "A call of a language model was entered; a higher version replaces it"),
    event(BUDGET_EXHAUSTED, None, "A budget had no room for a call, for the first time in its period"),
];

const fn event(name: &'static str, retention_days: Option<u32>, summary: &'static str) -> EventType {
    EventType { name, audience: Audience::Admins, retention_days, summary }
}

const CONSTRAINTS: [Constraint; 1] = [Constraint {
    name: "usage_budget_name",
    columns: "usage_budget.tenant_id, usage_budget.name",
    code: "usage.budget_name_taken",
    message: "there is a budget with this name",
}];
