//! What happens to a stream that does not simply end: who goes away, who falls silent, who breaks off.

use std::time::Duration;

use metering::{Pace, paced};

use crate::world::{Origin, World, caller, next, whole};

const CHAT: &str = "/v1/chat/completions";
const ASK: &str = "{\"model\":\"m\",\"stream\":true}";

fn piece(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

#[tokio::test]
async fn a_client_that_goes_away_lets_the_origin_go_and_is_settled() {
    let world = World::new("");
    let (_, call) = world.begin(&caller("a"), CHAT, ASK).await.expect("let through");
    let (origin, response) = Origin::stream();
    let mut body = call.answer(response).into_body();
    for _ in 0..10 {
        origin.say(piece("five words are written here "));
        next(&mut body).await.expect("more");
    }
    assert!(!origin.is_gone());
    drop(body);
    assert!(origin.is_gone(), "at once");
    world.metering.settled().await;
    let totals = world.ledger.totals();
    assert_eq!((totals.settled, totals.estimated, totals.open), (1, 1, 0));
    assert_eq!(totals.usage.output, 70, "28 bytes a piece");
}

#[tokio::test]
async fn the_providers_word_counts_where_it_came_before_the_client_went() {
    let world = World::new("");
    let (_, call) = world.begin(&caller("a"), "/v1/messages", ASK).await.expect("let through");
    let (origin, response) = Origin::stream();
    let mut body = call.answer(response).into_body();
    origin.say("data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":77,\"output_tokens\":1}}}\n\n");
    origin.say("data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"four four\"}}\n\n");
    next(&mut body).await.expect("more");
    next(&mut body).await.expect("more");
    drop(body);
    world.metering.settled().await;
    let totals = world.ledger.totals();
    assert_eq!((totals.usage.input, totals.usage.output, totals.estimated), (77, 3, 1), "the question exactly");
}

#[tokio::test]
async fn each_piece_passes_before_the_next_has_come() {
    for ask in [ASK, "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}"] {
        let world = World::new("");
        let (_, call) = world.begin(&caller("a"), CHAT, ask).await.expect("let through");
        let (origin, response) = Origin::stream();
        let mut body = call.answer(response).into_body();
        for number in 0..5 {
            let said = piece(&number.to_string());
            origin.say(said.clone());
            assert_eq!(next(&mut body).await, Some(said));
        }
    }
}

#[tokio::test]
async fn an_origin_that_breaks_off_is_seen_to_and_settled() {
    let world = World::new("");
    let (_, call) = world.begin(&caller("a"), CHAT, ASK).await.expect("let through");
    let (origin, response) = Origin::stream();
    let mut body = call.answer(response).into_body();
    origin.say(piece("text"));
    origin.breaks();
    assert!(next(&mut body).await.is_some());
    assert_eq!(next(&mut body).await, None, "an error, not an end");
    drop(body);
    world.metering.settled().await;
    assert_eq!(world.ledger.totals().estimated, 1);
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_between_events_only() {
    let world = World::new("heartbeat_ms = 20");
    let (_, call) = world.begin(&caller("a"), CHAT, ASK).await.expect("let through");
    let (origin, response) = Origin::stream();
    let mut body = call.answer(response).into_body();
    for _ in 0..3 {
        assert_eq!(next(&mut body).await.as_deref(), Some(":\n\n"));
    }
    let said = piece("text");
    let (begin, end) = said.split_at(20);
    origin.say(begin.to_owned());
    let late = tokio::time::timeout(Duration::from_millis(200), next(&mut body)).await;
    assert!(late.is_err(), "an event is half there: {late:?}");
    origin.say(end.to_owned());
    assert_eq!(next(&mut body).await, Some(said));
    assert_eq!(next(&mut body).await.as_deref(), Some(":\n\n"));
}

#[tokio::test]
async fn an_origin_that_falls_silent_is_given_up() {
    for (path, inside) in [(CHAT, false), ("/v1/messages", false), ("/v1/messages", true)] {
        let world = World::new("stall_ms = 50");
        let (_, call) = world.begin(&caller("a"), path, ASK).await.expect("let through");
        let (origin, response) = Origin::stream();
        let mut body = call.answer(response).into_body();
        let said = piece("text");
        origin.say(said[..if inside { 20 } else { said.len() }].to_owned());
        next(&mut body).await.expect("what came");
        let last = next(&mut body).await;
        assert_eq!(last.is_none(), inside, "within an event nothing can be said: {last:?}");
        assert!(last.is_none_or(|last| last.contains("gateway.stream_stalled")));
        assert!(origin.is_gone());
        assert_eq!(next(&mut body).await, None);
        world.metering.settled().await;
        assert_eq!(world.ledger.totals().estimated, 1);
    }
}

#[tokio::test]
async fn any_event_stream_can_be_kept_alive_and_no_other_body() {
    let pace = Pace { heartbeat: Some(Duration::from_millis(20)), stall: None };
    let (origin, response) = Origin::stream();
    let mut body = paced(response, pace).into_body();
    assert_eq!(next(&mut body).await.as_deref(), Some(":\n\n"));
    origin.say("data: 1\n\n");
    assert_eq!(next(&mut body).await.as_deref(), Some("data: 1\n\n"));
    drop(origin);
    let (origin, response) = Origin::new("application/json");
    let response = paced(response, pace);
    origin.say("{}");
    drop(origin);
    assert_eq!(whole(response).await, "{}");
}
