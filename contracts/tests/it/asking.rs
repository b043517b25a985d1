use std::time::Duration;

use contracts::Patience;
use contracts::analytics::{READ_INVENTORY, SummaryQuery};
use kernel::{Actor, PermissionSet, UserId};
use testkit::TestApp;
use web::Principal;

use crate::{ASK, Ground, PATIENT, Turn, asker};

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_as_the_caller_and_passes_the_answer_on() {
    let ground = Ground::new(PATIENT).await;
    ground.script.then([Turn::Good(7)]);
    let request = ground.app.get(&format!("{ASK}?from=2026-01-01&to=2026-01-31")).token(&ground.tenant.admin_token);
    let answer = request.header("x-request-id", "one").header("x-correlation-id", "chain").send().await.expect(200);
    let answer = answer.json();
    assert_eq!((&answer["items"], &answer["stale"], &answer["turns"]), (&7.into(), &false.into(), &0.333_333.into()));
    assert_eq!(answer["asOf"], "2026-11-21T08:00:00.000000Z");
    let [seen] = &ground.script.asked()[..] else { panic!("asked once") };
    assert_eq!((seen.tenant, seen.actor.as_str()), (ground.tenant.id, ground.tenant.admin.to_string().as_str()));
    assert_eq!((seen.request.as_str(), seen.correlation.as_str()), ("one", "chain"));
    assert_eq!((seen.client.as_deref(), seen.reason.as_deref()), (Some("192.0.2.1"), None));
    assert_eq!(seen.query, SummaryQuery { from: Ground::day("2026-01-01"), to: Ground::day("2026-01-31") });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superadmin_asks_with_the_reason() {
    let ground = Ground::new(PATIENT).await;
    ground.script.then([Turn::Good(7), Turn::Good(8)]);
    let actor = Actor::Superadmin(UserId::new());
    let elevated = Some("ticket 1".into());
    let principal = Principal { actor, role: "superadmin".into(), elevated, ..ground.app.principal(&ground.tenant) };
    let token = ground.app.mint(principal);
    ground.app.get(ASK).token(&token).send().await.expect(200);
    ground.app.get(ASK).token(&token).header("x-audit-reason", "asked on the phone").send().await.expect(200);
    let reasons: Vec<_> = ground.script.asked().into_iter().map(|seen| seen.reason).collect();
    assert_eq!(reasons, [Some("ticket 1".to_owned()), Some("asked on the phone".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_once_more_where_that_may_help() {
    let ground = Ground::new(PATIENT).await;
    for status in [502, 503, 504] {
        ground.script.then([Turn::Status(status), Turn::Good(3)]);
        assert_eq!((ground.told().await, ground.script.asked().len()), ((3, false), 2), "{status}");
    }
    for hopeless in [Turn::Status(500), Turn::Nonsense, Turn::Status(404)] {
        ground.script.then([hopeless.clone()]);
        assert_eq!((ground.told().await, ground.script.asked().len()), ((3, true), 1), "{hopeless:?}");
        ground.script.then([Turn::Good(3)]);
        ground.told().await;
        ground.script.asked();
    }
    ground.script.then([Turn::Status(503), Turn::Status(503)]);
    assert_eq!((ground.told().await, ground.script.asked().len()), ((3, true), 2), "twice and not more often");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_silent_is_not_waited_for() {
    let patience = Patience { per_try: Duration::from_secs(1), in_all: Duration::from_secs(10), ..PATIENT };
    let ground = Ground::new(patience).await;
    ground.script.then([Turn::Silent, Turn::Good(5)]);
    assert_eq!((ground.told().await, ground.script.asked().len()), ((5, false), 2));
    let patience = Patience { per_try: Duration::from_millis(20), ..patience };
    let ground = Ground::new(patience).await;
    ground.script.then([Turn::Silent, Turn::Silent]);
    assert_eq!(ground.ask().await.expect(503).code(), "peer.away");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_answer_is_marked_and_grows_too_old() {
    let ground = Ground::new(PATIENT).await;
    let away = || ground.script.then([Turn::Status(500)]);
    ground.script.then([Turn::Good(1)]);
    ground.told().await;
    ground.later(60);
    ground.script.then([Turn::Good(2)]);
    ground.told().await;
    ground.later(600);
    away();
    let answer = ground.ask().await.expect(200).json();
    assert_eq!((&answer["items"], &answer["stale"]), (&2.into(), &true.into()));
    assert_eq!(answer["asOf"], "2026-11-21T08:01:00.000000Z");
    away();
    ground.app.get(&format!("{ASK}?from=2026-11-01")).token(&ground.tenant.viewer_token).send().await.expect(503);
    ground.later(3_000);
    away();
    assert_eq!(ground.told().await, (2, true));
    ground.later(1);
    ground.script.then([Turn::Status(500)]);
    let refused = ground.ask().await.expect(503);
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("peer.away", "2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_what_another_was_told() {
    let ground = Ground::new(PATIENT).await;
    let other = ground.app.tenant("mill").await;
    ground.script.then([Turn::Good(987_654_321), Turn::Status(500)]);
    assert_eq!(ground.told().await, (987_654_321, false));
    let refused = ground.app.get(ASK).token(&other.viewer_token).send().await.expect(503);
    assert!(refused.code() == "peer.away" && !refused.text().contains("987654321"), "{}", refused.text());
    ground.script.asked();
    // Nor somebody of the same tenant who may ask the one service and not the other.
    let permissions = PermissionSet::new(["asker.things.read"]);
    let token = ground.app.mint(Principal { permissions, ..ground.app.principal(&ground.tenant) });
    let refused = ground.app.get(ASK).token(&token).send().await.expect(403);
    assert!(refused.text().contains(READ_INVENTORY), "{}", refused.text());
    assert_eq!(ground.script.asked(), [], "it was not even asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_keeps_failing_is_left_alone_for_a_while() {
    let ground = Ground::new(PATIENT).await;
    ground.script.then([Turn::Good(4), Turn::Status(500), Turn::Status(500), Turn::Status(500)]);
    for _ in 0..10 {
        assert_eq!(ground.told().await.0, 4);
    }
    assert_eq!(ground.script.asked().len(), 4, "after three failures in a row nobody asks");
    ground.later(2);
    ground.script.then([Turn::Status(500)]);
    for _ in 0..5 {
        assert_eq!(ground.told().await, (4, true));
    }
    assert_eq!(ground.script.asked().len(), 1, "then one tries");
    ground.later(2);
    ground.script.then([Turn::Good(5), Turn::Good(6)]);
    assert_eq!((ground.told().await, ground.told().await), ((5, false), (6, false)), "and it is asked as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_answer() {
    let ground = Ground::new(PATIENT).await;
    ground.script.then([Turn::Good(4)]);
    ground.told().await;
    for status in [401, 403, 403, 403, 403] {
        ground.script.then([Turn::Status(status)]);
        ground.ask().await.expect(403);
    }
    ground.script.then([Turn::Good(5)]);
    assert_eq!(ground.told().await, (5, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_such_service_it_is_away() {
    let app = TestApp::sqlite(vec![asker(PATIENT)]).await;
    let tenant = app.tenant("farm").await;
    let permissions = PermissionSet::new(["asker.things.read", READ_INVENTORY]);
    let token = app.mint(Principal { permissions, ..app.principal(&tenant) });
    assert_eq!(app.get(ASK).token(&token).send().await.expect(503).code(), "peer.away");
}
