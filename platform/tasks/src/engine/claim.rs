//! Leasing tasks: who has work, and how much of it this process takes. Not for working on it.

use kernel::{Result, TenantId, Timestamp};
use sea_orm::QueryResult;
use store::{Purpose, System, from_database};

use super::Inner;
use super::board::{Board, Claimed};
use crate::queries::{self, Leg};

/// How many tenants one look finds.
const TENANTS: u64 = 256;

/// Where the looking for tenants with work goes on.
#[derive(Debug, Default)]
pub(super) struct Round {
    after: Option<TenantId>,
    warned: bool,
}

impl Round {
    /// Looks for tenants that have work, whoever put it in the queue, and says when there will be some.
    pub async fn look(&mut self, inner: &Inner, board: &std::sync::Mutex<Board>) -> Result<Option<Timestamp>> {
        let system = inner.store.system_read(Purpose::Tasks).await?;
        let next = system.rows(&queries::next_due()).await?;
        let next = next.first().map(|row| row.try_get_by_index::<Option<i64>>(0)).transpose();
        let next = next.map_err(from_database)?.flatten().map(Timestamp);
        if next.is_some_and(|next| next <= system.now()) {
            let found = self.tenants(&system).await?;
            super::pump::lock(board).heat(found);
        }
        system.close().await?;
        Ok(next)
    }

    async fn tenants(&mut self, system: &System) -> Result<Vec<TenantId>> {
        let first = TenantId::from_uuid(sea_orm::prelude::Uuid::nil());
        let start = self.after.take().unwrap_or(first);
        let mut found = tenants_after(system, start).await?;
        if found.len() as u64 == TENANTS {
            self.after = found.last().copied();
        } else if start != first {
            found.extend(tenants_after(system, first).await?);
        }
        Ok(found)
    }

    /// Leases as much as there is room for; says how much that was.
    pub async fn claim(&mut self, inner: &Inner, board: &std::sync::Mutex<Board>, places: usize) -> Result<usize> {
        let turns = super::pump::lock(board).turns(places);
        if turns.is_empty() {
            return Ok(0);
        }
        let system = inner.store.system(Purpose::Tasks).await?;
        let now = system.now();
        let until = now.plus(inner.config.lease());
        let mut served = Vec::with_capacity(turns.len());
        for (tenant, wanted) in turns {
            let legs = legs(inner, &super::pump::lock(board), tenant, wanted);
            let got = match legs.is_empty() {
                true => Vec::new(),
                false => {
                    let claim = queries::claim(inner.store.engine(), tenant, &legs, wanted, now, until);
                    let rows = system.rows(&claim).await?;
                    rows.iter().map(|row| read(inner, tenant, row)).collect::<Result<Vec<_>>>()?
                }
            };
            if got.is_empty() && !self.warned {
                self.warned = warn_of_unknown(inner, &system, tenant).await?;
            }
            served.push((tenant, wanted, got, legs));
        }
        system.commit().await?;
        let mut board = super::pump::lock(board);
        let mut count = 0;
        for (tenant, wanted, mut got, legs) in served {
            count += got.len();
            got.sort_by_key(|claimed| (-claimed.priority, claimed.run_at, claimed.id));
            board.served(tenant, wanted, got, &legs, inner.names.len());
        }
        Ok(count)
    }
}

async fn tenants_after(system: &System, after: TenantId) -> Result<Vec<TenantId>> {
    let rows = system.rows(&queries::ready_tenants(after, system.now(), TENANTS)).await?;
    rows.iter().map(|row| row.try_get_by_index(0).map_err(from_database)).collect()
}

fn legs(inner: &Inner, board: &Board, tenant: TenantId, wanted: usize) -> Vec<Leg> {
    let room = |job: &crate::Job| board.room_for(tenant, job.name, job.per_tenant).min(wanted);
    inner.jobs.values().map(|job| (job.name, room(job))).filter(|(_, room)| *room > 0).collect()
}

/// A binary that was rolled back leaves the tasks of the newer one where they are.
async fn warn_of_unknown(inner: &Inner, system: &System, tenant: TenantId) -> Result<bool> {
    let rows = system.rows(&queries::unknown_job(tenant, &inner.names, system.now())).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    let job: String = row.try_get_by_index(0).map_err(from_database)?;
    tracing::warn!(task.job = job, tenant.id = %tenant, "tasks wait whose job this version does not know");
    Ok(true)
}

fn read(inner: &Inner, tenant: TenantId, row: &QueryResult) -> Result<Claimed> {
    let read = || {
        let job: String = row.try_get("", "job")?;
        let job = inner.jobs.get_key_value(job.as_str()).map(|(name, _)| *name);
        Ok(Claimed {
            tenant,
            id: row.try_get("", "id")?,
            job: job.ok_or_else(|| sea_orm::DbErr::Custom("a job that was not asked for".to_owned()))?,
            payload: row.try_get("", "payload")?,
            priority: row.try_get("", "priority")?,
            run_at: row.try_get("", "run_at")?,
            fence: row.try_get("", "fence")?,
            attempt: row.try_get("", "attempt")?,
            cancelled: row.try_get("", "cancelled")?,
            correlation_id: row.try_get("", "correlation_id")?,
        })
    };
    read().map_err(from_database)
}
