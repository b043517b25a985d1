//! `portico tasks`: what whoever runs the installation sees of the work in the background, and does
//! about it. With a server running it asks the server; otherwise it works on the data itself. Not for
//! what any of it means: see the tasks crate.

use std::fmt::Write as _;

use clap::Subcommand;
use kernel::{Error, Result, TenantId};
use serde::Serialize;
use serde_json::{Value, json};
use service::TaskState;
use tasks::TaskId;

use crate::admin::{Place, ask, look};
use crate::config::Config;
use crate::operator_tasks::{self, TASKS, Wanted};

/// What can be asked about tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum Tasks {
    /// Show how much work there is, and the newest tasks
    List {
        /// Only those in this state: queued, running, done, failed or cancelled
        #[arg(long, value_parser = state)]
        state: Option<TaskState>,
        /// Only this kind of work, such as webhooks.deliver
        #[arg(long)]
        job: Option<String>,
        /// Only those of this tenant
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        /// How many to show, up to 200
        #[arg(long, default_value_t = 20)]
        limit: u64,
    },
    /// Show one task: how far it is, what went wrong, its steps
    Show {
        /// The task, as `portico tasks list` names it
        id: TaskId,
    },
    /// Try a failed task again
    Retry {
        /// The task, as `portico tasks list --state failed` names it
        id: TaskId,
    },
    /// Stop a task
    Cancel {
        /// The task, as `portico tasks list` names it
        id: TaskId,
    },
}

fn state(text: &str) -> Result<TaskState, String> {
    let unknown = |_| "write queued, running, done, failed or cancelled".to_owned();
    serde_json::from_value(Value::String(text.to_lowercase())).map_err(unknown)
}

/// What is done with one task.
#[derive(Clone, Copy)]
enum Act {
    Show,
    Retry,
    Cancel,
}

/// Does what is asked and returns what a person is shown.
pub(crate) async fn run(config: &Config, command: Tasks) -> Result<String> {
    match command {
        Tasks::List { state, job, tenant, limit } => {
            let wanted = Wanted { state, job, tenant, limit: Some(limit), cursor: None };
            Ok(table(&list(config, wanted).await?))
        }
        Tasks::Show { id } => Ok(whole(&one(config, id, Act::Show).await?)),
        Tasks::Retry { id } => {
            let task = one(config, id, Act::Retry).await?;
            Ok(format!("{id} ({}) is tried again at once, or when a server starts.\n", text(&task["job"])))
        }
        Tasks::Cancel { id } => {
            let task = one(config, id, Act::Cancel).await?;
            let how = if task["stopping"] == true { "stops when it next says how far it is" } else { "is cancelled" };
            Ok(format!("{id} ({}) {how}.\n", text(&task["job"])))
        }
    }
}

fn plain(answer: &impl Serialize) -> Result<Value> {
    serde_json::to_value(answer).map_err(|error| Error::internal("an answer").source_error(error))
}

async fn list(config: &Config, wanted: Wanted) -> Result<Value> {
    match Place::find(config).await? {
        Place::Server(address) => {
            let query = serde_urlencoded::to_string(&wanted);
            let query = query.map_err(|error| Error::internal("a question").source_error(error))?;
            look(config, address, &format!("{TASKS}?{query}")).await
        }
        Place::Data(store, _, _lock) => {
            let page = operator_tasks::page(&store, wanted).await;
            store.close().await;
            plain(&page?)
        }
    }
}

