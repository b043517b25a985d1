//! Removes what is over and old, so that the queue stays small. Not for dead letters, which wait for
//! somebody to look at them.

use kernel::{Result, Timestamp};
use store::{Purpose, Store};

use crate::queries::Sql;

/// How many go in one transaction.
const TOGETHER: i64 = 1_000;

/// Removes the tasks that ended well or were cancelled before a moment, with their sagas; says how many.
pub async fn remove_finished(store: &Store, before: Timestamp) -> Result<u64> {
    // A saga that was taken back is a failed task that nobody can try again.
    let old = "SELECT tenant_id, id FROM task WHERE finished_at < ? AND (state <> 'failed' OR job = 'tasks.saga') \
               ORDER BY finished_at, id LIMIT ?";
    // In one order, so that each of the three statements below means the same tasks.
    let mut removed = 0;
    loop {
        let system = store.system(Purpose::Housekeeping).await?;
        for (table, id) in [("saga_step", "saga_id"), ("saga", "id")] {
            let delete = format!("DELETE FROM {table} WHERE (tenant_id, {id}) IN ({old})");
            system.execute(&Sql::new(delete, [before.into(), TOGETHER.into()])).await?;
        }
        let delete = format!("DELETE FROM task WHERE (tenant_id, id) IN ({old})");
        let count = system.execute(&Sql::new(delete, [before.into(), TOGETHER.into()])).await?;
        system.commit().await?;
        removed += count;
        if count < TOGETHER as u64 {
            return Ok(removed);
        }
    }
}
