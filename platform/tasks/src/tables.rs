//! The engine's own tables, step by step. Not for queries.

use store::{Migrations, Purpose, Schema, Step, Type};

/// The tables of tasks, schedules and sagas.
pub const MIGRATIONS: Migrations = Migrations {
    service: "tasks",
    steps: &[
        Step { name: "0001_tasks", apply: tasks_and_sagas },
        Step { name: "0002_sagas_of_tenants", apply: sagas_of_tenants },
    ],
};

/// Lets the step that begins a tenant keep its saga from being taken back meanwhile: the right to change a
/// row is the right to lock it, too.
fn sagas_of_tenants(schema: &mut Schema) {
    schema.open_to("saga", Purpose::Bootstrap, "SELECT, UPDATE (state)");
}

fn tasks_and_sagas(schema: &mut Schema) {
    schema.tenant_bookkeeping("task", |table| {
        table.column("job", Type::Text);
        table.column("payload", Type::Text);
        table.column("priority", Type::Integer);
        table.column("state", Type::Text);
        table.column("run_at", Type::Integer);
        // When somebody must look at it: a queued one's time, a running one's end of lease; empty when it is over.
        table.nullable("due_at", Type::Integer);
        // Counts the leases, and never goes back, unlike `attempt`: what a worker writes holds its own number against it.
        table.column("fence", Type::Integer);
        table.column("attempt", Type::Integer);
        table.column("cancelled", Type::Boolean);
        table.nullable("unique_key", Type::Text);
        table.nullable("progress_done", Type::Integer);
        table.nullable("progress_of", Type::Integer);
        table.nullable("progress_note", Type::Text);
        table.nullable("error_code", Type::Text);
        table.nullable("error", Type::Text);
        table.nullable("result", Type::Text);
        table.column("correlation_id", Type::Text);
        table.nullable("started_at", Type::Integer);
        table.nullable("finished_at", Type::Integer);
        table.check("task_state", "state IN ('queued', 'running', 'done', 'failed', 'cancelled')");
        // A task is over, or somebody will look at it.
        table.check("task_due", "(state IN ('queued', 'running')) = (due_at IS NOT NULL)");
        table.unique_where("task_unique_key", &["job", "unique_key"], "unique_key IS NOT NULL AND due_at IS NOT NULL");
        let order = ["tenant_id", "job", "priority DESC", "due_at", "id"];
        table.index_across("task_ready", &order, "due_at IS NOT NULL");
        table.index_across("task_next", &["due_at"], "due_at IS NOT NULL");
        table.index_across("task_dead", &["tenant_id", "id"], "state = 'failed'");
        table.index_across("task_finished", &["finished_at"], "finished_at IS NOT NULL");
    });
    schema.open_to("task", Purpose::Tasks, "SELECT, UPDATE");
    schema.open_to("task", Purpose::Housekeeping, "SELECT, DELETE");
    // A dead letter is an event of its tenant.
    schema.open_to("event_log", Purpose::Tasks, "INSERT");
    schema.system_table("task_schedule", &[(Purpose::Tasks, "SELECT, INSERT, UPDATE")], |table| {
        table.column("name", Type::Text);
        table.column("cron", Type::Text);
        table.column("next_at", Type::Integer);
        table.column("fence", Type::Integer);
        table.nullable("lease_until", Type::Integer);
        table.nullable("last_at", Type::Integer);
        table.rule("PRIMARY KEY (name)");
    });
    schema.tenant_bookkeeping("saga", |table| {
        table.column("name", Type::Text);
        table.column("version", Type::Integer);
        table.column("key", Type::Text);
        table.column("input", Type::Text);
        table.column("state", Type::Text);
        table.column("deadline", Type::Integer);
        // In a row, of the step that is being tried; a step that ends well starts anew.
        table.column("failures", Type::Integer);
        table.nullable("error_code", Type::Text);
        table.nullable("error", Type::Text);
        table.check("saga_state", "state IN ('running', 'compensating', 'completed', 'compensated', 'stuck')");
        table.references("id", "task");
        table.unique("saga_key", &["name", "key"]);
    });
    schema.open_to("saga", Purpose::Housekeeping, "SELECT, DELETE");
    schema.open_to("saga", Purpose::Tasks, "SELECT");
    schema.tenant_bookkeeping("saga_step", |table| {
        table.column("saga_id", Type::Uuid);
        table.column("step", Type::Text);
        table.column("direction", Type::Text);
        table.column("state", Type::Text);
        table.nullable("result", Type::Text);
        table.nullable("error_code", Type::Text);
        table.nullable("error", Type::Text);
        table.column("started_at", Type::Integer);
        table.nullable("finished_at", Type::Integer);
        table.check("saga_step_direction", "direction IN ('run', 'undo')");
        table.check("saga_step_state", "state IN ('intended', 'done', 'unknown', 'failed')");
        table.references("saga_id", "saga");
        table.unique("saga_step_once", &["saga_id", "step", "direction"]);
    });
    schema.open_to("saga_step", Purpose::Housekeeping, "SELECT, DELETE");
    schema.open_to("saga_step", Purpose::Tasks, "SELECT");
}