async fn one(config: &Config, id: TaskId, act: Act) -> Result<Value> {
    match Place::find(config).await? {
        Place::Server(address) => match act {
            Act::Show => look(config, address, &format!("{TASKS}/{id}")).await,
            Act::Retry => ask(config, address, &format!("{TASKS}/{id}/retry"), &json!({})).await,
            Act::Cancel => ask(config, address, &format!("{TASKS}/{id}/cancel"), &json!({})).await,
        },
        Place::Data(store, _, _lock) => {
            let done = match act {
                Act::Show => operator_tasks::one(&store, id).await,
                Act::Retry => operator_tasks::retry_one(&store, id).await,
                Act::Cancel => operator_tasks::cancel_one(&store, id).await,
            };
            store.close().await;
            plain(&done?)
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Draws how far a task is.
fn bar(progress: &Value) -> String {
    const WIDTH: usize = 20;
    let note = match text(&progress["note"]) {
        note if note.is_empty() => String::new(),
        note => format!(" {note}"),
    };
    let Some(percent) = progress["percent"].as_u64() else {
        return if progress.is_null() { String::new() } else { format!("{}{note}", text(&progress["done"])) };
    };
    let full = usize::try_from(percent.min(100)).unwrap_or(0) * WIDTH / 100;
    let (done, of) = (text(&progress["done"]), text(&progress["of"]));
    format!("[{}{}] {percent:>3} % ({done} of {of}){note}", "#".repeat(full), "-".repeat(WIDTH - full))
}

fn failure(error: &Value) -> String {
    if error.is_null() { String::new() } else { format!("{}: {}", text(&error["code"]), text(&error["message"])) }
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// Aligns rows under their heads.
fn aligned(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut lines = String::new();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(lines, "{}", cells.join("  ").trim_end());
    }
    lines
}

fn table(page: &Value) -> String {
    let counts = items(page, "counts");
    if counts.is_empty() {
        return "There are no tasks.\n".to_owned();
    }
    let count = |count: &Value| vec![text(&count["job"]), text(&count["state"]), text(&count["count"])];
    let mut all = aligned(&["JOB", "STATE", "COUNT"], &counts.iter().map(count).collect::<Vec<_>>());
    let tasks = items(page, "items");
    if tasks.is_empty() {
        return format!("{all}\nNone of them is one that was asked for.\n");
    }
    let row = |task: &Value| {
        let state = if task["stopping"] == true { "stopping".to_owned() } else { text(&task["state"]) };
        let note = match state.as_str() {
            "running" | "stopping" => bar(&task["progress"]),
            "queued" => format!("at {} {}", text(&task["runsAt"]), failure(&task["error"])).trim_end().to_owned(),
            "failed" => failure(&task["error"]),
            _ => format!("at {}", text(&task["finishedAt"])),
        };
        vec![text(&task["id"]), text(&task["job"]), state, text(&task["attempts"]), text(&task["tenantId"]), note]
    };
    let rows: Vec<_> = tasks.iter().map(row).collect();
    let _ = write!(all, "\n{}", aligned(&["TASK", "JOB", "STATE", "ATTEMPTS", "TENANT", ""], &rows));
    if !page["next"].is_null() {
        let _ = writeln!(
            all,
            "There are more: narrow them with --state, --job and --tenant, or ask for more with --limit."
        );
    }
    all
}

fn whole(task: &Value) -> String {
    let id = text(&task["id"]);
    let stopping = if task["stopping"] == true { ", asked to stop" } else { "" };
    let mut all = format!("{id}\n");
    for (name, value) in [
        ("job", text(&task["job"])),
        ("tenant", text(&task["tenantId"])),
        ("state", format!("{}{stopping}", text(&task["state"]))),
        ("progress", bar(&task["progress"])),
        ("attempts", text(&task["attempts"])),
        ("asked for by", text(&task["createdBy"])),
        ("asked for at", text(&task["createdAt"])),
        ("runs at", text(&task["runsAt"])),
        ("begun at", text(&task["startedAt"])),
        ("over at", text(&task["finishedAt"])),
        ("error", failure(&task["error"])),
        ("result", text(&task["result"])),
    ] {
        if !value.is_empty() {
            let _ = writeln!(all, "  {name:<12}  {value}");
        }
    }
    let saga = &task["saga"];
    if !saga.is_null() {
        let _ = writeln!(
            all,
            "\n{}: {}, to be through by {}\n",
            text(&saga["name"]),
            text(&saga["state"]),
            text(&saga["deadline"])
        );
        let step = |step: &Value| {
            let what = if step["direction"] == "undo" { "take back" } else { "take" };
            vec![
                text(&step["step"]),
                what.to_owned(),
                text(&step["state"]),
                text(&step["startedAt"]),
                failure(&step["error"]),
            ]
        };
        let rows: Vec<_> = items(saga, "steps").iter().map(step).collect();
        all.push_str(&aligned(&["STEP", "", "STATE", "BEGUN AT", ""], &rows));
    }
    if task["state"] == "failed" && saga.is_null() {
        let _ = writeln!(all, "\n  portico tasks retry {id}");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_counts_and_draws_how_far_running_tasks_are() {
        let page = json!({
            "counts": [{ "job": "a.import", "state": "running", "count": 1 }, { "job": "b", "state": "failed", "count": 2 }],
            "items": [
                { "id": "tsk_1", "job": "a.import", "state": "running", "attempts": 1, "tenantId": "ten_1",
                  "progress": { "done": 45, "of": 100, "percent": 45, "note": "rows\u{1b}[2J" } },
                { "id": "tsk_2", "job": "b", "state": "failed", "attempts": 5, "tenantId": "ten_2",
                  "error": { "code": "x.y", "message": "no good" } },
            ],
            "next": null,
        });
        let text = table(&page);
        assert!(text.starts_with("JOB       STATE    COUNT\na.import  running  1\n"), "{text}");
        assert!(text.contains("[#########-----------]  45 % (45 of 100) rows [2J"), "{text}");
        assert!(text.contains("x.y: no good") && !text.contains('\u{1b}') && !text.contains("There are more"));
        assert_eq!(table(&json!({ "counts": [], "items": [] })), "There are no tasks.\n");
    }

    #[test]
    fn a_task_shows_its_steps_or_how_to_try_it_again() {
        let failed = json!({ "id": "tsk_2", "job": "b", "state": "failed", "attempts": 5, "error": { "code": "x.y", "message": "no" } });
        assert!(whole(&failed).contains("portico tasks retry tsk_2"));
        let mut saga = failed;
        saga["saga"] = json!({ "name": "a.saga", "state": "compensated", "deadline": "2026", "steps": [
            { "step": "one", "direction": "run", "state": "done", "startedAt": "2026" },
            { "step": "one", "direction": "undo", "state": "done", "startedAt": "2026" },
        ]});
        let text = whole(&saga);
        assert!(text.contains("one   take       done") && text.contains("one   take back  done"), "{text}");
        assert!(!text.contains("portico tasks retry"));
    }

    #[test]
    fn states_are_read_as_they_are_shown() {
        assert_eq!(state("Failed"), Ok(TaskState::Failed));
        assert!(state("lost").is_err());
    }
}
