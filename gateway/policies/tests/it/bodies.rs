//! Bodies that are counted and changed on their way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use kernel::Timestamp;
use policies::{
    BodyFault, BodyLimit, BodyLimitConfig, HeadLimit, HeadLimitConfig, Prepared, RequestTransform, ResponseTransform,
    Values,
};

/// A body in chunks of unknown length, which tells when it is let go.
struct Chunks(VecDeque<Bytes>, Option<HeaderMap>, Arc<AtomicBool>);

impl Chunks {
    fn body(text: &str, size: usize) -> (Body, Arc<AtomicBool>) {
        let gone = Arc::<AtomicBool>::default();
        let chunks = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-trailer", http::HeaderValue::from_static("1"));
        (Body::new(Self(chunks, Some(trailers), gone.clone())), gone)
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.2.store(true, Ordering::SeqCst);
    }
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let next = self.0.pop_front().map(Frame::data).or_else(|| self.1.take().map(Frame::trailers));
        Poll::Ready(next.map(Ok))
    }
}

async fn read(body: Body) -> Result<(String, bool), BodyFault> {
    match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().is_some();
            Ok((String::from_utf8(collected.to_bytes().to_vec()).expect("UTF-8"), trailers))
        }
        Err(error) => Err(BodyFault::behind(&error).expect("a fault of ours")),
    }
}

fn limit(request: Option<u64>, response: Option<u64>) -> BodyLimit {
    BodyLimit::compile(&BodyLimitConfig { request_bytes: request, response_bytes: response })
}

#[tokio::test]
async fn a_request_is_refused_by_its_length_or_ended_where_it_is_too_long() {
    let limits = limit(Some(10), None);
    for (length, refused) in [("10", false), ("11", true), ("18446744073709551615", true)] {
        let request = Request::builder().header("content-length", length).body(Body::from("x")).expect("a request");
        match limits.request(request) {
            Ok((_, watch)) => assert!(!refused && watch.is_none(), "{length}: nothing to count"),
            Err(error) => assert!(refused && error.status() == 413 && error.code() == "gateway.body_too_large"),
        }
    }
    for (text, size, passes) in [("0123456789", 3, true), ("0123456789a", 3, false), ("0123456789a", 100, false)] {
        let (body, gone) = Chunks::body(text, size);
        let (request, watch) = limits.request(Request::new(body)).expect("taken");
        let watch = watch.expect("counted");
        let mut body = request.into_body();
        let mut got = 0;
        let fault = loop {
            match body.frame().await {
                Some(Ok(frame)) => got += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(error)) => break BodyFault::behind(&error),
                None => break None,
            }
        };
        assert_eq!(fault, (!passes).then_some(BodyFault::RequestTooLarge(10)), "{text}");
        assert_eq!(watch.fault(), fault);
        assert!(got <= 10 && gone.load(Ordering::SeqCst) != passes, "the sender is let go at once");
    }
    let (untouched, watch) = limits.request(Request::new(Body::empty())).expect("taken");
    assert!(watch.is_none() && http_body::Body::is_end_stream(untouched.body()));
    let two = Request::builder().header("content-length", "3").header("content-length", "99");
    let (_, watch) = limits.request(two.body(Chunks::body("x", 1).0).expect("a request")).expect("counted");
    assert!(watch.is_some(), "two lengths are none");
}

#[tokio::test]
async fn an_answer_may_be_too_large_too() {
    let limits = limit(None, Some(4));
    let answer = |length: Option<&str>, status: u16| {
        let mut response = Response::builder().status(status);
        if let Some(length) = length {
            response = response.header("content-length", length);
        }
        response.body(Chunks::body("12345", 2).0).expect("a response")
    };
    let error = limits.response(&Method::GET, answer(Some("5"), 200)).map(drop).expect_err("too large");
    assert_eq!((error.code(), error.status()), ("gateway.response_too_large", 502));
    assert!(limits.response(&Method::HEAD, answer(Some("5"), 200)).is_ok(), "there is no body");
    assert!(limits.response(&Method::GET, answer(Some("5"), 304)).is_ok());
    let streamed = limits.response(&Method::GET, answer(None, 200)).expect("not known yet");
    assert_eq!(read(streamed.into_body()).await, Err(BodyFault::ResponseTooLarge(4)));
}

