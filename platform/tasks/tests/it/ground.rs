//! The common ground: a store with a clock that stands, work made of closures, and a table in which
//! effects can be counted. Not for assertions of one test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kernel::{Answer, Clock, Ctx, PermissionSet, Result, TenantId, Timestamp};
use sea_orm::Set;
use serde_json::Value;
use store::{Migrations, Purpose, Schema, Step, Store, Type, Writer, assign_positions, events_after};
use tasks::{Engine, EngineConfig, Job, NewTask, Outcome, Run, Saga, Schedule, State, TaskFilter, TaskId, TaskRow, Work};

use crate::database::{self, Database};

const EFFECTS: Migrations =
    Migrations { service: "effects", steps: &[Step { name: "0001_effects", apply: effects_table }] };

/// The job whose tasks the database does not let end well.
pub const UNWRITABLE: &str = "test.unwritable";

fn effects_table(schema: &mut Schema) {
    schema.tenant_ledger("effect", |table| table.column("name", Type::Text));
    let when = format!("BEFORE UPDATE ON task FOR EACH ROW WHEN (NEW.state = 'done' AND NEW.job = '{UNWRITABLE}')");
    schema.sql(store::Engine::Sqlite, format!("CREATE TRIGGER refuse {when} BEGIN SELECT RAISE(ABORT, 'a test'); END"));
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                  'BEGIN RAISE EXCEPTION ''a test''; END'";
    schema.sql(store::Engine::Postgres, refuse);
    schema.sql(store::Engine::Postgres, format!("CREATE TRIGGER refuse {when} EXECUTE FUNCTION refuse()"));
}

pub mod effect {
    use kernel::{Id, IdKind, TenantId, Timestamp};
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "effect")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Id<Effect>,
        pub name: String,
        pub created_at: Timestamp,
        pub created_by: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}

    #[derive(Debug)]
    pub struct Effect;
    impl IdKind for Effect {
        const PREFIX: &'static str = "eff";
    }
    store::tenant_row!(Entity, Effect);
}

/// A store with two tenants, and a clock that stands.
pub struct World {
    pub store: Store,
    pub clock: Clock,
    pub tenant: TenantId,
    pub other: TenantId,
    _database: Database,
}

/// Returns a world on each engine there is.
pub async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for database in [Some(database::sqlite()), database::postgres().await].into_iter().flatten() {
        println!("engine: {:?}", database.config.engine());
        let clock = Clock::manual(Timestamp::parse("2026-11-21T08:00:00Z").expect("a time"));
        store::migrate(&database.config, &[tasks::MIGRATIONS, EFFECTS], &clock).await.expect("migrates");
        let store = Store::open(database.config.clone(), clock.clone()).await.expect("opens");
        let (tenant, other) = (create_tenant(&store, "first").await, create_tenant(&store, "second").await);
        worlds.push(World { store, clock, tenant, other, _database: database });
    }
    worlds
}

async fn create_tenant(store: &Store, slug: &str) -> TenantId {
    let system = store.system(Purpose::Bootstrap).await.expect("opens");
    let tenant = system.create_tenant(slug, slug).await.expect("creates");
    system.commit().await.expect("commits");
    tenant.id
}

pub fn ctx(tenant: TenantId) -> Ctx {
    store::system_context(tenant, PermissionSet::default())
}

impl World {
    pub fn engine(&self, jobs: Vec<Job>) -> Engine {
        self.engine_with(jobs, vec![], vec![], EngineConfig::default())
    }

    /// One task at a time, in the order in which they are taken.
    pub fn one_worker(&self, jobs: Vec<Job>) -> Engine {
        self.engine_with(jobs, vec![], vec![], EngineConfig { workers: 1, ..EngineConfig::default() })
    }

    pub fn sagas(&self, sagas: Vec<Saga>) -> Engine {
        self.engine_with(vec![], vec![], sagas, EngineConfig::default())
    }

    pub fn engine_with(
        &self,
        jobs: Vec<Job>,
        schedules: Vec<Schedule>,
        sagas: Vec<Saga>,
        config: EngineConfig,
    ) -> Engine {
        Engine::new(self.store.clone(), jobs, schedules, sagas, config).expect("an engine")
    }

    pub async fn enqueue(&self, task: NewTask) -> TaskId {
        self.enqueue_for(self.tenant, task).await
    }

    pub async fn enqueue_for(&self, tenant: TenantId, task: NewTask) -> TaskId {
        let mut ctx = ctx(tenant);
        let mut writer = self.store.write(&mut ctx).await.expect("opens");
        let queued = tasks::enqueue(&mut writer, task).await.expect("queues");
        writer.commit(Answer::no_content()).await.expect("commits");
        queued.id
    }

    pub async fn task(&self, id: TaskId) -> TaskRow {
        tasks::find_any(&self.store, id).await.expect("found").0
    }

    pub async fn state(&self, id: TaskId) -> State {
        State::named(&self.task(id).await.state).expect("a state")
    }

    pub async fn tasks(&self) -> Vec<TaskRow> {
        tasks::list_all(&self.store, None, &TaskFilter::default(), 1_000).await.expect("lists")
    }

    /// Returns the tenant's effects, sorted.
    pub async fn effects(&self) -> Vec<String> {
        let ctx = ctx(self.tenant);
        let reader = self.store.read(&ctx).await.expect("opens");
        let rows = reader.select_with_deleted::<effect::Entity>().all().await.expect("reads");
        let mut names: Vec<String> = rows.into_iter().map(|row| row.name).collect();
        names.sort();
        names
    }

    /// Returns the data of the tenant's events of a type.
    pub async fn events(&self, kind: &str) -> Vec<Value> {
        assign_positions(&self.store).await.expect("numbers");
        let rows = events_after(&self.store, 0, Some(&[kind]), 1_000).await.expect("reads");
        rows.iter().map(|row| serde_json::from_str(&row.data).expect("JSON")).collect()
    }

    pub fn shift(&self, by: Duration) {
        self.clock.shift(by.as_micros() as i64);
    }

    /// Moves the clock past every lease.
    pub fn let_leases_run_out(&self) {
        self.shift(Duration::from_secs(31));
    }
}

/// Adds an effect in a transaction.
pub async fn add_effect(writer: &mut Writer<'_>, name: &str) -> Result<()> {
    let row = effect::ActiveModel { name: Set(name.to_owned()), ..Default::default() };
    writer.append::<effect::Entity>(row).await.map(|_| ())
}

/// Adds an effect and ends the task in one transaction.
pub async fn effect_and_complete(run: &mut Run, name: &str) -> Result<Outcome> {
    let mut ctx = run.ctx();
    let mut writer = run.store().write(&mut ctx).await?;
    add_effect(&mut writer, name).await?;
    run.complete(&mut writer, name.into()).await?;
    writer.commit(Answer::no_content()).await?;
    Ok(Outcome::Completed)
}

struct Call<F>(F);

impl<F> Work for Call<F>
where
    F: for<'a> Fn(&'a mut Run) -> BoxFuture<'a, Result<Outcome>> + Send + Sync + 'static,
{
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>> {
        (self.0)(run)
    }
}

/// Returns a job that calls a closure.
pub fn job<F>(name: &'static str, work: F) -> Job
where
    F: for<'a> Fn(&'a mut Run) -> BoxFuture<'a, Result<Outcome>> + Send + Sync + 'static,
{
    Job::new(name, Call(work))
}

/// What happened, in order.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub fn add(&self, note: impl Into<String>) {
        self.0.lock().expect("no panic").push(note.into());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    pub fn len(&self) -> usize {
        self.all().len()
    }
}
