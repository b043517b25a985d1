//! What providers write is counted exactly, however it is cut, and passes unchanged.

use metering::{Counts, Totals, Usage};

use crate::world::{World, answer, caller, whole};

const CHAT: &str = concat!(
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hal\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    ": keep-alive\n\n",
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
);
const CHAT_USAGE: &str = "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":1200,\"completion_tokens\":345,\"total_tokens\":1545,\"prompt_tokens_details\":{\"cached_tokens\":200},\"completion_tokens_details\":null}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const RESPONSES: &str = concat!(
    "event: response.created\r\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"usage\":null}}\r\n\r\n",
    "event: response.output_text.delta\r\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hallo\"}\r\n\r\n",
    "event: response.completed\r\ndata: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"content\":[{\"text\":\"Hallo\"}]}],\"usage\":{\"input_tokens\":1200,\"input_tokens_details\":{\"cached_tokens\":200},\"output_tokens\":345,\"total_tokens\":1545}}}\r\n\r\n",
);
const ANTHROPIC: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":700,\"cache_creation_input_tokens\":300,\"cache_read_input_tokens\":200,\"output_tokens\":1}}}\n\n",
    "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hallo\"}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":345}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

const OPENAI_USED: Usage = Usage { input: 1_000, cached: 200, cache_write: 0, output: 345 };
const PRICES: &str = "[[prices]]\nmodel = \"m\"\ninput_nano_per_million = 2_500_000_000\n\
    cached_nano_per_million = 1_250_000_000\noutput_nano_per_million = 10_000_000_000\n";

const ASKING: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
const NOT_ASKING: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;

async fn passes(path: &str, request: &str, parts: &[&[u8]]) -> (String, Totals, Counts) {
    let world = World::new(PRICES);
    let (_, call) = world.begin(&caller("a"), path, request).await.expect("let through");
    let text = whole(call.answer(answer("text/event-stream", parts))).await;
    world.metering.settled().await;
    (text, world.ledger.totals(), world.metering.counts())
}

#[tokio::test]
async fn a_stream_is_counted_exactly_and_passes_unchanged_however_it_is_cut() {
    let chat = [CHAT, CHAT_USAGE, DONE].concat();
    let anthropic_used = Usage { input: 700, cached: 200, cache_write: 300, output: 345 };
    for (path, stream, used) in [
        ("/v1/chat/completions", chat.as_str(), OPENAI_USED),
        ("/v1/responses", RESPONSES, OPENAI_USED),
        ("/v1/messages", ANTHROPIC, anthropic_used),
    ] {
        let bytes = stream.as_bytes();
        let mut cuts: Vec<Vec<&[u8]>> = (0..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]).collect();
        cuts.push(bytes.chunks(1).collect());
        cuts.push(bytes.chunks(7).collect());
        for parts in cuts {
            let (text, totals, counts) = passes(path, ASKING, &parts).await;
            assert_eq!(text, stream, "{path}");
            assert_eq!((totals.usage, totals.settled, totals.estimated), (used, 1, 0), "{path}");
            assert_eq!((totals.open, counts.settled), (0, [1, 0]));
        }
    }
}

