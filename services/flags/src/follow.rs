//! How a process comes to know the switches: all of them once when it starts, then what the log says
//! has changed. A flip of this process is noted where it is made; this finds those of others, those of
//! tenants that were made, and whatever was missed. While the database is away the last known values
//! stay. Not for asking.

use std::time::Duration;

use kernel::{Result, TenantId};
use sea_orm::sea_query::Condition;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _,
    QueryTrait as _,
};
use service::Following;
use store::{Purpose, Store, TenantFilter, from_database};

use crate::flag::{Column, Entity, FlagId};
use crate::platform;
use crate::state::{Flags, Stale, TELLING};

/// How many flags are read at a time.
const PAGE: u64 = 5_000;
/// The flags of how many tenants are read at a time.
const TENANTS: usize = 50;
/// How many tenants that are being made are read at a time.
const MAKING: u64 = 1_000;
/// How soon something is tried again that failed.
const AGAIN: Duration = Duration::from_millis(250);

/// A flag as the state learns it.
struct Turned {
    tenant: TenantId,
    id: FlagId,
    key: String,
    enabled: bool,
    version: i64,
}

/// Reads how everything stands, and returns the work of following it from there.
pub(crate) async fn open(flags: &Flags, store: &Store, look: Option<Duration>) -> Result<Following> {
    let told = flags.clone();
    // Before reading, so that nothing that happens meanwhile is missed; the same goes for the position.
    store.listen(move |events| told.hear(events));
    let position = if look.is_some() { store::last_position(store).await? } else { 0 };
    read_all(flags, store).await?;
    read_platform(flags, store).await?;
    forget_unmade(flags, store).await?;
    let (flags, store) = (flags.clone(), store.clone());
    Ok(Box::pin(follow(flags, store, look, position)))
}

async fn follow(flags: Flags, store: Store, look: Option<Duration>, mut position: i64) {
    let mut away = false;
    loop {
        let pause = if away { Some(AGAIN) } else { look };
        match pause {
            Some(pause) => _ = tokio::time::timeout(pause, flags.told()).await,
            None => flags.told().await,
        }
        match catch_up(&flags, &store, look.is_some(), &mut position).await {
            Ok(()) if away => {
                tracing::info!("switches are followed again");
                away = false;
            }
            Ok(()) => {}
            Err(error) => {
                if !away {
                    tracing::warn!(error = %error, "switches are not followed; their last known values hold");
                }
                // Also where it was told of something: the database is not to be asked all the time.
                if std::mem::replace(&mut away, true) {
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

/// Reads what has changed since the last time.
async fn catch_up(flags: &Flags, store: &Store, looks: bool, position: &mut i64) -> Result<()> {
    if looks {
        let (next, events) = store::committed_after(store, *position, &TELLING).await?;
        flags.hear(&events);
        *position = next;
    }
    let stale = flags.take_stale();
    let read = read_stale(flags, store, &stale).await;
    if read.is_err() {
        flags.put_back(stale);
    }
    read
}

async fn read_stale(flags: &Flags, store: &Store, stale: &Stale) -> Result<()> {
    if stale.platform {
        read_platform(flags, store).await?;
    }
    let tenants: Vec<TenantId> = stale.tenants.iter().copied().collect();
    for some in tenants.chunks(TENANTS) {
        let theirs = Condition::all().add(Column::TenantId.is_in(some.iter().copied()));
        learn(flags, &read(store, theirs, None).await?);
    }
    Ok(())
}

async fn read_all(flags: &Flags, store: &Store) -> Result<()> {
    let mut after = Condition::all();
    loop {
        let page = read(store, after, Some(PAGE)).await?;
        learn(flags, &page);
        let Some(last) = page.last().filter(|_| page.len() as u64 == PAGE) else { return Ok(()) };
        // In two parts, of which the first leads straight to the place in the index.
        let later = Condition::any().add(Column::TenantId.gt(last.tenant)).add(Column::Id.gt(last.id));
        after = Condition::all().add(Column::TenantId.gte(last.tenant)).add(later);
    }
}

async fn read(store: &Store, condition: Condition, limit: Option<u64>) -> Result<Vec<Turned>> {
    let select = Entity::find()
        .select_only()
        .columns([Column::TenantId, Column::Id, Column::Key, Column::Enabled, Column::Version])
        .filter(Column::DeletedAt.is_null())
        .filter(condition)
        .order_by_asc(Column::TenantId)
        .order_by_asc(Column::Id)
        .limit(limit);
    let system = store.system_read(Purpose::Switches).await?;
    let rows = system.rows(&select.into_query()).await?;
    system.close().await?;
    let turned = |row: &QueryResult| -> Result<Turned, sea_orm::DbErr> {
        Ok(Turned {
            tenant: row.try_get_by_index(0)?,
            id: row.try_get_by_index(1)?,
            key: row.try_get_by_index(2)?,
            enabled: row.try_get_by_index(3)?,
            version: row.try_get_by_index(4)?,
        })
    };
    rows.iter().map(turned).collect::<Result<_, _>>().map_err(from_database)
}

fn learn(flags: &Flags, turned: &[Turned]) {
    flags.learn(|standing| {
        for Turned { tenant, key, enabled, version, .. } in turned {
            standing.turn(*tenant, key, *version, *enabled);
        }
    });
}

async fn read_platform(flags: &Flags, store: &Store) -> Result<()> {
    let system = store.system_read(Purpose::Switches).await?;
    let rows = system.all(platform::Entity::find()).await?;
    system.close().await?;
    flags.learn(|standing| {
        for row in &rows {
            standing.turn_for_all(&row.key, row.version, row.enabled);
        }
    });
    Ok(())
}

/// Forgets what tenants that are still being made may yet take back; the log tells when one is made.
async fn forget_unmade(flags: &Flags, store: &Store) -> Result<()> {
    let mut filter = TenantFilter { state: Some("provisioning".to_owned()), ..TenantFilter::default() };
    loop {
        let system = store.system_read(Purpose::Switches).await?;
        let making = system.tenants(&filter, MAKING).await?;
        system.close().await?;
        flags.learn(|standing| making.iter().for_each(|tenant| standing.forget(tenant.id)));
        let Some(last) = making.last().filter(|_| making.len() as u64 == MAKING) else { return Ok(()) };
        filter.after = Some(last.id);
    }
}
