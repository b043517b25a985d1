//! Whose turn it is: a flood of one tenant delays no other, and a job can be bounded per tenant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use kernel::TenantId;
use serde_json::json;
use tasks::{EngineConfig, NewTask, Outcome};
use tokio::sync::Notify;

use crate::ground::{job, worlds};

type Order = Arc<Mutex<Vec<TenantId>>>;

fn noting(order: &Order) -> tasks::Job {
    let order = order.clone();
    job("test.turn", move |run| {
        order.lock().expect("no panic").push(run.tenant());
        async { Ok(Outcome::Done(json!(null))) }.boxed()
    })
}

#[tokio::test]
async fn one_task_of_a_tenant_does_not_wait_for_a_flood_of_another() {
    for world in worlds().await {
        for (flood, single) in [(world.tenant, world.other), (world.other, world.tenant)] {
            let order = Order::default();
            let engine = world.one_worker(vec![noting(&order)]);
            for _ in 0..100 {
                world.enqueue_for(flood, NewTask::new("test.turn", json!(null)).priority(9)).await;
            }
            world.enqueue_for(single, NewTask::new("test.turn", json!(null))).await;
            assert_eq!(engine.run_until_idle().await.unwrap(), 101);
            let place = order.lock().expect("no panic").iter().position(|tenant| *tenant == single).expect("it ran");
            assert!(place <= 4, "it came {place} tasks into the flood");
        }
    }
}

#[tokio::test]
async fn a_flood_that_takes_long_leaves_workers_free_for_others() {
    for world in worlds().await {
        let (go_on, started) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let long = {
            let (go_on, started) = (go_on.clone(), started.clone());
            job("test.long", move |_| {
                let go_on = go_on.clone();
                started.fetch_add(1, Ordering::SeqCst);
                async move {
                    go_on.notified().await;
                    Ok(Outcome::Done(json!(null)))
                }
                .boxed()
            })
        };
        let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
        let quick = job("test.quick", move |_| {
            told.send(()).expect("the test listens");
            async { Ok(Outcome::Done(json!(null))) }.boxed()
        });
        let config = EngineConfig { workers: 4, stop_ms: 0, ..EngineConfig::default() };
        let engine = world.engine_with(vec![long, quick], vec![], vec![], config);
        for _ in 0..20 {
            world.enqueue(NewTask::new("test.long", json!(null))).await;
        }
        let running = engine.start();
        while started.load(Ordering::SeqCst) < 3 {
            tokio::task::yield_now().await;
        }
        // Nothing of the flood ends before the other tenant's task has run.
        world.enqueue_for(world.other, NewTask::new("test.quick", json!(null))).await;
        tokio::time::timeout(std::time::Duration::from_secs(20), tell.recv()).await.expect("in time");
        assert_eq!(started.load(Ordering::SeqCst), 3);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_job_runs_no_more_often_at_once_for_a_tenant_than_it_says() {
    for world in worlds().await {
        let at_once: Arc<Mutex<BTreeMap<TenantId, (usize, usize)>>> = Arc::default();
        let bounded = {
            let at_once = at_once.clone();
            job("test.bounded", move |run| {
                let at_once = at_once.clone();
                async move {
                    {
                        let mut counts = at_once.lock().expect("no panic");
                        let (now, most) = counts.entry(run.tenant()).or_default();
                        *now += 1;
                        *most = (*most).max(*now);
                    }
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                    }
                    at_once.lock().expect("no panic").get_mut(&run.tenant()).unwrap().0 -= 1;
                    Ok(Outcome::Done(json!(null)))
                }
                .boxed()
            })
            .per_tenant(2)
        };
        let engine = world.engine(vec![bounded]);
        for tenant in [world.tenant, world.other] {
            for _ in 0..15 {
                world.enqueue_for(tenant, NewTask::new("test.bounded", json!(null))).await;
            }
        }
        assert_eq!(engine.run_until_idle().await.unwrap(), 30, "and none is forgotten");
        assert!(at_once.lock().expect("no panic").values().all(|(now, most)| *now == 0 && *most <= 2), "{at_once:?}");
    }
}