#[test]
fn heads_may_be_too_large() {
    let config = HeadLimitConfig { header_count: Some(3), header_bytes: Some(200), header_value_bytes: Some(50) };
    let limits = HeadLimit::compile(&config);
    let check = |pairs: &[(&'static str, usize)]| {
        let mut headers = HeaderMap::new();
        for (name, length) in pairs {
            headers.append(HeaderName::from_static(name), "v".repeat(*length).parse().expect("a value"));
        }
        limits.check(&headers).map_err(|error| (error.code(), error.status()))
    };
    let refused = Err(("gateway.headers_too_large", 431));
    assert_eq!(check(&[("a", 50), ("a", 50), ("b", 1)]), Ok(()));
    assert_eq!(check(&[("a", 51)]), refused);
    assert_eq!(check(&[("a", 1), ("a", 1), ("a", 1), ("a", 1)]), refused);
    assert_eq!(check(&[("a", 50), ("b", 50), ("c", 50)]), refused);
}

fn response_transform(text: &str) -> ResponseTransform {
    ResponseTransform::compile(&toml::from_str(text).expect("TOML")).expect("compiles")
}

fn prepared(transform: &ResponseTransform) -> Prepared {
    transform.prepare(&Values::empty(&HeaderMap::new(), Timestamp(0)))
}

fn json_answer(status: u16, headers: &[(&str, &str)]) -> Response<Body> {
    let mut response = Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Chunks::body(r#"{"a":1,"b":[2]}"#, 4).0).expect("a response")
}

#[tokio::test]
async fn the_json_of_an_answer_is_changed_with_all_that_describes_it() {
    let transform = response_transform("json.remove = ['a']\nheaders.remove = ['server']");
    let sent = [
        ("content-length", "15"),
        ("etag", "\"v1\""),
        ("accept-ranges", "bytes"),
        ("content-digest", "sha-256=:x:"),
        ("server", "toy/1.0"),
        ("x-other", "1"),
    ];
    for (method, status) in [(Method::GET, 200), (Method::HEAD, 200), (Method::GET, 304)] {
        let answer = transform.apply(&method, prepared(&transform), json_answer(status, &sent)).expect("applies");
        let mut left: Vec<&str> = answer.headers().keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "etag", "x-other"], "{method} {status}");
        assert_eq!(answer.headers()["etag"], "W/\"v1\"");
        if method == Method::GET && status == 200 {
            assert_eq!(read(answer.into_body()).await, Ok((r#"{"b":[2]}"#.to_owned(), true)));
        }
    }
    let weak = transform.apply(&Method::GET, prepared(&transform), json_answer(200, &[("etag", "W/\"v\"")]));
    assert_eq!(weak.expect("applies").headers()["etag"], "W/\"v\"");
    let dropping = response_transform("json.remove = ['a']\netag = 'drop'");
    let answer = dropping.apply(&Method::GET, prepared(&dropping), json_answer(200, &sent)).expect("applies");
    assert!(!answer.headers().contains_key("etag"));
}

#[tokio::test]
async fn what_is_not_for_changing_is_not_touched() {
    let transform = response_transform("json.remove = ['a']");
    let whole = r#"{"a":1,"b":[2]}"#;
    let length = [("content-length", "15"), ("etag", "\"v\"")];
    let error = transform.apply(&Method::GET, prepared(&transform), json_answer(404, &length)).expect("applies");
    assert_eq!(error.headers()["content-length"], "15");
    assert_eq!(read(error.into_body()).await.expect("a body").0, whole, "errors only where it is said");
    let of_errors = response_transform("json.remove = ['a']\njson_of_errors = true");
    let error = of_errors.apply(&Method::GET, prepared(&of_errors), json_answer(404, &[])).expect("applies");
    assert_eq!(read(error.into_body()).await.expect("a body").0, r#"{"b":[2]}"#);
    let mut html = json_answer(200, &length);
    html.headers_mut().insert("content-type", "text/html".parse().expect("a value"));
    let html = transform.apply(&Method::GET, prepared(&transform), html).expect("applies");
    assert_eq!(html.headers()["etag"], "\"v\"");
    assert_eq!(read(html.into_body()).await.expect("a body").0, whole);

    // Compressed although it was asked not to be: it fails, or passes where that is said.
    for encoded in [json_answer(200, &[("content-encoding", "gzip")]), json_answer(206, &[])] {
        let error = transform.apply(&Method::GET, prepared(&transform), encoded).map(drop).expect_err("refused");
        assert_eq!((error.code(), error.status()), ("gateway.invalid_upstream_json", 502));
    }
    let passing = response_transform("json = { remove = ['a'], on_invalid = 'pass' }");
    let gzip = json_answer(200, &[("content-encoding", "gzip"), ("content-length", "15")]);
    let gzip = passing.apply(&Method::GET, prepared(&passing), gzip).expect("applies");
    assert_eq!(gzip.headers()["content-length"], "15");

    let mut asked = HeaderMap::new();
    for (name, value) in [("accept-encoding", "gzip, br"), ("range", "bytes=0-1"), ("if-range", "\"v\"")] {
        asked.insert(name, value.parse().expect("a value"));
    }
    transform.ask(&mut asked);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked["accept-encoding"], "identity");
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_cut_off_or_passes_unchanged() {
    let broken = format!(r#"{{"a":1,"b":[{}], oops "c":2}}"#, "1, ".repeat(50) + "1");
    let answer = |text: &str, size| {
        let response = Response::builder().header("content-type", "application/problem+json");
        response.body(Chunks::body(text, size).0).expect("a response")
    };
    let failing = response_transform("json.remove = ['a']");
    let passing = response_transform("json = { remove = ['a'], on_invalid = 'pass' }");
    for size in [1, 7, 10_000] {
        let failed = failing.apply(&Method::GET, prepared(&failing), answer(&broken, size)).expect("applies");
        assert_eq!(read(failed.into_body()).await, Err(BodyFault::ResponseNotJson));
        for text in [broken.as_str(), &broken[..40], "not json", "{\"a\":1"] {
            let passed = passing.apply(&Method::GET, prepared(&passing), answer(text, size)).expect("applies");
            assert_eq!(read(passed.into_body()).await, Ok((text.to_owned(), true)), "unchanged");
        }
        let good = passing.apply(&Method::GET, prepared(&passing), answer(r#"{"a":1,"b":2}"#, size)).expect("applies");
        assert_eq!(read(good.into_body()).await.expect("a body").0, r#"{"b":2}"#);
        for transform in [&failing, &passing] {
            let empty = transform.apply(&Method::GET, prepared(transform), answer("", size)).expect("applies");
            assert_eq!(read(empty.into_body()).await.expect("a body").0, "");
        }
    }
    // Too long to be held back: what was removed stays removed.
    let long = format!(r#"{{"a":1,"b":"{}" oops"#, "x".repeat(200_000));
    let passed = passing.apply(&Method::GET, prepared(&passing), answer(&long, 8_192)).expect("applies");
    let text = read(passed.into_body()).await.expect("a body").0;
    assert!(text.starts_with(r#"{"b":"xxx"#) && text.ends_with("\"oops"), "{}", &text[text.len() - 20..]);
}

#[tokio::test]
async fn a_request_is_changed_before_it_goes_on() {
    let text = r#"
        headers.set = { "x-role" = "{role}" }
        headers.remove = ["cookie"]
        query.remove = ["debug"]
        query.set = { "tenant" = "{role}" }
        json = { remove = ["isAdmin"], set = { "meta.role" = "{role}" } }
    "#;
    let transform = RequestTransform::compile(&toml::from_str(text).expect("TOML")).expect("compiles");
    let request = |body: &str, encoding: Option<&str>| {
        let mut request = Request::post("/a?debug=1&x=2").header("content-type", "application/json");
        request = request.header("content-length", body.len()).header("x-role", "admin").header("cookie", "a=b");
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        request.body(Chunks::body(body, 3).0).expect("a request")
    };
    let prepare = || {
        let headers = HeaderMap::new();
        transform.prepare(&Values { role: Some("st\"aff"), ..Values::empty(&headers, Timestamp(0)) })
    };
    let (changed, watch) = transform.apply(prepare(), request(r#"{"isAdmin":true,"n":1}"#, None)).expect("applies");
    assert_eq!(changed.uri(), "/a?x=2&tenant=st%22aff");
    assert_eq!(changed.headers()["x-role"], "st\"aff");
    assert!(!changed.headers().contains_key("content-length") && !changed.headers().contains_key("cookie"));
    let body = read(changed.into_body()).await.expect("a body").0;
    assert_eq!(body, r#"{"n":1,"meta":{"role":"st\"aff"}}"#);
    assert_eq!(watch.expect("watched").fault(), None);

    let (cut, watch) = transform.apply(prepare(), request(r#"{"n":1"#, None)).expect("applies");
    assert_eq!(read(cut.into_body()).await, Err(BodyFault::RequestNotJson));
    let error = watch.and_then(|watch| watch.fault()).expect("told").error();
    assert_eq!((error.code(), error.status()), ("gateway.invalid_json", 400));
    let error = transform.apply(prepare(), request("x", Some("gzip"))).map(drop).expect_err("refused");
    assert_eq!((error.code(), error.status()), ("gateway.body_encoding_refused", 415));
    assert!(transform.apply(prepare(), request("{}", Some("identity"))).is_ok());
    let empty = Request::get("/").header("content-type", "application/json").body(Body::empty()).expect("a request");
    let (empty, watch) = transform.apply(prepare(), empty).expect("applies");
    assert!(watch.is_none() && http_body::Body::is_end_stream(empty.body()));
}
