//! Sagas: through or taken back, from every point at which a process may end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kernel::{Answer, Error, Result};
use serde_json::{Value, json};
use store::Purpose;
use store::fault::{self, FaultAction};
use tasks::{Saga, SagaHistory, SagaRun, State, Step, StepWork, TaskId, start_saga};
use tokio::sync::Notify;

use crate::ground::{Notes, World, ctx, worlds};

const STEPS: [&str; 3] = ["reserve", "charge", "ship"];

/// The world outside: what was made there, by key. Making it again under one key is the same once.
#[derive(Clone, Default)]
struct Outside {
    things: Arc<Mutex<BTreeMap<String, String>>>,
    calls: Notes,
    /// What a step answers instead, and how often.
    faults: Arc<Mutex<BTreeMap<String, (usize, Fault)>>>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It refuses, and nothing has happened.
    Refuses,
    /// It is away, and nothing has happened.
    Away,
    /// It has happened, and the answer is lost.
    AnswerLost,
    Panics,
}

impl Outside {
    fn breaks(&self, call: &str, times: usize, fault: Fault) {
        self.faults.lock().expect("no panic").insert(call.to_owned(), (times, fault));
    }

    fn fault(&self, call: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().expect("no panic");
        let (left, fault) = faults.get_mut(call)?;
        *left = left.checked_sub(1)?;
        Some(*fault)
    }

    fn things(&self) -> Vec<String> {
        self.things.lock().expect("no panic").values().cloned().collect()
    }

    fn saga(&self, name: &'static str) -> Saga {
        let step = |name| Step::new(name, Make { name, outside: self.clone() });
        Saga { name, version: 1, steps: STEPS.map(step).into() }
    }
}

struct Make {
    name: &'static str,
    outside: Outside,
}

impl StepWork for Make {
    fn run<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        async move {
            let call = format!("run {}", self.name);
            self.outside.calls.add(&call);
            assert!(on_its_way(run).await?);
            if let Some(before) = STEPS.iter().take_while(|step| **step != self.name).last() {
                assert_eq!(run.result_of(before), Some(&json!({ "made": before })), "results are handed on");
            }
            assert_eq!(run.input()["order"], 7);
            let fault = self.outside.fault(&call);
            match fault {
                Some(Fault::Refuses) => return Err(Error::conflict("test.refused", "it will not")),
                Some(Fault::Away) => return Err(Error::unavailable("test.away", "it is away")),
                Some(Fault::Panics) => panic!("{call}"),
                Some(Fault::AnswerLost) | None => {}
            }
            self.outside.things.lock().expect("no panic").insert(run.key(), self.name.to_owned());
            match fault {
                Some(_) => Err(Error::internal("nobody knows")),
                None => Ok(json!({ "made": self.name })),
            }
        }
        .boxed()
    }

    fn undo<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<()>> {
        async move {
            let call = format!("undo {}", self.name);
            self.outside.calls.add(&call);
            assert!(!on_its_way(run).await?, "a worker that was overtaken would see it");
            if self.outside.fault(&call).is_some() {
                return Err(Error::unavailable("test.away", "it is away"));
            }
            self.outside.things.lock().expect("no panic").remove(&run.key());
            Ok(())
        }
        .boxed()
    }
}

async fn on_its_way(run: &SagaRun) -> Result<bool> {
    let system = run.store().system(Purpose::Bootstrap).await?;
    let there = run.is_on_its_way(&system).await?;
    system.close().await.map(|()| there)
}

async fn start(world: &World, saga: &Saga, key: &str) -> TaskId {
    let mut ctx = ctx(world.tenant);
    let mut writer = world.store.write(&mut ctx).await.expect("done");
    let id = start_saga(&mut writer, saga, key, json!({ "order": 7, "password": "hunter2" })).await.expect("done");
    writer.commit(Answer::no_content()).await.expect("done");
    id
}

