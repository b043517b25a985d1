//! What PostgreSQL's roles may reach: the application's, that of each system purpose, and what a
//! pooled connection keeps of them. Not for the filter: see `scope`.

use fixtures::eventually;
use kernel::TenantId;
use store::{Purpose, Store};

use crate::database;
use crate::ground::{self, Random, Sql, abandon_after, add, history};
use crate::scope::two_tenants;
use crate::shop::{self, shelf::Entity};

const TENANT_TABLES: [&str; 5] = ["event_log", "idempotency_key", "shop_shelf", "shop_item", "shop_label"];

/// Runs statements as the application's role for a tenant, and gives the last one's refusal.
async fn as_application(store: &Store, tenant: Option<TenantId>, sql: &str) -> Option<String> {
    let system = store.system(Purpose::Health).await.expect("opens");
    system.execute(&Sql("RESET ROLE")).await.expect("the login's own role");
    system.execute(&Sql("SET LOCAL ROLE portico_app")).await.expect("a member");
    if let Some(tenant) = tenant {
        let set = format!("SELECT set_config('app.tenant', '{}', true)", tenant.uuid());
        system.rows(&Sql(&set)).await.expect("sets");
    }
    let done = system.execute(&Sql(sql)).await;
    system.close().await.expect("closes");
    done.err().map(|error| error.to_string())
}

#[tokio::test]
async fn the_database_itself_refuses_rows_of_another_tenant() {
    let Some(database) = database::postgres().await else {
        return;
    };
    let store = ground::open(&database).await;
    let (mine, theirs) = two_tenants(&store).await;
    add(&store, mine, "mine").await.expect("adds");
    let row = add(&store, theirs, "theirs").await.expect("adds");
    let insert = |tenant: TenantId| {
        format!(
            "INSERT INTO shop_label (tenant_id, id, text, created_at, created_by) \
             VALUES ('{}', gen_random_uuid(), 'x', 1, 'x')",
            tenant.uuid()
        )
    };
    assert_eq!(as_application(&store, Some(mine), &insert(mine)).await, None);
    let move_away = format!("UPDATE shop_shelf SET tenant_id = '{}'", theirs.uuid());
    let event = format!(
        "INSERT INTO event_log (id, tenant_id, kind, subject, subject_version, actor, request_id, correlation_id, \
         occurred_at, data) VALUES (gen_random_uuid(), '{}', 'x', 'x', 1, 'x', 'x', 'x', 1, '{{}}')",
        theirs.uuid()
    );
    let key = format!(
        "INSERT INTO idempotency_key (tenant_id, actor, scope, key, fingerprint, created_at) \
         VALUES ('{}', 'x', 'x', 'x', '', 1)",
        theirs.uuid()
    );
    for (tenant, sql) in [
        (Some(mine), &insert(theirs)),
        (None, &insert(mine)),
        (Some(mine), &move_away),
        (Some(mine), &event),
        (Some(mine), &key),
    ] {
        let refusal = as_application(&store, tenant, sql).await.expect(sql);
        assert!(refusal.contains("row-level security"), "{sql}: {refusal}");
    }
    let forbidden = TENANT_TABLES.iter().flat_map(|table| {
        [
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
        ]
    });
    let more = [
        "SELECT 1 FROM tenant",
        "SELECT 1 FROM event_position",
        "UPDATE event_log SET data = ''",
        "CREATE TABLE mine (id int)",
    ];
    for sql in forbidden.chain(more.map(str::to_owned)) {
        let refusal = as_application(&store, Some(theirs), &sql).await.expect(&sql);
        assert!(refusal.contains("permission denied") || refusal.contains("must be owner"), "{sql}: {refusal}");
    }
    let ctx = shop::ctx(theirs);
    let reader = store.read(&ctx).await.expect("opens");
    assert_eq!(reader.select::<Entity>().id(row).one().await.expect("reads").map(|row| row.version), Some(1));
}

/// What each purpose may do, as the schema grants it; everything else is refused.
const GRANTED: [(Purpose, &str, &str); 29] = [
    (Purpose::SignIn, "tenant", "SELECT"),
    (Purpose::SignIn, "event_log", "INSERT"),
    (Purpose::Bootstrap, "tenant", "SELECT"),
    (Purpose::Bootstrap, "tenant", "INSERT"),
    (Purpose::Bootstrap, "event_log", "INSERT"),
    (Purpose::Tenancy, "tenant", "SELECT, UPDATE"),
    (Purpose::Tenancy, "event_log", "INSERT"),
    (Purpose::Relay, "event_log", "SELECT"),
    (Purpose::Relay, "event_position", "SELECT"),
    (Purpose::Relay, "event_position", "UPDATE"),
    (Purpose::Housekeeping, "idempotency_key", "SELECT"),
    (Purpose::Housekeeping, "idempotency_key", "DELETE"),
    (Purpose::Transfer, "tenant", "SELECT, INSERT"),
    (Purpose::Transfer, "event_log", "SELECT, INSERT"),
    (Purpose::Transfer, "event_position", "SELECT, INSERT, UPDATE"),
    (Purpose::Transfer, "idempotency_key", "SELECT, INSERT"),
    (Purpose::Transfer, "shop_shelf", "SELECT, INSERT"),
    (Purpose::Transfer, "shop_item", "SELECT, INSERT"),
    (Purpose::Transfer, "shop_label", "SELECT, INSERT"),
    (Purpose::Transfer, "schema_step", "SELECT"),
    (Purpose::Relay, "event_log", "UPDATE (position)"),
    (Purpose::Dispatch, "tenant", "SELECT"),
    (Purpose::Dispatch, "event_log", "SELECT"),
    (Purpose::Dispatch, "event_position", "SELECT"),
    (Purpose::Tasks, "tenant", "SELECT"),
    (Purpose::Housekeeping, "event_log", "SELECT, DELETE"),
    (Purpose::Housekeeping, "event_position", "SELECT"),
    (Purpose::Housekeeping, "event_position", "UPDATE (horizon)"),
    (Purpose::Health, "", ""),
];

