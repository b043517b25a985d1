//! What is revoked is not believed any more, whatever was under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::{Metrics, TokenCache, TokenCacheConfig, Verified};
use kernel::{Actor, Clock, UserId};
use tokio::sync::Notify;
use web::{Principal, Revocation};

use crate::front::Front;
use crate::{House, START, member};

/// Returns a cache that remembers each of these callers by its credential.
fn remembering(callers: &[&Principal]) -> TokenCache {
    let cache = TokenCache::new(TokenCacheConfig::default(), Clock::manual(START), &Metrics::default());
    for caller in callers {
        remember(&cache, caller);
    }
    cache
}

fn remember(cache: &TokenCache, caller: &Principal) {
    let until = START.plus(Duration::from_secs(60));
    let verified = Arc::new(Verified { principal: Arc::new(caller.clone()), until });
    cache.admit(cache.begin(), &caller.credential, &verified);
}

fn known<'a>(cache: &TokenCache, callers: &[&'a Principal]) -> Vec<&'a str> {
    callers.iter().map(|caller| &*caller.credential).filter(|token| cache.get(token).is_some()).collect()
}

#[test]
fn a_revocation_removes_what_it_names_and_nothing_else() {
    let anna = member("anna");
    let anna_again = Principal { credential: "anna-again".into(), ..anna.clone() };
    let anna_elsewhere = Principal { actor: anna.actor.clone(), ..member("anna-elsewhere") };
    let ben_beside = Principal { tenant: anna.tenant, ..member("ben-beside") };
    let carl = member("carl");
    let all = [&anna, &anna_again, &anna_elsewhere, &ben_beside, &carl];
    let left = |revocation: Revocation| {
        let cache = remembering(&all);
        cache.revoke(&revocation);
        known(&cache, &all)
    };
    let Actor::User(user) = anna.actor else { unreachable!("a member is a person") };
    assert_eq!(known(&remembering(&all), &all).len(), 5);
    let others = ["anna-again", "anna-elsewhere", "ben-beside", "carl"];
    assert_eq!(left(Revocation::Credential("anna".into())), others);
    assert_eq!(left(Revocation::User(user)), ["ben-beside", "carl"]);
    assert_eq!(left(Revocation::Tenant(anna.tenant)), ["anna-elsewhere", "carl"]);
    assert!(left(Revocation::Everything).is_empty());
    assert_eq!(left(Revocation::User(UserId::new())).len(), 5);
}

#[test]
fn a_check_that_began_before_a_revocation_is_not_remembered() {
    let anna = member("anna");
    let cache = remembering(&[]);
    let verified = Arc::new(Verified { principal: Arc::new(anna), until: START.plus(Duration::from_secs(60)) });
    let before = cache.begin();
    // Of whomever: which credential a check is about is not known while it runs.
    cache.revoke(&Revocation::Credential("somebody else's".into()));
    cache.admit(before, "anna", &verified);
    assert!(cache.get("anna").is_none());
    cache.admit(cache.begin(), "anna", &verified);
    assert!(cache.get("anna").is_some());
}

