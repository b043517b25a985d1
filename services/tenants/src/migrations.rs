//! The tables of the tenants service, step by step; a released step never changes.

use store::{Purpose, Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "0001_provisioning_and_quotas", apply: provisioning_and_quotas },
    Step { name: "0002_taking_back", apply: taking_back },
];

/// What is taken back is marked first; the right to change a row is the right to lock it, too.
fn taking_back(schema: &mut Schema) {
    schema.grant("tenant", Purpose::Bootstrap, "UPDATE (state, version, updated_at)");
}

fn provisioning_and_quotas(schema: &mut Schema) {
    // What is taken back while it is being made is removed for good.
    schema.grant("tenant", Purpose::Bootstrap, "DELETE");
    // Replaced as a whole, under an event and a version of the tenant, so its rows have none of their own.
    schema.tenant_bookkeeping("tenants_quota", |table| {
        table.column("name", Type::Text);
        table.column("most", Type::Integer);
        table.check("tenants_quota_most", "most >= 0");
        table.unique("tenants_quota_name", &["name"]);
    });
    schema.open_to("tenants_quota", Purpose::Tenancy, "SELECT, INSERT, DELETE");
    schema.open_to("tenants_quota", Purpose::Bootstrap, "SELECT, INSERT, DELETE");
}