#[tokio::test]
async fn the_usage_that_only_the_gateway_asked_for_is_taken_out_again() {
    let stream = [CHAT, CHAT_USAGE, DONE].concat();
    let expected = [CHAT, DONE].concat();
    let bytes = stream.as_bytes();
    for at in 0..=bytes.len() {
        let (text, totals, _) = passes("/v1/chat/completions", NOT_ASKING, &[&bytes[..at], &bytes[at..]]).await;
        assert_eq!(text, expected, "cut at {at}");
        assert_eq!((totals.usage, totals.cost_nano), (OPENAI_USED, 2_500_000 + 250_000 + 3_450_000));
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(passes("/v1/chat/completions", NOT_ASKING, &single).await.0, expected);
}

#[tokio::test]
async fn a_request_is_changed_only_where_usage_has_to_be_asked_for() {
    let world = World::new("");
    for (path, text, added) in [
        ("/v1/chat/completions", NOT_ASKING, true),
        ("/v1/chat/completions", ASKING, false),
        ("/v1/chat/completions", r#"{"model":"m"}"#, false),
        ("/v1/messages", NOT_ASKING, false),
        ("/v1/responses", NOT_ASKING, false),
    ] {
        let (request, call) = world.begin(&caller("a"), path, text).await.expect("let through");
        assert_eq!(request.headers()["accept-encoding"], "identity");
        let length = request.headers()["content-length"].to_str().expect("text").to_owned();
        let sent = web::bytes_within(request.into_body(), 1 << 20).await.expect("a body");
        assert_eq!(length, sent.len().to_string());
        assert_eq!(sent != text.as_bytes(), added, "{path} {text}");
        assert_eq!(String::from_utf8_lossy(&sent).contains("include_usage\":true"), added || text == ASKING);
        call.release();
    }
    let plain = World::new("ask_for_usage = false");
    let (request, _call) = plain.begin(&caller("a"), "/v1/chat/completions", NOT_ASKING).await.expect("let through");
    assert_eq!(web::bytes_within(request.into_body(), 1 << 20).await.expect("a body"), NOT_ASKING.as_bytes());
}

#[tokio::test]
async fn a_whole_answer_is_counted_and_passes_unchanged() {
    let body = r#"{"id":"c","choices":[{"message":{"content":"Hallo"}}],"usage":{"prompt_tokens":1200,"completion_tokens":345,"prompt_tokens_details":{"cached_tokens":200}}}"#;
    let world = World::new(PRICES);
    let parts: Vec<&[u8]> = body.as_bytes().chunks(5).collect();
    let (_, call) = world.begin(&caller("a"), "/v1/chat/completions", r#"{"model":"m"}"#).await.expect("let through");
    assert_eq!(whole(call.answer(answer("application/json", &parts))).await, body);
    world.metering.settled().await;
    assert_eq!((world.ledger.totals().usage, world.ledger.totals().estimated), (OPENAI_USED, 0));

    // Whole, of a known length: hyper asks such a body for its one frame only.
    let (_, call) = world.begin(&caller("a"), "/v1/chat/completions", r#"{"model":"m"}"#).await.expect("let through");
    let response = http::Response::builder().header("content-type", "application/json");
    let mut answered = call.answer(response.body(axum::body::Body::from(body)).expect("a response"));
    assert!(crate::world::next(answered.body_mut()).await.is_some());
    drop(answered);
    world.metering.settled().await;
    assert_eq!((world.ledger.totals().settled, world.ledger.totals().estimated), (2, 0));
}

#[tokio::test]
async fn what_the_provider_does_not_say_is_estimated_and_called_so() {
    for (kind, body, output) in [
        ("application/json", "{\"choices\":[{\"message\":{\"content\":\"Hallo\"}}]}", 12),
        ("text/event-stream", CHAT, 2),
        ("application/json", "", 0),
        ("text/plain", "not what was expected", 6),
    ] {
        let world = World::new(PRICES);
        let (_, call) = world.begin(&caller("a"), "/v1/chat/completions", NOT_ASKING).await.expect("let through");
        let _ = whole(call.answer(answer(kind, &[body.as_bytes()]))).await;
        world.metering.settled().await;
        let totals = world.ledger.totals();
        assert_eq!((totals.settled, totals.estimated, totals.usage.output), (1, 1, output), "{body}");
        assert!(totals.usage.input > 0, "the question was read");
    }
}

#[tokio::test]
async fn a_call_that_failed_or_was_never_sent_costs_nothing() {
    let world = World::new(PRICES);
    for status in [400, 401, 429, 500, 503] {
        let (_, call) = world.begin(&caller("a"), "/v1/chat/completions", NOT_ASKING).await.expect("let through");
        let mut failed = answer("application/json", &[b"{\"error\":{}}"]);
        *failed.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        assert_eq!(whole(call.answer(failed)).await, "{\"error\":{}}");
    }
    let (_, call) = world.begin(&caller("a"), "/v1/chat/completions", NOT_ASKING).await.expect("let through");
    call.release();
    world.metering.settled().await;
    assert_eq!(world.ledger.totals(), Totals::default());
    // Sent, and nobody waited for the answer: the origin has read it.
    drop(world.begin(&caller("a"), "/v1/chat/completions", NOT_ASKING).await.expect("let through"));
    world.metering.settled().await;
    assert_eq!((world.ledger.totals().estimated, world.ledger.totals().usage.output), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_metered_is_refused() {
    let world = World::new("max_request_bytes = 100");
    let long = format!("{{\"model\":\"{}\"}}", "m".repeat(100));
    for (kind, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "{\"max_tokens\":1,\"max_tokens\":9}", 400),
        ("application/json", long.as_str(), 413),
        ("multipart/form-data", "{}", 415),
        ("text/plain", "{}", 415),
    ] {
        let request = http::Request::post("/v1/chat/completions").header("content-type", kind);
        let request = request.body(axum::body::Body::from(body.to_owned())).expect("a request");
        let refused = world.metering.begin(&world.plan, caller("a"), request).await.expect_err(body);
        assert_eq!(refused.status(), status, "{kind} {body}");
    }
    let models = http::Request::get("/v1/models").body(axum::body::Body::empty()).expect("a request");
    let (_, call) = world.metering.begin(&world.plan, caller("a"), models).await.expect("let through");
    assert_eq!(whole(call.answer(answer("application/json", &[b"{}"]))).await, "{}");
    assert_eq!(world.ledger.totals(), Totals::default());
}
