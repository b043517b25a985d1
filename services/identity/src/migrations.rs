//! The tables of the identity service, step by step; a released step never changes.

use store::{Engine, Purpose, Schema, Step, Type};

/// The steps, oldest first.
pub(crate) const STEPS: &[Step] = &[
    Step { name: "0001_people", apply: people },
    Step { name: "0002_sign_in", apply: sign_in },
    Step { name: "0003_first_invitations", apply: first_invitations },
    Step { name: "0004_tickets", apply: tickets },
];

/// Who makes a tenant invites its first administrator, or takes that back for good.
fn first_invitations(schema: &mut Schema) {
    schema.grant("identity_invitation", Purpose::Bootstrap, "INSERT, DELETE");
}

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

/// Passwords, sessions with refresh tokens, scopes, invitations, signing keys.
fn sign_in(schema: &mut Schema) {
    schema.add_column("identity_user", "password_hash", Type::Text, None);
    schema.add_column("identity_user", "platform_role", Type::Text, None);
    schema.add_column("identity_user", "state", Type::Text, Some("'active'"));
    schema.grant("identity_user", Purpose::SignIn, "UPDATE (password_hash, name, email)");
    schema.grant("identity_user", Purpose::Bootstrap, "UPDATE (platform_role)");
    // Forced row-level security binds the owner too, who has no policy.
    let force = |schema: &mut Schema, how: &str| {
        schema.sql(Engine::Postgres, format!("ALTER TABLE identity_membership {how} ROW LEVEL SECURITY"));
    };
    force(schema, "NO FORCE");
    schema.both("UPDATE identity_membership SET id = user_id");
    force(schema, "FORCE");
    // People are looked up before their tenant is known.
    schema.both("CREATE INDEX identity_membership_person ON identity_membership (user_id)");
    schema.grant("identity_membership", Purpose::Bootstrap, "UPDATE");
    schema.add_column("identity_token", "scopes", Type::Text, None);
    schema.add_column("identity_token", "last_used_at", Type::Integer, None);
    schema.both("CREATE INDEX identity_token_person ON identity_token (user_id)");
    schema.grant("identity_token", Purpose::SignIn, "UPDATE (last_used_at)");
    schema.open_to("identity_token", Purpose::Housekeeping, "SELECT, DELETE");
    schema.tenant_table("identity_session", |table| {
        table.column("user_id", Type::Uuid);
        table.column("method", Type::Text);
        table.nullable("network", Type::Text);
        table.nullable("user_agent", Type::Text);
        table.column("expires_at", Type::Integer);
        table.column("idle_expires_at", Type::Integer);
        table.column("last_used_at", Type::Integer);
        table.nullable("elevation", Type::Text);
        table.column("seed_sealed", Type::Bytes);
        table.column("generation", Type::Integer);
        table.column("window_generation", Type::Integer);
        table.column("window_began_at", Type::Integer);
        table.column("earlier_generation", Type::Integer);
        table.rule("FOREIGN KEY (user_id) REFERENCES identity_user (id)");
        table.index("identity_session_user", &["user_id"]);
    });
    schema.both("CREATE UNIQUE INDEX identity_session_id ON identity_session (id)");
    schema.both("CREATE INDEX identity_session_person ON identity_session (user_id, network)");
    schema.both("CREATE INDEX identity_session_end ON identity_session (expires_at)");
    schema.open_to("identity_session", Purpose::SignIn, "SELECT, INSERT, UPDATE");
    schema.open_to("identity_session", Purpose::Bootstrap, "SELECT, UPDATE (deleted_at)");
    schema.open_to("identity_session", Purpose::Housekeeping, "SELECT, DELETE");
    schema.tenant_table("identity_invitation", |table| {
        table.column("email", Type::Text);
        table.column("role", Type::Text);
        table.column("code_hash", Type::Bytes);
        table.column("expires_at", Type::Integer);
        table.nullable("accepted_at", Type::Integer);
        table.check("identity_invitation_role", "role IN ('viewer', 'staff', 'admin')");
        table.index("identity_invitation_email", &["email"]);
    });
    schema.both("CREATE UNIQUE INDEX identity_invitation_code ON identity_invitation (code_hash)");
    schema.both("CREATE INDEX identity_invitation_end ON identity_invitation (expires_at)");
    schema.open_to("identity_invitation", Purpose::SignIn, "SELECT");
    schema.open_to("identity_invitation", Purpose::Bootstrap, "SELECT, UPDATE");
    schema.open_to("identity_invitation", Purpose::Housekeeping, "SELECT, DELETE");
    let letters = [(Purpose::SignIn, "SELECT, INSERT, UPDATE"), (Purpose::Housekeeping, "SELECT, DELETE")];
    schema.system_table("identity_reset", &letters, |table| {
        table.column("code_hash", Type::Bytes);
        table.nullable("user_id", Type::Uuid);
        table.column("created_at", Type::Integer);
        table.column("expires_at", Type::Integer);
        table.nullable("used_at", Type::Integer);
        table.rule("PRIMARY KEY (code_hash)");
        table.rule("FOREIGN KEY (user_id) REFERENCES identity_user (id)");
        table.index("identity_reset_end", &["expires_at"]);
        table.index("identity_reset_person", &["user_id"]);
    });
    let registrations = [letters[0], letters[1], (Purpose::Bootstrap, "SELECT, UPDATE")];
    schema.system_table("identity_registration", &registrations, |table| {
        table.column("code_hash", Type::Bytes);
        table.column("email", Type::Text);
        table.column("name", Type::Text);
        table.column("password_hash", Type::Text);
        table.column("organization_name", Type::Text);
        table.nullable("organization_slug", Type::Text);
        table.column("created_at", Type::Integer);
        table.column("expires_at", Type::Integer);
        table.nullable("used_at", Type::Integer);
        table.rule("PRIMARY KEY (code_hash)");
        table.index("identity_registration_end", &["expires_at"]);
        table.index("identity_registration_used", &["used_at"]);
    });
    let keys = [(Purpose::SignIn, "SELECT, INSERT"), (Purpose::Housekeeping, "SELECT, DELETE")];
    schema.system_table("identity_signing_key", &keys, |table| {
        table.column("kid", Type::Text);
        table.column("serial", Type::Integer);
        table.column("x", Type::Text);
        table.column("y", Type::Text);
        table.column("private_sealed", Type::Bytes);
        table.column("created_at", Type::Integer);
        table.column("signs_from", Type::Integer);
        table.rule("PRIMARY KEY (kid)");
        table.unique("identity_signing_key_serial", &["serial"]);
    });
    // Sign-ins that were refused and belong to no tenant that is known.
    let refused = [(Purpose::SignIn, "SELECT, INSERT"), (Purpose::Housekeeping, "SELECT, DELETE")];
    schema.system_table("identity_refused_sign_in", &refused, |table| {
        table.column("id", Type::Uuid);
        table.column("account_hash", Type::Bytes);
        table.column("network", Type::Text);
        table.column("request_id", Type::Text);
        table.column("created_at", Type::Integer);
        table.rule("PRIMARY KEY (id)");
        table.index("identity_refused_sign_in_age", &["created_at"]);
    });
    schema.both("CREATE INDEX identity_sign_in_code_end ON identity_sign_in_code (expires_at)");
    schema.both("CREATE INDEX identity_token_end ON identity_token (expires_at)");
    schema.grant("identity_sign_in_code", Purpose::Housekeeping, "SELECT, DELETE");
}

/// What opens one connection of a browser.
fn tickets(schema: &mut Schema) {
    let tickets = [(Purpose::SignIn, "SELECT, INSERT, UPDATE"), (Purpose::Housekeeping, "SELECT, DELETE")];
    schema.system_table("identity_ticket", &tickets, |table| {
        table.column("ticket_hash", Type::Bytes);
        table.column("tenant_id", Type::Uuid);
        table.column("user_id", Type::Uuid);
        table.column("credential", Type::Text);
        table.column("path", Type::Text);
        table.column("until", Type::Integer);
        table.column("created_at", Type::Integer);
        table.column("expires_at", Type::Integer);
        table.nullable("used_at", Type::Integer);
        table.rule("PRIMARY KEY (ticket_hash)");
        table.rule("FOREIGN KEY (tenant_id) REFERENCES tenant (id)");
        table.rule("FOREIGN KEY (user_id) REFERENCES identity_user (id)");
        table.index("identity_ticket_end", &["expires_at"]);
    });
}
