//! `/api/tasks`: what a tenant sees of the work in the background, and stopping it.

use std::pin::Pin;

use kernel::{Answer, Error, PermissionSet, Result};
use serde_json::{Value, json};
use service::{Service, task_service};
use tasks::{Job, NewTask, Outcome, Run, Saga, SagaRun, Step, StepWork, TaskId, Work, start_saga};
use testkit::{TestApp, TestTenant};

type Working<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Counts to ten, or does what its payload says.
struct Count;

impl Work for Count {
    fn run<'a>(&'a self, run: &'a mut Run) -> Working<'a, Outcome> {
        Box::pin(async move {
            run.progress(3, Some(10), "counting").await?;
            match run.payload::<Value>()?["do"].as_str() {
                Some("fail") => {
                    Err(run.give_up(Error::conflict("probe.lost_count", "it lost count").context("hidden")))
                }
                _ => Ok(Outcome::Done(json!({ "counted": 10 }))),
            }
        })
    }
}

struct Refuses;

impl StepWork for Refuses {
    fn run<'a>(&'a self, _: &'a mut SagaRun) -> Working<'a, Value> {
        Box::pin(async { Err(Error::conflict("probe.refused", "it will not")) })
    }

    fn undo<'a>(&'a self, _: &'a mut SagaRun) -> Working<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

struct Fine;

impl StepWork for Fine {
    fn run<'a>(&'a self, _: &'a mut SagaRun) -> Working<'a, Value> {
        Box::pin(async { Ok(json!({ "token": "hunter2" })) })
    }

