//! Budgets: refused before, cut off within, never exceeded beyond the bound, and everybody's own.

use http::StatusCode;
use kernel::TenantId;
use metering::{Caller, Counts};

use crate::world::{Origin, World, answer, caller, caller_of, next, whole};

const CHAT: &str = "/v1/chat/completions";

fn budget(per: &str, period: &str, amount: &str) -> String {
    format!("ask_for_usage = false\n[[budgets]]\nname = \"b\"\nper = \"{per}\"\nperiod = \"{period}\"\n{amount}\n")
}

fn piece(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

async fn uses(world: &World, caller: &Caller, input: u32, output: u32) -> Result<(), u16> {
    let request = format!("{{\"model\":\"m\",\"max_tokens\":{output}}}");
    let (_, call) = world.begin(caller, CHAT, &request).await.map_err(|error| error.status())?;
    let body = format!("{{\"usage\":{{\"prompt_tokens\":{input},\"completion_tokens\":{output}}}}}");
    let _ = whole(call.answer(answer("application/json", &[body.as_bytes()]))).await;
    world.metering.settled().await;
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_is_refused_before_it_is_sent() {
    let world = World::new(&budget("tenant", "month", "tokens = 1000"));
    let me = caller("a");
    assert_eq!(uses(&world, &me, 10, 500).await, Ok(()));
    assert_eq!(uses(&world, &me, 10, 600).await, Err(402));
    assert_eq!(uses(&world, &me, 10, 400).await, Ok(()));
    assert_eq!(uses(&world, &caller("another tenant"), 10, 900).await, Ok(()));
    assert_eq!(world.metering.counts().refused, 1);
    let refused = world.begin(&me, CHAT, "{\"max_tokens\":900}").await.expect_err("refused");
    assert_eq!((refused.code(), refused.retry_after_seconds()), ("gateway.budget_exhausted", None));
    world.clock.shift(11 * 86_400 * 1_000_000);
    assert_eq!(uses(&world, &me, 10, 900).await, Ok(()), "a new month");
}

#[tokio::test]
async fn a_rate_wears_off_and_a_day_ends() {
    let world = World::new(&budget("user", "minute", "tokens = 600"));
    let me = caller("a");
    assert_eq!(uses(&world, &me, 100, 500).await, Ok(()));
    assert_eq!(uses(&world, &me, 10, 50).await, Err(429));
    world.clock.shift(30_000_000);
    assert_eq!(uses(&world, &me, 10, 250).await, Ok(()), "half of it has worn off");
    let world = World::new(&budget("user", "day", "tokens = 600"));
    assert_eq!(uses(&world, &me, 100, 500).await, Ok(()));
    let refused = world.begin(&me, CHAT, "{\"max_tokens\":1}").await.expect_err("refused");
    assert_eq!((refused.status(), refused.retry_after_seconds()), (402, Some(43_201)));
}

#[tokio::test]
async fn each_kind_of_subject_has_its_own() {
    let (one, two) = (TenantId::new(), TenantId::new());
    let person = |tenant, user: &str, credential: &str, route: &str| Caller {
        credential: credential.into(),
        route: route.into(),
        ..caller_of(tenant, user)
    };
    let me = person(one, "u", "c", "r");
    let others = [
        ("user", person(one, "v", "c", "r")),
        ("credential", person(one, "u", "d", "r")),
        ("route", person(one, "u", "c", "s")),
        ("tenant", person(two, "u", "c", "r")),
        ("shared_route", person(two, "v", "d", "s")),
    ];
    for (per, other) in others {
        let world = World::new(&budget(per, "total", "tokens = 100"));
        assert_eq!(uses(&world, &me, 10, 80).await, Ok(()));
        assert_eq!(uses(&world, &me, 10, 80).await, Err(402), "{per}");
        assert_eq!(uses(&world, &other, 10, 80).await, Ok(()), "{per}");
        let neighbour = Caller { tenant: Some(two), ..me.clone() };
        // The other of the other tenant has used up what a tenant, or all, may use.
        let expected = if ["shared_route", "tenant"].contains(&per) { Err(402) } else { Ok(()) };
        assert_eq!(uses(&world, &neighbour, 10, 80).await, expected, "{per}: another tenant");
    }
}

#[tokio::test]
async fn calls_at_the_same_time_cannot_overshoot() {
    let world = World::new(&budget("tenant", "total", "tokens = 1000"));
    let me = caller("a");
    let mut open = Vec::new();
    for _ in 0..20 {
        if let Ok((_, call)) = world.begin(&me, CHAT, "{\"max_tokens\":190}").await {
            open.push(call);
        }
    }
    assert_eq!(open.len(), 5, "what is reserved counts");
    assert!(world.ledger.totals().reserved <= 1000);
    drop(open);
    world.metering.settled().await;
    assert_eq!(world.ledger.totals().reserved, 0);
}

#[tokio::test]
async fn an_answer_is_cut_off_where_the_budget_ends() {
    for (path, end) in [
        (CHAT, "data: [DONE]\n\n"),
        ("/v1/responses", "\"type\":\"error\"}\n\n"),
        ("/v1/messages", "\"type\":\"error\"}\n\n"),
    ] {
        let world = World::new(&budget("tenant", "total", "tokens = 400"));
        let me = caller("a");
        let (_, call) = world.begin(&me, path, "{\"stream\":true}").await.expect("let through");
        let (origin, response) = Origin::stream();
        let mut body = call.answer(response).into_body();
        let mut passed = 0;
        let last = loop {
            // Ten tokens a piece.
            origin.say(piece(&"word".repeat(10)));
            let text = next(&mut body).await.expect("more");
            if text.contains("gateway.budget_exhausted") {
                break text;
            }
            assert_eq!(text, piece(&"word".repeat(10)));
            passed += 10;
        };
        assert!(last.ends_with(end), "{last}");
        assert!(origin.is_gone(), "the origin is let go at once");
        assert_eq!(next(&mut body).await, None);
        drop(body);
        world.metering.settled().await;
        let totals = world.ledger.totals();
        assert!((390..=410).contains(&totals.usage.total()), "one piece beyond at most: {totals:?}");
        assert_eq!(totals.usage.output, passed);
        assert_eq!((totals.reserved, totals.open, world.metering.counts().cut_off), (0, 0, 1));
        assert_eq!(uses(&world, &me, 1, 1).await, Err(402));
    }
}

#[tokio::test]
async fn several_events_in_one_chunk_are_cut_between_them() {
    let world = World::new(&format!("least_output_tokens = 10\n{}", budget("tenant", "total", "tokens = 40")));
    let (_, call) = world.begin(&caller("a"), CHAT, "{\"stream\":true}").await.expect("let through");
    let pieces = piece(&"word".repeat(10)).repeat(20);
    let text = whole(call.answer(answer("text/event-stream", &[pieces.as_bytes()]))).await;
    let passed = text.matches("wordword").count() / 5;
    assert!((3..=5).contains(&passed), "{text}");
    assert!(text.ends_with("[DONE]\n\n"));
    world.metering.settled().await;
    assert!(world.ledger.totals().usage.total() <= 50);
}

#[tokio::test]
async fn a_call_that_needs_more_than_was_reserved_gets_it_where_there_is_more() {
    let world = World::new(&format!("default_output_tokens = 20\nleast_output_tokens = 20\n{}", budget("tenant", "total", "tokens = 100000")));
    let (_, call) = world.begin(&caller("a"), CHAT, "{\"stream\":true}").await.expect("let through");
    let pieces = [piece(&"word".repeat(10)).repeat(50), "data: [DONE]\n\n".to_owned()].concat();
    assert_eq!(whole(call.answer(answer("text/event-stream", &[pieces.as_bytes()]))).await, pieces);
    world.metering.settled().await;
    let totals = world.ledger.totals();
    assert_eq!((totals.usage.output, totals.reserved), (500, 0));
}

#[tokio::test]
async fn money_counts_by_the_price_of_the_model() {
    let settings = format!(
        "{}[[prices]]\nmodel = \"m*\"\ninput_nano_per_million = 0\noutput_nano_per_million = 10_000_000\n",
        budget("tenant", "total", "nano = 1000")
    );
    let world = World::new(&settings);
    let me = caller("a");
    let unpriced = world.begin(&me, CHAT, "{\"model\":\"other\",\"max_tokens\":1}").await.expect_err("no price");
    assert_eq!((unpriced.code(), unpriced.status()), ("gateway.model_not_priced", 403));
    assert_eq!(uses(&world, &me, 5, 60).await, Ok(()));
    assert_eq!(uses(&world, &me, 5, 41).await, Err(402));
    assert_eq!(uses(&world, &me, 5, 40).await, Ok(()));
    assert_eq!(world.ledger.totals().cost_nano, 1000);
}

#[tokio::test]
async fn an_exact_limit_of_the_request_is_not_cut_off_by_an_estimate() {
    let world = World::new(&budget("tenant", "total", "tokens = 35"));
    let (_, call) = world.begin(&caller("a"), CHAT, "{\"stream\":true,\"max_tokens\":20}").await.expect("let through");
    // 25 pieces, which the provider counts as 20 tokens.
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":20}}\n\n";
    let stream = [piece("a").repeat(25), usage.to_owned()].concat();
    let response = call.answer(answer("text/event-stream", &[stream.as_bytes()]));
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(whole(response).await, stream);
    world.metering.settled().await;
    assert_eq!(world.ledger.totals().usage.total(), 28);
    assert_eq!(world.metering.counts(), Counts { settled: [1, 0], tokens: [8, 20], ..Counts::default() });
}

#[tokio::test]
async fn a_reservation_that_nobody_settles_counts_as_used_when_its_lease_ends() {
    let world = World::new(&format!("lease_seconds = 60\n{}", budget("tenant", "total", "tokens = 1000")));
    let me = caller("a");
    let (_, call) = world.begin(&me, CHAT, "{\"max_tokens\":900}").await.expect("let through");
    world.clock.shift(61_000_000);
    assert_eq!(uses(&world, &me, 1, 200).await, Err(402));
    let totals = world.ledger.totals();
    assert_eq!((totals.reserved, totals.open, totals.estimated), (0, 0, 1));
    assert!(totals.usage.output == 900);
    // It was only slow: what it used in truth takes the place.
    let body = b"{\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":100}}";
    let _ = whole(call.answer(answer("application/json", &[body]))).await;
    world.metering.settled().await;
    assert_eq!((world.ledger.totals().usage.total(), world.ledger.totals().settled), (105, 1));
    assert_eq!(uses(&world, &me, 1, 200).await, Ok(()));
}
