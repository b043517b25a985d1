//! The statements that lease tasks and find who has work, in SQL that both engines read alike but
//! for the lock. Not for what one tenant asks: that goes through Reader and Writer.

use kernel::{TenantId, Timestamp};
use sea_orm::{DbBackend, Statement, StatementBuilder, Value};
use store::Engine;

/// A statement written out, with `?` where a value goes.
pub(crate) struct Sql {
    text: String,
    values: Vec<Value>,
}

impl Sql {
    pub(crate) fn new(text: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self { text: text.into(), values: values.into_iter().collect() }
    }
}

impl StatementBuilder for Sql {
    fn build(&self, backend: &DbBackend) -> Statement {
        let text = if *backend == DbBackend::Postgres { numbered(&self.text) } else { self.text.clone() };
        Statement::from_sql_and_values(*backend, text, self.values.iter().cloned())
    }
}

/// Writes `$1`, `$2`, … for each `?`.
fn numbered(text: &str) -> String {
    let mut numbered = String::with_capacity(text.len() + 64);
    for (number, part) in text.split('?').enumerate() {
        if number > 0 {
            numbered.push_str(&format!("${number}"));
        }
        numbered.push_str(part);
    }
    numbered
}

/// Tenants that have a task to be looked at, after one of them in the order of their ids. Steps from
/// tenant to tenant along the index, so that a hundred thousand tasks of one cost no more than one.
pub(crate) fn ready_tenants(after: TenantId, now: Timestamp, limit: u64) -> Sql {
    let text = "WITH RECURSIVE tenants (tenant_id) AS (\
        SELECT (SELECT tenant_id FROM task WHERE due_at IS NOT NULL AND tenant_id > ? ORDER BY tenant_id LIMIT 1) \
        UNION ALL SELECT (SELECT later.tenant_id FROM task AS later WHERE later.due_at IS NOT NULL \
        AND later.tenant_id > tenants.tenant_id ORDER BY later.tenant_id LIMIT 1) \
        FROM tenants WHERE tenants.tenant_id IS NOT NULL) \
        SELECT tenant_id FROM tenants WHERE tenant_id IS NOT NULL AND EXISTS (SELECT 1 FROM task AS due \
        WHERE due.tenant_id = tenants.tenant_id AND due.due_at <= ?) LIMIT ?";
    Sql::new(text, [after.into(), now.into(), (limit as i64).into()])
}

/// When the next task must be looked at.
pub(crate) fn next_due() -> Sql {
    Sql::new("SELECT MIN(due_at) FROM task WHERE due_at IS NOT NULL", [])
}

/// A job that this tenant has work for and that this process does not know.
pub(crate) fn unknown_job(tenant: TenantId, known: &[&'static str], now: Timestamp) -> Sql {
    let others = match known.len() {
        0 => String::new(),
        many => format!(" AND job NOT IN ({})", vec!["?"; many].join(", ")),
    };
    let text = format!("SELECT job FROM task WHERE tenant_id = ? AND due_at <= ?{others} LIMIT 1");
    let jobs = known.iter().map(|job| Value::from(*job));
    Sql::new(text, [tenant.into(), now.into()].into_iter().chain(jobs))
}

/// How much of which job a tenant may get.
pub(crate) type Leg = (&'static str, usize);

/// Leases up to `most` of a tenant's tasks until `until`, the most pressing first.
pub(crate) fn claim(
    engine: Engine,
    tenant: TenantId,
    legs: &[Leg],
    most: usize,
    now: Timestamp,
    until: Timestamp,
) -> Sql {
    let lock = if engine == Engine::Postgres { " FOR UPDATE SKIP LOCKED" } else { "" };
    let mut values: Vec<Value> = Vec::with_capacity(legs.len() * 4 + 4);
    let mut selects = Vec::with_capacity(legs.len());
    for (number, (job, room)) in legs.iter().enumerate() {
        selects.push(format!(
            "SELECT * FROM (SELECT id AS picked_id, priority, due_at FROM task WHERE tenant_id = ? AND job = ? AND \
             due_at <= ? ORDER BY priority DESC, due_at, id LIMIT ?{lock}) AS leg_{number}"
        ));
        values.extend([tenant.into(), (*job).into(), now.into(), (*room as i64).into()]);
    }
    values.extend([(most as i64).into(), until.into(), now.into(), tenant.into()]);
    // Materialized: PostgreSQL must not run the picking once per row of a join, and lock more each time.
    let text = format!(
        "WITH picked AS MATERIALIZED (SELECT picked_id FROM ({}) AS ready \
         ORDER BY priority DESC, due_at, picked_id LIMIT ?) \
         UPDATE task SET state = 'running', fence = fence + 1, attempt = attempt + 1, due_at = ?, started_at = ? \
         FROM picked WHERE task.tenant_id = ? AND task.id = picked.picked_id \
         RETURNING id, job, payload, priority, run_at, fence, attempt, cancelled, correlation_id",
        selects.join(" UNION ALL ")
    );
    Sql::new(text, values)
}

/// Which leases a statement is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub tenant: TenantId,
    pub id: crate::TaskId,
    pub fence: i64,
}

/// The condition that a row is one of these leases, and still held.
pub(crate) fn held(leases: &[Lease]) -> (String, Vec<Value>) {
    let each = vec!["(tenant_id = ? AND id = ? AND fence = ?)"; leases.len()].join(" OR ");
    let values = leases.iter().flat_map(|lease| [lease.tenant.into(), lease.id.into(), lease.fence.into()]);
    (format!("state = 'running' AND ({each})"), values.collect())
}

/// Repeats the last one up to a power of two: a handful of texts, each of which the database has planned
/// before.
fn padded<T: Clone>(items: &[T]) -> Vec<T> {
    let mut padded = items.to_vec();
    if let Some(last) = items.last() {
        padded.resize(items.len().next_power_of_two(), last.clone());
    }
    padded
}

/// Keeps leases for a while longer.
pub(crate) fn renew(leases: &[Lease], until: Timestamp) -> Sql {
    let (condition, values) = held(&padded(leases));
    let text = format!("UPDATE task SET due_at = ? WHERE {condition}");
    Sql::new(text, std::iter::once(until.into()).chain(values))
}

/// Ends tasks well, each with its result.
pub(crate) fn done(ended: &[(Lease, String)], now: Timestamp) -> Sql {
    let ended = padded(ended);
    let leases: Vec<Lease> = ended.iter().map(|(lease, _)| *lease).collect();
    let (condition, held) = held(&leases);
    let cases = vec!["WHEN ? THEN ?"; ended.len()].join(" ");
    let text = format!(
        "UPDATE task SET state = 'done', due_at = NULL, error = NULL, error_code = NULL, finished_at = ?, \
         result = CASE id {cases} END WHERE {condition}"
    );
    let results = ended.iter().flat_map(|(lease, result)| [lease.id.into(), result.as_str().into()]);
    Sql::new(text, std::iter::once(now.into()).chain(results).chain(held))
}

/// Changes one leased task; `set` has a `?` for each of `values`.
pub(crate) fn change(lease: Lease, set: &str, values: Vec<Value>) -> Sql {
    let (condition, held) = held(&[lease]);
    Sql::new(format!("UPDATE task SET {set} WHERE {condition}"), values.into_iter().chain(held))
}

/// A row when the owner of a leased task wants it to stop.
pub(crate) fn asked_to_stop(lease: Lease) -> Sql {
    let (condition, values) = held(&[lease]);
    Sql::new(format!("SELECT id FROM task WHERE cancelled AND {condition}"), values)
}