#[tokio::test]
async fn a_check_that_read_before_a_revocation_lets_nobody_in_after_it() {
    let house = House::new();
    house.tokens.add("good", &member("tok_1"));
    let (read, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    *house.tokens.hold.lock().expect("not poisoned") = Some((read.clone(), go_on.clone()));
    let revoked = async {
        read.notified().await;
        // The check has read that the token is good. Now it is revoked, and all are told.
        house.tokens.remove("good");
        house.cache.revoke(&Revocation::Credential("tok_1".into()));
        go_on.notify_one();
    };
    let (status, ()) = futures_util::future::join(house.status("good"), revoked).await;
    assert_eq!(status, 200, "this request was asked before");
    assert_eq!(house.status("good").await, 401, "what the check read was remembered");
    assert!(house.cache.is_empty());
}

#[tokio::test]
async fn a_hundred_first_requests_with_one_token_are_one_check() {
    let front = Front::open(
        "[upstreams.origin]\nservers = [\"http://ORIGIN\"]\n[[routes]]\npath = \"/\"\nupstream = \"origin\"",
    )
    .await;
    front.tokens.add("good", &member("tok_1"));
    for (round, (token, status)) in [("good", 200), ("bad", 401)].into_iter().enumerate() {
        let (read, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        *front.tokens.hold.lock().expect("not poisoned") = Some((read.clone(), go_on.clone()));
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let requests = (0..100).map(|_| front.get("/", &headers));
        let all_wait = async {
            read.notified().await;
            let line = format!("portico_token_cache_lookups_total{{outcome=\"miss\"}} {}", 100 * (round + 1));
            let told = async || front.metrics.text().expect("metrics").lines().any(|known| known == line);
            fixtures::eventually(&line, told).await;
            go_on.notify_one();
        };
        let (answers, ()) = futures_util::future::join(futures_util::future::join_all(requests), all_wait).await;
        assert!(answers.iter().all(|answer| answer.status == status), "{token}");
        assert!(answers.iter().all(|answer| status == 200 || answer.json()["code"] == "request.unauthenticated"));
        assert_eq!(front.tokens.asked(), round + 1, "{token}");
    }
    front.stop().await;
}

#[tokio::test]
async fn nobody_joins_a_check_that_began_before_a_revocation() {
    let house = House::new();
    house.tokens.add("good", &member("tok_1"));
    let (read, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    *house.tokens.hold.lock().expect("not poisoned") = Some((read.clone(), go_on.clone()));
    let after = async {
        read.notified().await;
        house.tokens.remove("good");
        house.cache.revoke(&Revocation::Credential("tok_1".into()));
        let status = house.status("good").await;
        go_on.notify_one();
        status
    };
    let (first, second) = futures_util::future::join(house.status("good"), after).await;
    assert_eq!((first, second, house.tokens.asked()), (200, 401, 2));
    // Whoever came first and left has begun it all the same, for those who wait.
    house.tokens.add("good", &member("tok_2"));
    let (read, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    *house.tokens.hold.lock().expect("not poisoned") = Some((read.clone(), go_on.clone()));
    let mut leader = Box::pin(house.status("good"));
    tokio::select! {
        _ = &mut leader => panic!("its check is held"),
        () = read.notified() => {}
    }
    drop(leader);
    let waits = house.status("good");
    let lets_go = async {
        tokio::task::yield_now().await;
        go_on.notify_one();
    };
    assert_eq!(futures_util::future::join(waits, lets_go).await.0, 200);
    assert_eq!(house.tokens.asked(), 3);
}

#[test]
fn a_check_that_ends_during_a_revocation_is_not_remembered() {
    const ROUNDS: usize = 2_000;
    let until = START.plus(Duration::from_secs(60));
    let verified = Arc::new(Verified { principal: Arc::new(member("tok_1")), until });
    // A revocation of a full cache takes long, one of an empty cache is over at once: both meet the check.
    for others in [0, 0, 500, 500, 500, 500] {
        let cache = remembering(&[]);
        (0..others).for_each(|number| remember(&cache, &member(&format!("other_{number}"))));
        let (tickets, started) = (Mutex::new(None), AtomicUsize::new(0));
        let (ended, mut believed) = (AtomicUsize::new(0), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    wait_until(|| started.load(Ordering::SeqCst) == round);
                    let ticket = tickets.lock().expect("not poisoned").expect("a ticket");
                    (0..round % 50).for_each(|_| std::hint::spin_loop());
                    cache.admit(ticket, "token", &verified);
                    ended.store(round, Ordering::SeqCst);
                }
            });
            for round in 1..=ROUNDS {
                *tickets.lock().expect("not poisoned") = Some(cache.begin());
                started.store(round, Ordering::SeqCst);
                (0..round % 70).for_each(|_| std::hint::spin_loop());
                cache.revoke(&Revocation::Credential("tok_1".into()));
                believed += usize::from(cache.get("token").is_some());
                wait_until(|| ended.load(Ordering::SeqCst) == round);
                believed += usize::from(cache.get("token").is_some());
            }
        });
        assert_eq!(believed, 0, "once a revocation has returned, nobody is let in");
    }
}

fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

#[test]
fn it_holds_as_many_as_it_may_and_none_when_it_may_none() {
    for capacity in [0, 1, 64] {
        let config = TokenCacheConfig { capacity, ..TokenCacheConfig::default() };
        let cache = TokenCache::new(config, Clock::manual(START), &Metrics::default());
        for number in 0..500 {
            remember(&cache, &member(&format!("tok_{number}")));
        }
        assert_eq!(cache.len(), capacity);
    }
}
