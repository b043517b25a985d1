//! What fails keeps only its own stream waiting, in order, until it succeeds or somebody decides.

use events::{ALERT, Stream, list};
use store::EventRow;

use crate::ground::{Failure, Ground, Notebook, grounds, record_many, settle, tally};

async fn streams(ground: &Ground, notebook: &Notebook) -> Vec<Stream> {
    let listed = list(&ground.store, &[notebook.subscription()]).await.expect("lists");
    listed.into_iter().flat_map(|listed| listed.streams).collect()
}

async fn alerts(ground: &Ground, tenant: kernel::TenantId) -> Vec<EventRow> {
    ground.events(tenant, ALERT).await
}

#[tokio::test]
async fn a_failing_stream_waits_alone_and_keeps_its_order() {
    for ground in grounds().await {
        let (tenant, other) = (ground.tenant("one").await, ground.tenant("two").await);
        let notebook = Notebook::new("park.notes");
        let dispatcher = notebook.dispatcher(&ground);
        notebook.fail("bad", Failure::Error, 3);
        ground.record(tenant, &["good", "bad", "good", "bad", "good"]).await;
        ground.record(other, &["good", "fine"]).await;
        settle(&dispatcher).await;
        assert_eq!(ground.heard(tenant, "park.notes").await, tally(&[("good", 3)]), "what failed left nothing behind");
        assert_eq!(ground.heard(other, "park.notes").await, tally(&[("fine", 1), ("good", 1)]));
        let waiting = streams(&ground, &notebook).await;
        assert_eq!(waiting.len(), 1);
        let stream = &waiting[0];
        assert_eq!((stream.tenant, stream.subject.as_str(), stream.position), (tenant, "bad", 2));
        assert_eq!((stream.state.as_str(), stream.attempts, stream.waiting), ("retrying", 1, 1));
        assert!(stream.error.contains("no good: bad"), "{}", stream.error);
        // What comes meanwhile about the same thing lines up behind.
        ground.record(tenant, &["bad", "good"]).await;
        settle(&dispatcher).await;
        assert_eq!(ground.heard(tenant, "park.notes").await, tally(&[("good", 4)]));
        assert_eq!(streams(&ground, &notebook).await[0].waiting, 2);
        // Two more failures, then it succeeds, and all of it in order.
        for (attempts, wait) in [(2, 2), (3, 3)] {
            ground.pass(wait);
            settle(&dispatcher).await;
            let stream = &streams(&ground, &notebook).await[0];
            assert_eq!((stream.attempts, stream.state.as_str()), (attempts, "retrying"));
        }
        ground.pass(5);
        settle(&dispatcher).await;
        assert_eq!(ground.heard(tenant, "park.notes").await, tally(&[("bad", 3), ("good", 4)]));
        let mut given = notebook.given("bad");
        given.dedup();
        assert_eq!(given, [2, 4, 8]);
        assert!(streams(&ground, &notebook).await.is_empty());
        assert!(alerts(&ground, tenant).await.is_empty(), "nobody is told of what mended itself");
    }
}

#[tokio::test]
async fn what_fails_for_good_is_parked_and_told_once() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("poison.notes");
        let dispatcher = notebook.dispatcher(&ground);
        notebook.fail("bad", Failure::Panic, 1_000);
        ground.record(tenant, &["bad", "good", "bad"]).await;
        for _ in 0..8 {
            settle(&dispatcher).await;
            ground.pass(60);
        }
        assert_eq!(notebook.given("bad"), [1; 5], "five attempts, and never the one behind it");
        let stream = &streams(&ground, &notebook).await[0];
        assert_eq!((stream.state.as_str(), stream.attempts, stream.waiting), ("parked", 5, 1));
        assert!(stream.error.contains("a subscriber's bug"), "{}", stream.error);
        let told = alerts(&ground, tenant).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].subject, "poison.notes");
        assert!(told[0].data.contains("\"position\":1"), "{}", told[0].data);
        assert_eq!(ground.heard(tenant, "poison.notes").await, tally(&[("good", 1)]));

        // The bug is mended: an operator lets it be tried again.
        notebook.recover();
        let known = [notebook.subscription()];
        assert_eq!(events::retry(&ground.store, "poison.notes", Some(tenant), Some("good")).await.expect("retries"), 0);
        assert_eq!(events::retry(&ground.store, "poison.notes", Some(tenant), Some("bad")).await.expect("retries"), 1);
        settle(&dispatcher).await;
        assert_eq!(ground.heard(tenant, "poison.notes").await, tally(&[("bad", 2), ("good", 1)]));
        assert!(list(&ground.store, &known).await.expect("lists")[0].streams.is_empty());
        let unknown = events::retry(&ground.store, "nobody", None, None).await.expect_err("there is none");
        assert_eq!(unknown.code(), "events.subscription_unknown");
    }
}

