//! Origins that break off, send garbage, too much, too early or nothing, through the whole gateway: each request
//! ends in a problem or in an answer that is seen to be cut, never in one that only looks whole. What the
//! client of an upstream makes of each is tested there.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::front::{Front, Setting};
use crate::mounts::{exchange, request};
use crate::raw_origin::{RawOrigin, Say};

const DECLARED: &str = r#"
[upstreams.hostile]
servers = ["http://ORIGIN"]
retry = { max_attempts = 3, backoff_ms = 1 }
breaker = { enabled = false }
[upstreams.calm]
servers = ["http://ORIGIN"]
retry = { max_attempts = 1 }
breaker = { enabled = false }
[caches.kept]
default_ttl_ms = 600000
[responses.marked]
headers = { set = { "x-marked" = "1" } }
[responses.fields]
json = { remove = ["secret"] }
[compositions.both.parts.half]
path = "/plain/half"
[compositions.some.parts.half]
path = "/plain/half"
mode = "optional"
[[routes]]
path = "/plain/{what}"
upstream = "hostile"
access = "public"
retry = true
timeout_ms = 1500
[[routes]]
path = "/kept/{what}"
upstream = "calm"
access = "public"
cache = "kept"
timeout_ms = 1500
[[routes]]
path = "/fields/{what}"
upstream = "calm"
access = "public"
response = "fields"
[[routes]]
path = "/marked/{what}"
upstream = "calm"
access = "public"
response = "marked"
[[routes]]
path = "/degraded/{what}"
upstream = "calm"
access = "public"
fallback = { body = "[]" }
[[routes]]
path = "/both"
composition = "both"
access = "public"
[[routes]]
path = "/some"
composition = "some"
access = "public"
"#;

/// How an answer ended, as a client sees it.
fn ended(answer: &str) -> String {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return format!("no answer: {answer:?}") };
    let status = head.split(' ').nth(1).unwrap_or_default();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    let whole = match (header("content-length"), header("transfer-encoding")) {
        (Some(length), None) => length.parse() == Ok(body.len()),
        (None, Some("chunked")) => body.ends_with("0\r\n\r\n"),
        (None, None) => matches!(status, "204" | "304"),
        _ => false,
    };
    if !whole {
        return format!("{status} cut");
    }
    match header("content-type") {
        Some("application/problem+json") => {
            let problem: Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(problem["status"].to_string(), status, "{problem}");
            assert!(problem["requestId"] == "one-request" && problem["detail"].is_string(), "{problem}");
            format!("{status} {}", problem["code"].as_str().expect("a code"))
        }
        _ => format!("{status} whole"),
    }
}

async fn open() -> (RawOrigin, Front) {
    let origin = RawOrigin::default();
    let at = origin.start().await;
    (origin, Front::before(&DECLARED.replace("ORIGIN", &at.to_string()), Setting::default()))
}

