//! Looks at the database and at all upstreams at once, within a limit and once a second at most, and
//! makes one state of what it finds. Not for HTTP, nor for how an upstream is looked at.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kernel::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use super::member::{Condition, Found, Member};

/// How long a look may take before it counts as failed.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// How long what was found is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    status: Condition,
    /// Whether the installation is unhealthy without it; otherwise it is degraded.
    required: bool,
    /// How long it took to answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    /// Since when this process sees it so.
    since: Timestamp,
    /// What is wrong, as a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

/// The state of the installation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `healthy`, `degraded` or `unhealthy`.
    #[serde(rename = "status")]
    #[schema(rename = "status")]
    pub state: Condition,
    /// When it was looked at.
    timestamp: Timestamp,
    /// The state of each service that runs here, and of each upstream.
    services: BTreeMap<String, Condition>,
    /// More about the database and each upstream.
    checks: BTreeMap<String, Check>,
}

/// What was found last, and whether somebody looks.
#[derive(Default)]
struct Last {
    found: Option<(Instant, Arc<Health>)>,
    looking: Option<watch::Receiver<Option<Arc<Health>>>>,
    since: BTreeMap<String, (Condition, Timestamp)>,
}

/// Everything that is looked at.
pub(super) struct Together {
    services: Vec<&'static str>,
    members: Vec<Member>,
    limit: Duration,
    last: Arc<Mutex<Last>>,
}

impl Together {
    pub(super) fn new(services: Vec<&'static str>, members: Vec<Member>) -> Self {
        Self { services, members, limit: LOOK_LIMIT, last: Arc::default() }
    }

    /// Returns the state: the last one while it is believed, otherwise a new one. Whoever comes while
    /// somebody looks gets what that one finds.
    pub(super) async fn look(
        &self,
        time: Timestamp,
        now: Instant,
        database: impl Future<Output = bool> + Send + 'static,
    ) -> Arc<Health> {
        let mut looking = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((when, health)) = &last.found
                && now.saturating_duration_since(*when) < BELIEVED
            {
                return health.clone();
            }
            // A look whose task is gone never ends.
            match last.looking.clone().filter(|looking| looking.has_changed().is_ok()) {
                Some(looking) => looking,
                None => {
                    let (tell, looking) = watch::channel(None);
                    last.looking = Some(looking.clone());
                    self.start(time, now, database, tell);
                    looking
                }
            }
        };
        let found = tokio::time::timeout(2 * self.limit, looking.wait_for(Option::is_some)).await;
        let found = found.ok().and_then(Result::ok).and_then(|health| health.clone());
        found.unwrap_or_else(|| Arc::new(self.nothing_found(time)))
    }

    /// Looks in a task of its own: the caller may go away, and others wait for it.
    fn start(
        &self,
        time: Timestamp,
        now: Instant,
        database: impl Future<Output = bool> + Send + 'static,
        tell: watch::Sender<Option<Arc<Health>>>,
    ) {
        let (services, members, limit) = (self.services.clone(), self.members.clone(), self.limit);
        let last = self.last.clone();
        tokio::spawn(async move {
            let mut looks = JoinSet::new();
            looks.spawn(async move {
                let began = Instant::now();
                let answers = tokio::time::timeout(limit, database).await == Ok(true);
                let healthy = Found::healthy(Some(began.elapsed()));
                (usize::MAX, if answers { healthy } else { Found::unhealthy("store.unavailable") })
            });
            for (number, member) in members.iter().enumerate() {
                let look = (member.look)();
                looks.spawn(async move {
                    let found = tokio::time::timeout(limit, look).await;
                    (number, found.unwrap_or_else(|_| Found::unhealthy("gateway.upstream_timeout")))
                });
            }
            let mut found = BTreeMap::new();
            while let Some(done) = looks.join_next().await {
                // One that panicked stays unseen, which counts as unhealthy below.
                if let Ok((number, one)) = done {
                    found.insert(number, one);
                }
            }
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let health = Arc::new(unite(&services, &members, &found, time, &mut last.since));
            last.found = Some((now, health.clone()));
            last.looking = None;
            tell.send_replace(Some(health));
        });
    }

    fn nothing_found(&self, time: Timestamp) -> Health {
        unite(&self.services, &self.members, &BTreeMap::new(), time, &mut BTreeMap::new())
    }
}