#[tokio::test]
async fn an_operator_drops_what_cannot_be_mended() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("skip.notes");
        let dispatcher = notebook.dispatcher(&ground);
        notebook.fail("bad", Failure::Error, 5);
        ground.record(tenant, &["bad", "bad", "bad"]).await;
        for _ in 0..8 {
            settle(&dispatcher).await;
            ground.pass(60);
        }
        assert_eq!(streams(&ground, &notebook).await[0].state, "parked");
        let missing = events::skip(&ground.store, "skip.notes", 9, "typo").await.expect_err("there is none");
        assert_eq!(missing.code(), "events.nothing_set_aside");
        events::skip(&ground.store, "skip.notes", 1, "ticket 7").await.expect("skips");
        settle(&dispatcher).await;
        let positions: Vec<_> = ground.notes(tenant, "skip.notes").await.iter().map(|note| note.position).collect();
        assert_eq!(positions, [2, 3]);
        let skipped = ground.events(tenant, events::SKIPPED).await;
        assert_eq!(skipped.len(), 1);
        assert!(skipped[0].data.contains("ticket 7"), "{}", skipped[0].data);
        assert!(!skipped[0].data.contains("no good"), "why it failed is the operator's: {}", skipped[0].data);
    }
}

#[tokio::test]
async fn a_database_that_is_away_costs_no_attempt() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("away.notes");
        let dispatcher = notebook.dispatcher(&ground);
        notebook.fail("a", Failure::Away, 3);
        ground.record(tenant, &["a", "b"]).await;
        settle(&dispatcher).await;
        assert_eq!(ground.heard(tenant, "away.notes").await, tally(&[("a", 1), ("b", 1)]));
        assert!(streams(&ground, &notebook).await.is_empty());
        assert_eq!(notebook.given("a").len(), 4, "it was tried until it was there again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_poison_of_one_tenant_does_not_delay_another() {
    for ground in grounds().await {
        let (sick, well) = (ground.tenant("sick").await, ground.tenant("well").await);
        let notebook = Notebook::new("fair.notes");
        let subjects: Vec<String> = (0..20).map(|number| format!("bad {number}")).collect();
        for subject in &subjects {
            notebook.fail(subject, Failure::Error, 1_000);
        }
        ground.record(sick, &subjects.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let dispatcher = notebook.dispatcher(&ground);
        ground.record(well, &["good", "good"]).await;
        settle(&dispatcher).await;
        assert_eq!(ground.heard(well, "fair.notes").await, tally(&[("good", 2)]));
        assert_eq!(streams(&ground, &notebook).await.len(), 20);
        assert!(ground.heard(sick, "fair.notes").await.is_empty());
        // While all of that is tried again, the other goes on.
        ground.pass(60);
        ground.record(well, &["good"]).await;
        settle(&dispatcher).await;
        assert_eq!(ground.heard(well, "fair.notes").await, tally(&[("good", 3)]));
        assert!(streams(&ground, &notebook).await.iter().all(|stream| stream.attempts == 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_tenant_does_not_delay_another() {
    for ground in grounds().await {
        let (loud, quiet) = (ground.tenant("loud").await, ground.tenant("quiet").await);
        let notebook = Notebook::new("flood.notes");
        record_many(&ground.store, loud, "loud", 400).await;
        ground.record(quiet, &["quiet"]).await;
        settle(&notebook.dispatcher(&ground)).await;
        let order = notebook.order();
        let place = order.iter().position(|(_, subject, _)| subject == "quiet").expect("it was applied");
        assert!(place <= 100, "it was applied after {place} of the others");
        assert_eq!(ground.heard(loud, "flood.notes").await, tally(&[("loud", 400)]));
        assert_eq!(notebook.given("loud"), (1..=400).collect::<Vec<_>>(), "in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_never_ends_is_a_failure_of_its_event() {
    for mut ground in grounds().await {
        let config = store::Config { write_hold_limit_ms: 50, ..ground.database.config.clone() };
        ground.store = store::Store::open(config, ground.clock.clone()).await.expect("opens");
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("hang.notes");
        // Among others, again first of the rest, and then alone: only then is it known whose fault it is.
        notebook.fail("bad", Failure::Never, 3);
        ground.record(tenant, &["good", "bad", "good"]).await;
        let dispatcher = notebook.dispatcher(&ground);
        settle(&dispatcher).await;
        assert_eq!(streams(&ground, &notebook).await[0].position, 2);
        ground.pass(60);
        settle(&dispatcher).await;
        assert_eq!(ground.heard(tenant, "hang.notes").await, tally(&[("bad", 1), ("good", 2)]));
    }
}

#[tokio::test]
async fn many_due_streams_of_one_tenant_do_not_keep_anothers_out_of_the_first_round() {
    for ground in grounds().await {
        let (sick, other) = (ground.tenant("sick").await, ground.tenant("other").await);
        let notebook = Notebook::new("due.notes");
        let subjects: Vec<String> = (0..220).map(|number| format!("bad {number}")).collect();
        subjects.iter().for_each(|subject| notebook.fail(subject, Failure::Error, 1_000));
        let dispatcher = notebook.dispatcher(&ground);
        ground.record(sick, &subjects.iter().map(String::as_str).collect::<Vec<_>>()).await;
        settle(&dispatcher).await;
        // Set aside later, and so due later than all of the others.
        ground.clock.shift(500_000);
        notebook.fail("once", Failure::Error, 1);
        ground.record(other, &["once"]).await;
        settle(&dispatcher).await;
        assert_eq!(notebook.given("once").len(), 1, "it has failed once");
        let before = notebook.order().len();
        ground.pass(60);
        settle(&dispatcher).await;
        let again = notebook.order().split_off(before);
        let place = again.iter().position(|(_, subject, _)| subject == "once").expect("it was tried again");
        assert!(place <= 10, "it was tried after {place} of the others");
    }
}

#[tokio::test]
async fn a_retry_that_cannot_be_made_now_waits_and_costs_no_attempt() {
    for ground in grounds().await {
        let tenant = ground.tenant("one").await;
        let notebook = Notebook::new("later.notes");
        let dispatcher = notebook.dispatcher(&ground);
        notebook.fail("bad", Failure::Error, 1);
        ground.record(tenant, &["bad"]).await;
        settle(&dispatcher).await;
        notebook.fail("bad", Failure::Away, 1_000);
        for tried in [2, 3] {
            ground.pass(2);
            settle(&dispatcher).await;
            assert_eq!(notebook.given("bad").len(), tried, "once, and then it waits");
            let stream = &streams(&ground, &notebook).await[0];
            assert_eq!((stream.attempts, stream.state.as_str()), (1, "retrying"));
            assert!(stream.next_try_at > ground.clock.now() && stream.error.contains("no good"));
        }
        notebook.recover();
        ground.pass(2);
        settle(&dispatcher).await;
        assert_eq!(ground.heard(tenant, "later.notes").await, tally(&[("bad", 1)]));
    }
}