#[tokio::test]
async fn a_purpose_reaches_what_it_was_granted_and_nothing_else() {
    let Some(database) = database::postgres().await else {
        return;
    };
    let store = ground::open(&database).await;
    let tables = TENANT_TABLES.into_iter().chain(["tenant", "event_position", "schema_step"]);
    for (table, purpose) in tables.flat_map(|table| Purpose::ALL.map(|purpose| (table, purpose))) {
        let column = match table {
            "tenant" | "event_position" => "id",
            "schema_step" => "name",
            _ => "tenant_id",
        };
        let insert = format!("INSERT INTO {table} SELECT * FROM {table} WHERE false");
        let mut attempts = vec![
            ("SELECT", format!("SELECT {column} FROM {table} LIMIT 0")),
            ("UPDATE", format!("UPDATE {table} SET {column} = {column} WHERE false")),
            ("DELETE", format!("DELETE FROM {table} WHERE false")),
            ("TRUNCATE", format!("TRUNCATE {table}")),
        ];
        if table == "event_log" {
            attempts.push(("UPDATE (position)", "UPDATE event_log SET position = 1 WHERE false".to_owned()));
        } else {
            attempts.push(("INSERT", insert.replace(&format!("SELECT * FROM {table} WHERE false"), "DEFAULT VALUES")));
        }
        for (verb, sql) in attempts {
            let granted = GRANTED.iter().any(|(to, on, what)| {
                *to == purpose && *on == table && (*what == verb || what.split(", ").any(|one| one == verb))
            });
            let system = store.system(purpose).await.expect("opens");
            let refusal = system.execute(&Sql(&sql)).await.err().map(|error| error.to_string());
            system.close().await.expect("closes");
            let denied = refusal.as_ref().is_some_and(|text| text.contains("permission denied"));
            assert_eq!(denied, !granted, "{purpose:?}: {sql}: {refusal:?}");
        }
    }
    let system = store.system_read(Purpose::Health).await.expect("opens");
    let wrong = "SELECT rolname::text FROM pg_roles WHERE rolname LIKE 'portico\\_%' AND rolname <> 'portico_test' \
        AND rolname NOT LIKE 'serves%' AND (rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole) UNION ALL \
        SELECT relname::text FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner \
        WHERE rolname IN ('portico_app', 'portico_relay', 'portico_sign_in') UNION ALL \
        SELECT relname::text FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'tenant_id' \
        WHERE relkind = 'r' AND NOT (relrowsecurity AND relforcerowsecurity)";
    assert_eq!(
        system.rows(&Sql(wrong)).await.expect("reads").len(),
        0,
        "a role with power, or a table without its wall"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooled_connection_carries_nothing_to_the_next_borrower() {
    let Some(database) = database::postgres().await else {
        return;
    };
    let store = ground::open_with(&database, |config| config.connections = 2).await;
    let (mine, theirs) = two_tenants(&store).await;
    add(&store, mine, "mine").await.expect("adds");
    let mut random = Random::seeded(5);
    for round in 0..60 {
        let (polls, tenant) = (random.below(8) + 1, if round % 2 == 0 { mine } else { theirs });
        match round % 4 {
            0 => drop(abandon_after(polls, history(&store, tenant)).await),
            1 => drop(abandon_after(polls, add(&store, tenant, "x")).await),
            2 => drop(abandon_after(polls, store.system(Purpose::Relay)).await),
            _ => drop(abandon_after(polls, store.system_read(Purpose::SignIn)).await),
        }
        if round % 5 != 0 {
            continue;
        }
        eventually("all are returned", async || store.statistics().connections_in_use() == 0).await;
        let both = [store.system(Purpose::Health).await, store.system(Purpose::Health).await];
        for system in both.map(|system| system.expect("opens")) {
            let seen = "SELECT concat(current_setting('role'), '/', current_setting('app.tenant', true), '/', \
                current_setting('transaction_read_only'))";
            let rows = system.rows(&Sql(seen)).await.expect("reads");
            assert_eq!(rows[0].try_get_by_index::<String>(0).expect("text"), "portico_health//off");
            system.execute(&Sql("ROLLBACK")).await.expect("back to what the session itself has");
            let rows = system.rows(&Sql(seen)).await.expect("reads");
            assert_eq!(rows[0].try_get_by_index::<String>(0).expect("text"), "none//off", "round {round}");
            system.close().await.expect("closes");
        }
    }
}