    fn undo<'a>(&'a self, _: &'a mut SagaRun) -> Working<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn saga() -> Saga {
    Saga { name: "probe.move", version: 1, steps: vec![Step::new("pack", Fine), Step::new("carry", Refuses)] }
}

async fn apps() -> Vec<TestApp> {
    let mut apps = Vec::new();
    for engine in testkit::engines() {
        let probe = Service::new("probe", "Counts").jobs([Job::new("probe.count", Count)]).sagas([saga()]);
        apps.push(TestApp::start(engine, vec![probe, task_service()], Default::default()).await);
    }
    apps
}

async fn enqueue(app: &TestApp, tenant: &TestTenant, payload: Value) -> TaskId {
    let mut ctx = store::system_context(tenant.id, PermissionSet::default());
    let mut writer = app.store().write(&mut ctx).await.expect("a writer");
    let task = tasks::enqueue(&mut writer, NewTask::new("probe.count", payload)).await.expect("it is queued");
    writer.commit(Answer::no_content()).await.expect("kept");
    task.id
}

async fn start(app: &TestApp, tenant: &TestTenant) -> TaskId {
    let mut ctx = store::system_context(tenant.id, PermissionSet::default());
    let mut writer = app.store().write(&mut ctx).await.expect("a writer");
    let id = start_saga(&mut writer, &saga(), "one", json!({ "password": "hunter2" })).await.expect("it is started");
    writer.commit(Answer::no_content()).await.expect("kept");
    id
}

async fn get(app: &TestApp, token: &str, path: &str) -> Value {
    app.get(path).token(token).send().await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_see_how_far_work_is_and_what_became_of_it_but_never_what_it_works_on() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        let good = enqueue(&app, &tenant, json!({ "password": "hunter2" })).await;
        let bad = enqueue(&app, &tenant, json!({ "do": "fail", "password": "hunter2" })).await;
        let waiting = get(&app, &tenant.staff_token, &format!("/api/tasks/{good}")).await;
        assert_eq!((&waiting["state"], &waiting["progress"]), (&json!("queued"), &Value::Null));
        assert_eq!((&waiting["runsAt"], &waiting["createdBy"]), (&waiting["createdAt"], &json!("system")));
        app.settle().await;
        let done = get(&app, &tenant.staff_token, &format!("/api/tasks/{good}")).await;
        assert_eq!(
            (&done["state"], &done["attempts"], &done["result"]),
            (&json!("done"), &json!(1), &json!({ "counted": 10 }))
        );
        let progress = json!({ "done": 3, "of": 10, "percent": 30, "note": "counting" });
        assert_eq!((&done["progress"], &done["error"], &done["runsAt"]), (&progress, &Value::Null, &Value::Null));
        let failed = get(&app, &tenant.staff_token, &format!("/api/tasks/{bad}")).await;
        let error = json!({ "code": "probe.lost_count", "message": "it lost count" });
        assert_eq!((&failed["state"], &failed["error"]), (&json!("failed"), &error));
        let all = get(&app, &tenant.staff_token, "/api/tasks").await;
        assert!(!all.to_string().contains("hunter2") && !failed.to_string().contains("hidden"), "{all}");

        app.relay().await;
        let events = get(&app, &tenant.admin_token, "/api/events?type=tasks.task.failed").await;
        assert_eq!(events["items"][0]["subject"], json!(bad));
        let of_staff = get(&app, &tenant.staff_token, "/api/events?type=tasks.task.failed").await;
        assert_eq!(of_staff["items"], json!([]));
        app.get("/api/tasks").token(&tenant.viewer_token).send().await.expect(403);
        let other = app.tenant("two").await;
        app.get(&format!("/api/tasks/{good}")).token(&other.admin_token).send().await.expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_page_by_page_and_by_state_and_job() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        let mut ids = Vec::new();
        for number in 0..5 {
            ids.push(enqueue(&app, &tenant, json!({ "do": if number == 2 { "fail" } else { "count" } })).await);
        }
        ids.reverse();
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&app, &tenant.staff_token, &format!("/api/tasks?limit=2{cursor}")).await;
            seen.extend(page["items"].as_array().expect("items").iter().map(|task| task["id"].clone()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, ids.iter().map(|id| json!(id)).collect::<Vec<_>>());
        app.settle().await;
        let failed = get(&app, &tenant.staff_token, "/api/tasks?state=failed&job=probe.count").await;
        assert_eq!((failed["items"].as_array().map(Vec::len), &failed["items"][0]["id"]), (Some(1), &json!(ids[2])));
        assert_eq!(get(&app, &tenant.staff_token, "/api/tasks?job=other").await["items"], json!([]));
        for wrong in ["state=lost", "limit=0", "limit=201", "cursor=x", "tenant=x"] {
            app.get(&format!("/api/tasks?{wrong}")).token(&tenant.staff_token).send().await.expect(400);
        }
        app.get("/api/tasks/itm_1").token(&tenant.staff_token).send().await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_stops_what_waits_and_not_what_is_over() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        let id = enqueue(&app, &tenant, json!({})).await;
        let cancel = |token: &str| app.post(&format!("/api/tasks/{id}/cancel")).token(token).send();
        cancel(&tenant.staff_token).await.expect(403);
        cancel(&app.tenant("two").await.admin_token).await.expect(404);
        for _ in 0..2 {
            let cancelled = cancel(&tenant.admin_token).await.expect(200).json();
            assert_eq!((&cancelled["state"], &cancelled["stopping"]), (&json!("cancelled"), &json!(false)));
        }
        app.relay().await;
        let events = get(&app, &tenant.admin_token, "/api/events?type=tasks.task.cancelled").await;
        let items = events["items"].as_array().expect("items");
        assert_eq!((items.len(), &items[0]["actor"]), (1, &json!(tenant.admin)));
        let id = enqueue(&app, &tenant, json!({})).await;
        app.settle().await;
        let over = app.post(&format!("/api/tasks/{id}/cancel")).token(&tenant.admin_token).send().await.expect(409);
        assert_eq!(over.code(), "tasks.already_over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_shows_its_steps() {
    for app in apps().await {
        let tenant = app.tenant("one").await;
        let id = start(&app, &tenant).await;
        app.settle().await;
        let task = get(&app, &tenant.staff_token, &format!("/api/tasks/{id}")).await;
        assert_eq!((&task["state"], &task["error"]["code"]), (&json!("failed"), &json!("probe.refused")));
        assert_eq!((&task["saga"]["name"], &task["saga"]["state"]), (&json!("probe.move"), &json!("compensated")));
        let steps: Vec<_> = task["saga"]["steps"].as_array().expect("steps").iter().collect();
        let told: Vec<_> = steps.iter().map(|step| (&step["step"], &step["direction"], &step["state"])).collect();
        let (pack, carry, run, undo, done) =
            (json!("pack"), json!("carry"), json!("run"), json!("undo"), json!("done"));
        assert_eq!(told, [(&pack, &run, &done), (&carry, &run, &json!("failed")), (&pack, &undo, &done)]);
        assert!(!task.to_string().contains("hunter2"), "{task}");
    }
}
