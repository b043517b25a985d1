//! The tables of subscriptions: how far each has come, in the log and in each tenant, and the events
//! that it could not apply. Not for what is done with them.

use store::{Migrations, Purpose, Schema, Step, Type};

/// The tables of subscriptions and sinks.
pub const MIGRATIONS: Migrations = Migrations {
    service: "events",
    steps: &[
        Step { name: "0001_subscriptions", apply: subscriptions },
        Step { name: "0002_forget", apply: allow_forgetting },
    ],
};

fn subscriptions(schema: &mut Schema) {
    let uses = [(Purpose::Dispatch, "SELECT, INSERT, UPDATE"), (Purpose::Housekeeping, "SELECT")];
    schema.system_table("subscription", &uses, |table| {
        table.column("name", Type::Text);
        // Everything up to here was offered to every tenant.
        table.column("position", Type::Integer);
        // Counts the replays: what a round of an earlier generation has read means nothing any more.
        table.column("generation", Type::Integer);
        // Only saves work that two processes would both do; nothing relies on it.
        table.nullable("lease_holder", Type::Text);
        table.column("lease_until", Type::Integer);
        table.column("updated_at", Type::Integer);
        table.rule("PRIMARY KEY (name)");
    });
    schema.tenant_bookkeeping("subscription_cursor", |table| {
        table.column("subscription", Type::Text);
        table.column("position", Type::Integer);
        table.column("generation", Type::Integer);
        table.unique("subscription_cursor_name", &["subscription"]);
    });
    schema.open_to("subscription_cursor", Purpose::Dispatch, "SELECT, INSERT, UPDATE");
    schema.tenant_bookkeeping("subscription_parked", |table| {
        table.column("subscription", Type::Text);
        table.column("position", Type::Integer);
        table.column("event_id", Type::Uuid);
        table.column("kind", Type::Text);
        table.column("subject", Type::Text);
        table.column("state", Type::Text);
        table.column("attempts", Type::Integer);
        table.column("next_try_at", Type::Integer);
        table.column("error", Type::Text);
        table.column("code_version", Type::Text);
        table.column("first_failed_at", Type::Integer);
        table.check("subscription_parked_state", "state IN ('retrying', 'parked', 'waiting')");
        table.unique("subscription_parked_position", &["subscription", "position"]);
        table.index("subscription_parked_subject", &["subscription", "subject", "position"]);
        table.index_across("subscription_parked_due", &["next_try_at"], "state = 'retrying'");
        table.index_across("subscription_parked_heads", &["subscription", "position"], "state <> 'waiting'");
    });
    schema.open_to("subscription_parked", Purpose::Dispatch, "SELECT, UPDATE, DELETE");
    schema.open_to("subscription_parked", Purpose::Housekeeping, "SELECT");
}

fn allow_forgetting(schema: &mut Schema) {
    schema.grant("subscription", Purpose::Dispatch, "DELETE");
    schema.grant("subscription_cursor", Purpose::Dispatch, "DELETE");
}

/// How far a subscription or a sink has come in the log.
pub(crate) mod mark {
    use kernel::Timestamp;
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "subscription")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub position: i64,
        pub generation: i64,
        pub lease_holder: Option<String>,
        pub lease_until: Timestamp,
        pub updated_at: Timestamp,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// How far a subscription has come in one tenant.
pub(crate) mod cursor {
    use kernel::{Id, IdKind, TenantId, Timestamp};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "subscription_cursor")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Id<Cursor>,
        pub subscription: String,
        pub position: i64,
        pub generation: i64,
        pub created_at: Timestamp,
        pub created_by: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}

    #[derive(Debug)]
    pub struct Cursor;
    impl IdKind for Cursor {
        const PREFIX: &'static str = "scu";
    }
    store::tenant_row!(Entity, Cursor);
}

/// An event that a subscription could not apply, or that waits behind one about the same thing.
pub(crate) mod parked {
    use kernel::{Id, IdKind, TenantId, Timestamp};
    use sea_orm::entity::prelude::*;

    /// It is tried again by itself.
    pub const RETRYING: &str = "retrying";
    /// It was tried often enough: somebody has to decide.
    pub const PARKED: &str = "parked";
    /// An earlier event about the same thing comes first.
    pub const WAITING: &str = "waiting";

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "subscription_parked")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Id<Parked>,
        pub subscription: String,
        pub position: i64,
        pub event_id: Id<store::EventKind>,
        pub kind: String,
        pub subject: String,
        pub state: String,
        pub attempts: i64,
        pub next_try_at: Timestamp,
        pub error: String,
        pub code_version: String,
        pub first_failed_at: Timestamp,
        pub created_at: Timestamp,
        pub created_by: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}

    #[derive(Debug)]
    pub struct Parked;
    impl IdKind for Parked {
        const PREFIX: &'static str = "spk";
    }
    store::tenant_row!(Entity, Parked);
}