const OK: &str = "HTTP/1.1 200 OK\r\n";
const GARBAGE: &str = "502 gateway.upstream_protocol";
const BROKE_OFF: &str = "502 gateway.upstream_unreachable";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_origin_does_wrong_is_a_problem_or_a_cut_answer() {
    use Say::{Pause, Reset, Silence, Text, Times};
    let (origin, front) = open().await;
    for (script, expected) in [
        // Broken off before, in and after the head.
        (&[][..], BROKE_OFF),
        (&[Reset], BROKE_OFF),
        (&[Text("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n"), Pause], BROKE_OFF),
        (&[Text("HTTP/1.1 2"), Pause, Reset], BROKE_OFF),
        (&[Text(OK), Text("content-length: 10\r\n\r\nhalf"), Pause], "200 cut"),
        (&[Text(OK), Text("content-length: 10\r\n\r\n"), Pause], "200 cut"),
        (&[Text(OK), Text("content-length: 10\r\n\r\nhalf"), Pause, Reset], "200 cut"),
        (&[Text(OK), Text("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"), Pause], "200 cut"),
        (&[Text(OK), Text("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"), Pause, Reset], "200 cut"),
        (&[Text(OK), Text("transfer-encoding: chunked\r\n\r\n9\r\nhalf"), Pause], "200 cut"),
        (&[Text(OK), Text("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n"), Pause], "200 cut"),
        (&[Text(OK), Text("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"), Pause], "200 cut"),
        (&[Text(OK), Text("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n"), Pause], "200 cut"),
        (&[Text(OK), Text("transfer-encoding: chunked\r\n\r\n-4\r\nhalf\r\n0\r\n\r\n"), Pause], "200 cut"),
        // No HTTP, or no answer.
        (&[Text("SSH-2.0-OpenSSH_9.2\r\n\r\n")], GARBAGE),
        (&[Text("\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n")], GARBAGE),
        (&[Text("GET / HTTP/1.1\r\nhost: x\r\n\r\n")], GARBAGE),
        (&[Text("HTTP/1.1 999999 No\r\n\r\n")], GARBAGE),
        (&[Text("HTTP/1.1 20 Short\r\n\r\n")], GARBAGE),
        (&[Text("HTTP/3.7 200 OK\r\n\r\n")], GARBAGE),
        (&[Text(OK), Text("no colon\r\n\r\n")], GARBAGE),
        (&[Text(OK), Text("bad name: x\r\n\r\n")], GARBAGE),
        (&[Text(OK), Text("x-nul: a\u{0}b\r\n\r\n")], GARBAGE),
        (&[Text(OK), Text("content-length: 5\r\ncontent-length: 6\r\n\r\nhello")], GARBAGE),
        (&[Text(OK), Text("content-length: -5\r\n\r\nhello")], GARBAGE),
        (&[Text(OK), Text("content-length: 99999999999999999999\r\n\r\nhello")], GARBAGE),
        // Too much of it.
        (&[Text(OK), Times(101, "x-many: 1\r\n"), Text("content-length: 0\r\n\r\n")], GARBAGE),
        (&[Text(OK), Text("x-long: "), Times(200_000, "0123456789"), Text("\r\n\r\n"), Silence], GARBAGE),
        (&[Say::Endless("x")], GARBAGE),
        // Words in between.
        (&[Times(50, "HTTP/1.1 100 Continue\r\n\r\n"), Text(OK), Text("content-length: 2\r\n\r\nok")], "200 whole"),
        (&[Say::Endless("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")], "504 gateway.timeout"),
        (&[Text("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nraw")], GARBAGE),
        // Nothing, or next to nothing.
        (&[Silence], "504 gateway.timeout"),
        (&[Text("HTTP/1.1 200"), Silence], "504 gateway.timeout"),
        // Bodies where there is none.
        (&[Text("HTTP/1.1 204 No Content\r\n\r\nsmuggled")], "204 whole"),
        (&[Text("HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\nsmuggled")], "304 whole"),
        (&[Text(OK), Text("content-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\nsmuggled")], "200 whole"),
    ] {
        origin.script("/plain/x", script);
        let answer = exchange(front.address, &request("GET", "/plain/x", &[], "")).await;
        // What breaks before any of it has left is closed without a word.
        let cut_at_once = expected == "200 cut" && answer.trim().is_empty();
        assert!(ended(&answer) == expected || cut_at_once, "{script:?} is {}, not {expected}: {answer}", ended(&answer));
        assert!(!answer.contains("smuggled"), "{script:?}: {answer}");
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_not_made_twice_because_its_answer_broke_off() {
    let (origin, front) = open().await;
    let half = [Say::Text("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"), Say::Pause];
    for (script, method, expected, asked) in [
        (&[][..], "POST", BROKE_OFF, 1),
        (&[Say::Reset], "POST", BROKE_OFF, 1),
        (&half, "POST", "200 cut", 1),
        // What may be repeated is, until there is a head.
        (&[], "GET", BROKE_OFF, 3),
        (&half, "GET", "200 cut", 1),
    ] {
        let before = origin.asked("/plain/once");
        origin.script("/plain/once", script);
        let headers: &[&str] = if method == "POST" { &["content-length: 2"] } else { &[] };
        let body = if method == "POST" { "ab" } else { "" };
        let answer = exchange(front.address, &request(method, "/plain/once", headers, body)).await;
        assert_eq!((ended(&answer).as_str(), origin.asked("/plain/once") - before), (expected, asked), "{script:?}");
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_before_the_requests_end_arrives() {
    use Say::{Pause, Read, Text};
    let (origin, front) = open().await;
    let refused = "HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig";
    let body = "x".repeat(300_000);
    let length = format!("content-length: {}", body.len());
    for script in [&[Text(refused), Pause][..], &[Read(10), Text(refused), Pause], &[Text(refused), Say::Reset]] {
        origin.script("/plain/early", script);
        let answer = exchange(front.address, &request("POST", "/plain/early", &[&length], &body)).await;
        // A reset may overtake what came before it; then it is said that there is no answer.
        let resets = matches!(script, [.., Say::Reset]) && ended(&answer) == BROKE_OFF;
        assert!(ended(&answer) == "413 whole" || resets, "{script:?}: {answer}");
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_an_answer_is_neither_kept_nor_changed_into_a_whole_one() {
    let (origin, front) = open().await;
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let half = [Say::Text(json), Say::Text("content-length: 90\r\n\r\n{\"a\":1,\"secret\":2,"), Say::Pause];
    let chunked =
        [Say::Text(json), Say::Text("transfer-encoding: chunked\r\n\r\n12\r\n{\"a\":1,\"secret\":2,\r\n"), Say::Pause];
    for script in [&half, &chunked] {
        for path in ["/kept/half", "/fields/half", "/marked/half", "/degraded/half"] {
            origin.script(path, script);
            for round in 1..=2 {
                let answer = exchange(front.address, &request("GET", path, &[], "")).await;
                let ended = ended(&answer);
                assert!(["200 cut", "502 gateway.invalid_upstream_json"].contains(&ended.as_str()), "{path}: {answer}");
                assert!(path != "/fields/half" || !answer.contains("secret"), "{answer}");
                assert!(!answer.contains("portico; hit"), "round {round}, {path}: {answer}");
            }
        }
        // A part of an answer that is put together is missing, and said to be.
        origin.script("/plain/half", script);
        let answer = exchange(front.address, &request("GET", "/both", &[], "")).await;
        assert_eq!(ended(&answer), "502 gateway.part_failed", "{answer}");
        let answer = exchange(front.address, &request("GET", "/some", &[], "")).await;
        assert!(ended(&answer) == "200 whole" && answer.contains("gateway.part_cut_off"), "{answer}");
    }
    // When it comes whole, it is kept.
    origin.script("/kept/half", &[Say::Text("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]);
    for outcome in ["miss", "hit"] {
        let answer = exchange(front.address, &request("GET", "/kept/half", &[], "")).await;
        assert!(ended(&answer) == "200 whole" && (outcome == "miss" || answer.contains("portico; hit")), "{answer}");
    }
    assert_eq!(origin.asked("/kept/half"), 5);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_2_a_cut_answer_is_a_stream_error_and_the_others_go_on() {
    let (origin, front) = open().await;
    origin.script("/plain/half", &[Say::Text("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"), Say::Pause]);
    origin.script("/plain/whole", &[Say::Pause, Say::Text("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]);
    let client: Client<_, axum::body::Body> = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let ask = async |what: &str| {
        let uri = format!("http://{}/plain/{what}", front.address).parse().expect("a URI");
        let answer = tokio::time::timeout(Duration::from_secs(20), client.get(uri)).await.expect("in time");
        answer.expect("an answer").into_body().collect().await.map(|body| body.to_bytes())
    };
    for _ in 0..20 {
        let (half, whole) = tokio::join!(ask("half"), ask("whole"));
        assert!(half.is_err(), "{half:?}");
        assert_eq!(whole.expect("a whole answer"), "ok");
    }
    front.stop().await;
}