async fn history(world: &World, id: TaskId) -> SagaHistory {
    tasks::find_any(&world.store, id).await.expect("done").1.expect("a saga")
}

/// Runs until nothing waits for later either.
async fn run_to_the_end(world: &World, saga: &Saga, id: TaskId) {
    for _ in 0..30 {
        world.sagas(vec![saga.clone()]).run_until_idle().await.expect("done");
        if !matches!(world.state(id).await, State::Queued | State::Running) {
            return;
        }
        world.shift(Duration::from_secs(120));
    }
    panic!("it does not end: {:?}", history(world, id).await);
}

#[tokio::test]
async fn a_saga_takes_its_steps_in_order_and_is_one_per_key() {
    for world in worlds().await {
        let outside = Outside::default();
        let saga = outside.saga("test.order");
        let id = start(&world, &saga, "order-7").await;
        assert_eq!(start(&world, &saga, "order-7").await, id);
        run_to_the_end(&world, &saga, id).await;
        assert_eq!(start(&world, &saga, "order-7").await, id, "afterwards too");
        assert_eq!(outside.calls.all(), ["run reserve", "run charge", "run ship"]);
        let task = world.task(id).await;
        assert_eq!((task.state.as_str(), task.result.as_deref()), ("done", Some(r#"{"made":"ship"}"#)));
        let history = history(&world, id).await;
        assert_eq!(history.state, "completed");
        let steps: Vec<_> = history.steps.iter().map(|step| (step.step.as_str(), step.state.as_str())).collect();
        assert_eq!(steps, [("reserve", "done"), ("charge", "done"), ("ship", "done")]);
        assert_ne!(start(&world, &saga, "order-8").await, id);
    }
}

#[tokio::test]
async fn a_step_that_fails_for_good_leaves_nothing_behind() {
    for world in worlds().await {
        for (place, step) in STEPS.into_iter().enumerate() {
            for (fault, times) in
                [(Fault::Refuses, 1), (Fault::AnswerLost, 1), (Fault::Panics, 1), (Fault::Away, usize::MAX)]
            {
                let outside = Outside::default();
                outside.breaks(&format!("run {step}"), times, fault);
                let saga = outside.saga("test.order");
                let id = start(&world, &saga, &format!("{step} {fault:?}")).await;
                run_to_the_end(&world, &saga, id).await;
                assert_eq!(outside.things(), Vec::<String>::new(), "{step} {fault:?}");
                let history = history(&world, id).await;
                assert_eq!((history.state.as_str(), world.state(id).await), ("compensated", State::Failed));
                let undone: Vec<_> = outside.calls.all().into_iter().filter(|call| call.starts_with("undo")).collect();
                // A step that refused has had no effect; after anything else nobody knows, so it is taken back.
                let taken = if matches!(fault, Fault::Refuses) { place } else { place + 1 };
                let expected: Vec<_> = STEPS[..taken].iter().rev().map(|step| format!("undo {step}")).collect();
                assert_eq!(undone, expected, "{step} {fault:?}");
            }
        }
        assert_eq!(world.events("tasks.task.failed").await.len(), 12);
    }
}

#[tokio::test]
async fn a_step_that_is_away_for_a_while_is_tried_again() {
    for world in worlds().await {
        let outside = Outside::default();
        outside.breaks("run charge", 3, Fault::Away);
        let saga = outside.saga("test.order");
        let id = start(&world, &saga, "one").await;
        run_to_the_end(&world, &saga, id).await;
        assert_eq!(world.state(id).await, State::Done);
        let calls = outside.calls.all();
        assert_eq!(calls, ["run reserve", "run charge", "run charge", "run charge", "run charge", "run ship"]);
    }
}

#[tokio::test]
async fn an_end_of_the_process_at_any_point_ends_completed_or_compensated() {
    let points = ["saga.after_intent", "saga.after_call", "saga.after_result", "saga.after_undo"];
    for world in worlds().await {
        let mut fired = 0;
        for point in points {
            for after in 0..5u64 {
                for fails in [false, true] {
                    let outside = Outside::default();
                    if fails {
                        outside.breaks("run ship", 1, Fault::Refuses);
                    }
                    let saga = outside.saga("test.crash");
                    let id = start(&world, &saga, &format!("{point} {after} {fails}")).await;
                    let armed = format!("{point}@test.crash");
                    fault::arm(armed.as_str(), after, FaultAction::Delay(Duration::from_secs(3_600)));
                    // The executor stands at the point, and its process ends there.
                    let engine = world.sagas(vec![saga.clone()]);
                    let working = tokio::spawn(async move { engine.run_until_idle().await });
                    while fault::is_armed(&armed) && !working.is_finished() {
                        tokio::task::yield_now().await;
                    }
                    fired += usize::from(!fault::is_armed(&armed));
                    working.abort();
                    let _ = working.await;
                    fault::disarm();
                    world.let_leases_run_out();
                    run_to_the_end(&world, &saga, id).await;
                    let state = history(&world, id).await.state;
                    let things = outside.things();
                    match world.state(id).await {
                        State::Done => assert_eq!((state.as_str(), things.len()), ("completed", 3), "{point} {after}"),
                        State::Failed => assert_eq!((state.as_str(), things.len()), ("compensated", 0), "{point} {after}"),
                        other => panic!("{other:?} at {point} {after}"),
                    }
                }
            }
        }
        assert!(fired >= 20, "{fired} of the faults fired");
    }
}

#[tokio::test]
async fn an_executor_whose_lease_was_taken_writes_nothing_more() {
    for world in worlds().await {
        let outside = Outside::default();
        let saga = outside.saga("test.race");
        let id = start(&world, &saga, "one").await;
        fault::arm("saga.after_call@test.race", 0, FaultAction::Delay(Duration::from_millis(300)));
        let (slow, begun) = (world.sagas(vec![saga.clone()]), Arc::new(Notify::new()));
        let paused = {
            let begun = begun.clone();
            tokio::spawn(async move {
                begun.notify_one();
                slow.run_until_idle().await
            })
        };
        begun.notified().await;
        while fault::is_armed("saga.after_call@test.race") {
            tokio::task::yield_now().await;
        }
        world.let_leases_run_out();
        run_to_the_end(&world, &saga, id).await;
        paused.await.unwrap().unwrap();
        assert_eq!(world.state(id).await, State::Done);
        let steps = history(&world, id).await.steps;
        assert_eq!(steps.iter().map(|step| step.step.as_str()).collect::<Vec<_>>(), STEPS, "each recorded once");
        assert_eq!(outside.things().len(), 3);
        let calls = outside.calls.all();
        assert_eq!(calls, ["run reserve", "run reserve", "run charge", "run ship"], "the paused one went no further");
    }
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_stuck_calls_for_help_and_still_ends() {
    for world in worlds().await {
        let outside = Outside::default();
        outside.breaks("run ship", 1, Fault::Refuses);
        outside.breaks("undo charge", 12, Fault::Away);
        let saga = outside.saga("test.order");
        let id = start(&world, &saga, "one").await;
        for failures in 1..=12 {
            world.sagas(vec![saga.clone()]).run_until_idle().await.unwrap();
            let state = history(&world, id).await.state;
            assert_eq!(state, if failures < 10 { "compensating" } else { "stuck" }, "after {failures}");
            assert_eq!(world.events("system.alert.raised").await.len(), usize::from(failures >= 10));
            world.shift(Duration::from_secs(2 * 3_600));
        }
        run_to_the_end(&world, &saga, id).await;
        assert_eq!(history(&world, id).await.state, "compensated");
        assert_eq!(outside.things(), Vec::<String>::new());
        let alert = &world.events("system.alert.raised").await[0];
        assert_eq!((&alert["saga"], &alert["step"]), (&json!("test.order"), &json!("charge")));
        assert!(!alert.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn a_saga_that_takes_too_long_or_is_cancelled_is_taken_back() {
    for world in worlds().await {
        let outside = Outside::default();
        outside.breaks("run ship", 1, Fault::Away);
        let saga = outside.saga("test.order");
        let late = start(&world, &saga, "late").await;
        world.sagas(vec![saga.clone()]).run_until_idle().await.unwrap();
        assert_eq!(world.state(late).await, State::Queued);
        world.shift(Saga::DEADLINE);
        run_to_the_end(&world, &saga, late).await;
        assert_eq!(world.task(late).await.error_code.as_deref(), Some("tasks.saga_deadline"));
        assert_eq!(outside.things(), Vec::<String>::new());

        // The step that was begun is called once more, which tells what there is to take back.
        for (step, times, ends, made) in [
            ("ship", 2, State::Cancelled, 0),
            ("charge", 2, State::Cancelled, 0),
            ("charge", 1, State::Cancelled, 0),
            ("ship", 1, State::Done, 3),
        ] {
            let outside = Outside::default();
            let (call, saga) = (format!("run {step}"), outside.saga("test.order"));
            outside.breaks(&call, times, Fault::Away);
            let id = start(&world, &saga, &format!("{step} {times}")).await;
            world.sagas(vec![saga.clone()]).run_until_idle().await.unwrap();
            assert_eq!(world.state(id).await, State::Queued);
            cancel(&world, id).await;
            world.sagas(vec![saga]).run_until_idle().await.unwrap();
            assert_eq!((world.state(id).await, outside.things().len()), (ends, made), "{step} {times}");
            assert_eq!(outside.calls.all().iter().filter(|made| **made == call).count(), 2, "{step} {times}");
            assert!(step == "ship" || !outside.calls.all().contains(&"run ship".to_owned()), "no step is begun");
        }
    }
}

async fn cancel(world: &World, id: TaskId) {
    let mut ctx = ctx(world.tenant);
    let mut writer = world.store.write(&mut ctx).await.expect("done");
    tasks::cancel(&mut writer, id).await.expect("done");
    writer.commit(Answer::no_content()).await.expect("done");
}

#[tokio::test]
async fn a_saga_goes_on_with_the_steps_that_it_was_started_with() {
    for world in worlds().await {
        let outside = Outside::default();
        let old = outside.saga("test.order");
        let id = start(&world, &old, "one").await;
        let mut new = outside.saga("test.order");
        new.version = 2;
        new.steps.truncate(1);
        world.sagas(vec![new.clone()]).run_until_idle().await.unwrap();
        assert_eq!((world.state(id).await, outside.calls.len()), (State::Queued, 0), "it waits for its own steps");
        world.shift(Duration::from_secs(60));
        world.sagas(vec![new, old]).run_until_idle().await.unwrap();
        assert_eq!((world.state(id).await, outside.things().len()), (State::Done, 3));
    }
}

/// Asks for its own saga to be cancelled while it takes the last step.
struct ThinksAgain;

impl StepWork for ThinksAgain {
    fn run<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        async move {
            let mut ctx = run.ctx();
            let mut writer = run.store().write(&mut ctx).await?;
            tasks::cancel(&mut writer, run.id()).await?;
            writer.commit(Answer::no_content()).await?;
            Ok(json!("done"))
        }
        .boxed()
    }

    fn undo<'a>(&'a self, _: &'a mut SagaRun) -> BoxFuture<'a, Result<()>> {
        async { Err(Error::conflict("test.final", "this is never taken back")) }.boxed()
    }
}

#[tokio::test]
async fn a_saga_whose_last_step_is_taken_is_not_taken_back() {
    for world in worlds().await {
        let saga = Saga { name: "test.final", version: 1, steps: vec![Step::new("last", ThinksAgain)] };
        let id = start(&world, &saga, "one").await;
        world.sagas(vec![saga]).run_until_idle().await.unwrap();
        assert_eq!(world.state(id).await, State::Done);
    }
}
