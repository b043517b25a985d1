//! What a process knows that another one turned, and what it knows while the database is away. Here a
//! process is a state of its own over a store of its own.

use std::sync::Arc;
use std::time::Duration;

use fixtures::eventually;
use kernel::{RequestId, TenantId};
use sea_orm::sea_query::{Alias, Query};
use service::{Features, features_of};
use store::{Config, Engine, Event, Purpose, Store, TenantChange, TenantDraft};
use testkit::TestApp;
use tokio::task::JoinSet;

use crate::wire::Wire;
use crate::{DOOR, apps, services, turn, turn_for_all, withdraw};

/// Another process over the same database.
struct Other {
    features: Arc<dyn Features>,
    store: Store,
    _following: JoinSet<()>,
}

impl Other {
    async fn start(config: Config, clock: kernel::Clock, look: Option<Duration>) -> Self {
        let features = features_of(&services());
        let store = Store::open(config, clock).await.expect("opens");
        let mut following = JoinSet::new();
        following.spawn(features.open(&store, look).await.expect("reads"));
        Self { features, store, _following: following }
    }

    async fn of(app: &TestApp) -> Self {
        Self::start(app.store().config().clone(), app.clock().clone(), Some(Duration::from_millis(20))).await
    }

    /// Waits until the switch stands so.
    async fn until(&self, tenant: TenantId, key: &str, on: bool) {
        let what = format!("{key} is {on}");
        eventually(&what, || std::future::ready(self.features.is_on(tenant, key) == on)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_knows_what_was_turned_before() {
    for app in apps().await {
        let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
        let superadmin = app.superadmin(&tenant);
        turn(&app, &tenant, DOOR.key, "enable").await.expect(200);
        turn(&app, &tenant, DOOR.key, "disable").await.expect(200);
        turn_for_all(&app, &superadmin, "all", "disable").await.expect(200);
        turn_for_all(&app, &superadmin, "left", "disable").await.expect(200);
        withdraw(&app, &superadmin, "left").await.expect(200);
        let process = Other::start(app.store().config().clone(), app.clock().clone(), None).await;
        let on = |tenant, key| process.features.is_on(tenant, key);
        assert!(!on(tenant.id, DOOR.key) && on(other.id, DOOR.key));
        assert!(!on(tenant.id, "all") && !on(other.id, "all") && on(tenant.id, "left"));
        let refused = process.features.require(tenant.id, DOOR.key).expect_err("it is off");
        assert_eq!((refused.code(), refused.status()), ("flags.feature_disabled", 503));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_hears_of_every_flip() {
    let Some(_) = testkit::postgres_url() else { return };
    let app = TestApp::start(Engine::Postgres, services(), Default::default()).await;
    let (tenant, other) = (app.tenant("farm").await, app.tenant("mill").await);
    let superadmin = app.superadmin(&tenant);
    let process = Other::of(&app).await;
    for round in 0..3 {
        turn(&app, &tenant, DOOR.key, "disable").await.expect(200);
        process.until(tenant.id, DOOR.key, false).await;
        assert!(process.features.is_on(other.id, DOOR.key));
        turn_for_all(&app, &superadmin, DOOR.key, "enable").await.expect(200);
        process.until(tenant.id, DOOR.key, true).await;
        turn_for_all(&app, &superadmin, DOOR.key, "disable").await.expect(200);
        process.until(other.id, DOOR.key, false).await;
        // What the relay numbers later is found by its number.
        if round == 1 {
            app.relay().await;
        }
        withdraw(&app, &superadmin, DOOR.key).await.expect(200);
        process.until(other.id, DOOR.key, true).await;
        turn(&app, &tenant, DOOR.key, "enable").await.expect(200);
        process.until(tenant.id, DOOR.key, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_known_values_hold_while_the_database_is_away() {
    let Some(_) = testkit::postgres_url() else { return };
    let app = TestApp::start(Engine::Postgres, services(), Default::default()).await;
    let tenant = app.tenant("farm").await;
    let superadmin = app.superadmin(&tenant);
    turn(&app, &tenant, DOOR.key, "disable").await.expect(200);
    let mut wire = Wire::to(&app.store().config().url).await;
    let config = Config { url: wire.url(), ..app.store().config().clone() };
    let process = Other::start(config, app.clock().clone(), Some(Duration::from_millis(20))).await;
    assert!(!process.features.is_on(tenant.id, DOOR.key));
    wire.cut().await;
    process.store.ping().await.expect_err("it is away");
    turn(&app, &tenant, DOOR.key, "enable").await.expect(200);
    turn_for_all(&app, &superadmin, "all", "disable").await.expect(200);
    for _ in 0..50 {
        assert!(!process.features.is_on(tenant.id, DOOR.key) && process.features.is_on(tenant.id, "all"));
    }
    // Numbered while it was away, and heard of all the same.
    app.relay().await;
    wire.mend().await;
    process.until(tenant.id, DOOR.key, true).await;
    process.until(tenant.id, "all", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flags_of_a_tenant_count_when_it_is_made_and_not_before() {
    for app in apps().await {
        let id = TenantId::new();
        let system = app.store().system(Purpose::Bootstrap).await.expect("opens");
        let draft = TenantDraft { id, slug: "new-farm", name: "Farm", plan: None, time_zone: None, currency: None };
        system.begin_tenant(draft).await.expect("begins");
        let now = system.now();
        let columns =
            ["tenant_id", "id", "key", "enabled", "created_at", "created_by", "version", "updated_at", "updated_by"];
        let first = Query::insert()
            .into_table(Alias::new("flags_flag"))
            .columns(columns.map(Alias::new))
            .values_panic([
                id.into(),
                TenantId::new().into(),
                DOOR.key.into(),
                false.into(),
                now.into(),
                "test".into(),
                1i64.into(),
                now.into(),
                "test".into(),
            ])
            .take();
        system.execute(&first).await.expect("sets its first flag");
        system.commit().await.expect("kept");
        // One that starts now does not know it: it may yet be taken back.
        let look = (app.store().engine() == Engine::Postgres).then_some(Duration::from_millis(20));
        let process = match look {
            Some(_) => Other::of(&app).await,
            // On SQLite there is one process, and one store.
            None => {
                let features = features_of(&services());
                let mut following = JoinSet::new();
                following.spawn(features.open(app.store(), None).await.expect("reads"));
                Other { features, store: app.store().clone(), _following: following }
            }
        };
        assert!(process.features.is_on(id, DOOR.key));
        let system = app.store().system(Purpose::Tenancy).await.expect("opens");
        let change = TenantChange { state: Some("active"), ..TenantChange::default() };
        let tenant = system.change_tenant(id, None, change).await.expect("is made");
        let made = Event {
            kind: "tenants.tenant.provisioned".to_owned(),
            subject: id.to_string(),
            version: tenant.version,
            data: serde_json::json!({}),
        };
        system.record(id, "test", &RequestId::create(), &made).await.expect("told");
        system.commit().await.expect("kept");
        process.until(id, DOOR.key, false).await;
        drop(process.store);
    }
}
