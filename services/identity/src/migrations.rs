//! The tables of the identity service, step by step; a released step never changes.

use store::{Purpose, Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[Step { name: "0001_people", apply: people }];

fn people(schema: &mut Schema) {
    let users = [(Purpose::SignIn, "SELECT"), (Purpose::Bootstrap, "SELECT, INSERT")];
    schema.system_table("identity_user", &users, |table| {
        table.column("id", Type::Uuid);
        table.nullable("email", Type::Text);
        table.column("name", Type::Text);
        table.column("created_at", Type::Integer);
        table.rule("PRIMARY KEY (id)");
        table.unique("identity_user_email", &["email"]);
    });
    schema.tenant_table("identity_membership", |table| {
        table.column("user_id", Type::Uuid);
        table.column("role", Type::Text);
        table.check("identity_membership_role", "role IN ('viewer', 'staff', 'admin')");
        table.rule("FOREIGN KEY (user_id) REFERENCES identity_user (id)");
        table.unique_live("identity_membership_user", &["user_id"]);
    });
    schema.open_to("identity_membership", Purpose::SignIn, "SELECT");
    schema.open_to("identity_membership", Purpose::Bootstrap, "SELECT, INSERT");
    schema.tenant_table("identity_token", |table| {
        table.column("user_id", Type::Uuid);
        table.column("name", Type::Text);
        table.column("secret_hash", Type::Bytes);
        table.column("expires_at", Type::Integer);
        table.rule("FOREIGN KEY (user_id) REFERENCES identity_user (id)");
        table.index("identity_token_user", &["user_id"]);
    });
    // A token is looked up before its tenant is known, so its id alone must find it.
    schema.both("CREATE UNIQUE INDEX identity_token_id ON identity_token (id)");
    schema.open_to("identity_token", Purpose::SignIn, "SELECT, INSERT");
    let codes = [(Purpose::SignIn, "SELECT, UPDATE"), (Purpose::Bootstrap, "SELECT, INSERT")];
    schema.system_table("identity_sign_in_code", &codes, |table| {
        table.column("code_hash", Type::Bytes);
        table.column("tenant_id", Type::Uuid);
        table.column("user_id", Type::Uuid);
        table.column("created_at", Type::Integer);
        table.column("expires_at", Type::Integer);
        table.nullable("used_at", Type::Integer);
        table.rule("PRIMARY KEY (code_hash)");
        table.rule("FOREIGN KEY (tenant_id) REFERENCES tenant (id)");
        table.rule("FOREIGN KEY (user_id) REFERENCES identity_user (id)");
    });
}
