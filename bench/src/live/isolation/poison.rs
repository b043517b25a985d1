//! A subscriber that cannot take one organisation's events. Not for parking and skipping: the events
//! crate tests those.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use events::{Dispatcher, Kinds, Subscriber, Subscription};
use futures_util::future::BoxFuture;
use kernel::{Error, TenantId};
use store::{Engine, Event, EventRow, Writer};

use super::{Delays, PER_SECOND};
use crate::figures::Latencies;
use crate::live::ground::{self, Ground};
use crate::{Outcome, Plan, people, say};

const KIND: &str = "bench.effect.wanted";
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes an event for each event of B, and fails for each of A.
struct Poisoned {
    a: TenantId,
    applied: Applied,
}

/// When each subject was applied last.
type Applied = Arc<Mutex<HashMap<String, Instant>>>;

impl Subscriber for Poisoned {
    fn apply<'a, 'c: 'a>(
        &'a self,
        writer: &'a mut Writer<'c>,
        event: &'a EventRow,
    ) -> BoxFuture<'a, kernel::Result<()>> {
        Box::pin(async move {
            if event.tenant_id == self.a {
                return Err(Error::internal("this cannot be applied"));
            }
            writer.record(Event::about("bench.effect.done", &event.subject, serde_json::json!({}))).await?;
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            applied.insert(event.subject.clone(), Instant::now());
            Ok(())
        })
    }
}

pub fn measure(plan: &Plan, engine: Engine, count: usize, rounds: usize) -> Outcome<Vec<Delays>> {
    let ground = Ground::make(plan, engine, 2)?;
    let (a, b) = (ground.tenants[0], ground.tenants[1]);
    let applied = Applied::default();
    let subscriber = Poisoned { a, applied: applied.clone() };
    let found = plan.runtime.block_on(async {
        let subscription = Subscription::new("bench.effects", Kinds::Of(&[KIND]), subscriber);
        let running = Dispatcher::new(ground.store.clone(), vec![subscription]).start();
        let relay = tokio::spawn(ground::relay(ground.store.clone()));
        let mut found = Vec::new();
        for round in 0..rounds {
            say(format!("poison, {}, round {}", people::name(engine), round + 1));
            let alone = deliver(&ground, None, b, &applied, count, round * 2).await?;
            let beside = deliver(&ground, Some(a), b, &applied, count, round * 2 + 1).await?;
            found.push([alone, beside]);
        }
        running.stop().await;
        relay.abort();
        Outcome::Ok(found)
    })?;
    ground.close(plan);
    Ok(found)
}

/// Writes B's events, and A's beside them, and returns how long after its commit each had its effect.
async fn deliver(
    ground: &Ground,
    a: Option<TenantId>,
    b: TenantId,
    applied: &Applied,
    count: usize,
    round: usize,
) -> Outcome<Latencies> {
    let (began, mut written) = (Instant::now(), Vec::new());
    for place in 0..count {
        tokio::time::sleep_until((began + Duration::from_secs_f64(place as f64 / PER_SECOND)).into()).await;
        let subject = format!("thing-{round}-{place}");
        if let Some(a) = a {
            ground::write(&ground.store, a, KIND, &subject, "").await?;
        }
        let at = ground::write(&ground.store, b, KIND, &subject, "").await?;
        written.push((subject, at));
    }
    let mut latencies = Latencies::default();
    let last = Instant::now();
    for (subject, at) in written {
        let done = loop {
            if let Some(done) = applied.lock().unwrap_or_else(PoisonError::into_inner).get(&subject).copied() {
                break done;
            }
            if last.elapsed() > PATIENCE {
                return Err(format!("{subject} of B had no effect").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        latencies.add(done.saturating_duration_since(at));
    }
    Ok(latencies)
}