/// Makes one state of all: the database and required members decide over `unhealthy`, the others over
/// `degraded`.
fn unite(
    services: &[&'static str],
    members: &[Member],
    found: &BTreeMap<usize, Found>,
    time: Timestamp,
    since: &mut BTreeMap<String, (Condition, Timestamp)>,
) -> Health {
    let mut overall = Condition::Healthy;
    let mut checks = BTreeMap::new();
    let mut check = |name: &str, required: bool, number: usize| {
        let one = found.get(&number).cloned().unwrap_or_else(|| Found::unhealthy("health.not_seen"));
        let known = since.entry(name.to_owned()).or_insert((one.state, time));
        if known.0 != one.state {
            *known = (one.state, time);
        }
        let counts = if required { one.state } else { one.state.min(Condition::Degraded) };
        overall = overall.max(counts);
        let check = Check {
            status: one.state,
            required,
            latency_ms: one.latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
            since: one.since.unwrap_or(known.1),
            code: one.code,
        };
        checks.insert(name.to_owned(), check);
        one.state
    };
    let database = check("database", true, usize::MAX);
    let mut states: BTreeMap<String, Condition> = BTreeMap::new();
    for (number, member) in members.iter().enumerate() {
        states.insert(member.name.clone(), check(&member.name, member.required, number));
    }
    // What runs here works as far as its database does.
    states.extend(services.iter().map(|name| ((*name).to_owned(), database)));
    Health { state: overall, timestamp: time, services: states, checks }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn time(second: u32) -> Timestamp {
        Timestamp::parse(&format!("2026-01-01T00:00:{second:02}Z")).expect("a time")
    }

    async fn seen(members: Vec<Member>, database: bool) -> serde_json::Value {
        let mut together = Together::new(vec!["inventory"], members);
        // Long enough for a panic to be written with all its frames.
        together.limit = Duration::from_secs(1);
        let health = together.look(time(0), Instant::now(), async move { database }).await;
        serde_json::to_value(&*health).expect("plain data")
    }

    fn member(required: bool, found: Found) -> Member {
        Member::known("far", required, move || found.clone())
    }

    #[tokio::test]
    async fn required_ones_make_it_unhealthy_and_others_degraded() {
        let away = || Found::unhealthy("gateway.upstream_unreachable");
        let half = Found { state: Condition::Degraded, ..Found::healthy(None) };
        let table = [
            (member(true, Found::healthy(None)), true, "healthy"),
            (member(false, away()), true, "degraded"),
            (member(true, away()), true, "unhealthy"),
            (member(true, half.clone()), true, "degraded"),
            (member(false, half), true, "degraded"),
            (member(false, Found::healthy(None)), false, "unhealthy"),
        ];
        for (member, database, expected) in table {
            assert_eq!(seen(vec![member], database).await["status"], expected);
        }
    }

    #[tokio::test]
    async fn what_is_said_is_a_state_and_a_code() {
        let found = Found { latency: Some(Duration::from_millis(7)), ..Found::unhealthy("gateway.upstream_timeout") };
        let health = seen(vec![member(false, found)], true).await;
        assert_eq!(health["services"], serde_json::json!({ "inventory": "healthy", "far": "unhealthy" }));
        assert_eq!(
            health["checks"]["far"],
            serde_json::json!({ "status": "unhealthy", "required": false, "latencyMs": 7,
                "since": "2026-01-01T00:00:00.000000Z", "code": "gateway.upstream_timeout" })
        );
        assert_eq!(health["checks"]["database"]["status"], "healthy");
    }

    #[tokio::test]
    async fn one_that_never_answers_or_panics_counts_as_away() {
        let never = Member::new("never", false, std::future::pending);
        let panics = Member::new("panics", false, || async { panic!("on purpose") });
        let health = seen(vec![never, panics], true).await;
        assert_eq!(health["status"], "degraded");
        assert_eq!(health["checks"]["never"]["code"], "gateway.upstream_timeout");
        assert_eq!(health["checks"]["panics"]["code"], "health.not_seen");
    }

    #[tokio::test]
    async fn many_who_ask_make_one_look_a_second() {
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        let member = Member::new("far", true, move || {
            let counted = counted.clone();
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Found::healthy(None)
            }
        });
        let together = Arc::new(Together::new(Vec::new(), vec![member]));
        let start = Instant::now();
        let mut asking = JoinSet::new();
        for _ in 0..100 {
            let together = together.clone();
            asking.spawn(async move { together.look(time(0), start, async { true }).await.state });
        }
        assert!(asking.join_all().await.iter().all(|state| *state == Condition::Healthy));
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        together.look(time(0), start + Duration::from_millis(999), async { true }).await;
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        together.look(time(1), start + Duration::from_secs(1), async { true }).await;
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn since_is_when_it_changed_not_when_it_was_seen() {
        let up = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let state = up.clone();
        let member = Member::known("far", false, move || match state.load(Ordering::SeqCst) {
            true => Found::healthy(None),
            false => Found::unhealthy("gateway.upstream_unreachable"),
        });
        let together = Together::new(Vec::new(), vec![member]);
        let mut now = Instant::now();
        for (second, healthy, since) in [(0, true, 0), (1, true, 0), (2, false, 2), (3, false, 2), (4, true, 4)] {
            up.store(healthy, Ordering::SeqCst);
            let health = together.look(time(second), now, async { true }).await;
            assert_eq!(health.checks["far"].since, time(since));
            now += BELIEVED;
        }
    }

    #[tokio::test]
    async fn whoever_leaves_takes_nothing_along() {
        let together = Arc::new(Together::new(Vec::new(), Vec::new()));
        let (open, opened) = tokio::sync::oneshot::channel::<()>();
        let first = tokio::spawn({
            let together = together.clone();
            let now = Instant::now();
            async move { together.look(time(0), now, async move { opened.await.is_ok() }).await.state }
        });
        while together.last.lock().expect("nobody panicked").looking.is_none() {
            tokio::task::yield_now().await;
        }
        first.abort();
        open.send(()).expect("the look goes on without whoever began it");
        let now = Instant::now();
        assert_eq!(together.look(time(0), now, async { false }).await.state, Condition::Healthy);
    }
}
