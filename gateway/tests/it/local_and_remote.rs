//! A service in another process cannot be told from one in this process, to the byte: answers, failures,
//! deadlines, bodies that break off, clients that leave. Over real sockets, with handlers that do what no
//! service of ours does. The services themselves are compared in the binary's tests.

use std::time::{Duration, Instant};

use crate::mounts::{LIMIT, Mounts, Wire, exchange, request};

/// Asks both doors, and returns the one answer.
async fn same(mounts: &Mounts, bytes: &[u8]) -> String {
    let (here, there) = tokio::join!(exchange(mounts.here.0, bytes), exchange(mounts.there.0, bytes));
    assert_eq!(here, there, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
    here
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_the_same_to_the_byte() {
    let mounts = Mounts::open(LIMIT);
    for (method, target, headers, body, expected) in [
        ("GET", "/hello?a=%20b", &[][..], "", "HTTP/1.1 200 OK"),
        ("HEAD", "/hello", &[], "", "HTTP/1.1 200 OK"),
        ("OPTIONS", "/hello", &[], "", "HTTP/1.1 204 No Content"),
        ("DELETE", "/hello", &[], "", "HTTP/1.1 405 Method Not Allowed"),
        ("GET", "/nowhere", &[], "", "HTTP/1.1 404 Not Found"),
        ("GET", "/empty", &[], "", "HTTP/1.1 204 No Content"),
        ("GET", "/unchanged", &["if-none-match: \"v1\""], "", "HTTP/1.1 304 Not Modified"),
        ("HEAD", "/large", &[], "", "content-length: 3145728"),
        ("GET", "/large", &["accept-encoding: gzip"], "", "xxx"),
        ("GET", "/moved", &[], "", "location: /hello?a=b#c"),
        ("GET", "/hints", &[], "", "link: </a>"),
        ("GET", "/fails", &[], "", "HTTP/1.1 500 Internal Server Error"),
        ("GET", "/busy", &[], "", "retry-after: 1"),
        ("POST", "/busy", &["idempotency-key: \"1\"", "content-length: 1"], "x", "probe.busy"),
        ("GET", "/panics", &[], "", "HTTP/1.1 500 Internal Server Error"),
        ("POST", "/reads", &["content-length: 5"], "12345", "\r\n\r\n5"),
        ("POST", "/reads", &["transfer-encoding: chunked"], "3\r\nabc\r\n0\r\n\r\n", "\r\n\r\n3"),
        ("POST", "/reads", &["content-length: 2", "expect: 100-continue"], "12", "HTTP/1.1 100 Continue"),
        ("POST", "/echo", &["content-length: 3"], "abc", "abc"),
        ("POST", "/declines", &["content-length: 3"], "abc", "probe.declined"),
        ("GET", "/hello", &["accept: application/problem+json", "range: bytes=0-1"], "", "hello"),
    ] {
        let answer = same(&mounts, &request(method, target, headers, body)).await;
        assert!(answer.contains(expected), "{method} {target}: {answer}");
    }
    for told in mounts.both().map(|(_, told)| told) {
        // What a handler refuses for the moment is not asked again behind the client's back.
        assert_eq!((told.of("asked /busy"), told.of("asked /fails")), (2, 1));
    }
    mounts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_fails_and_fails_answers_each_time() {
    let mounts = Mounts::open(Duration::from_millis(40));
    for path in ["/fails", "/busy", "/waits"] {
        let first = same(&mounts, &request("GET", path, &[], "")).await;
        for _ in 0..60 {
            let next = same(&mounts, &request("GET", path, &[], "")).await;
            assert_eq!(next, first);
        }
    }
    mounts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_says_the_same_of_the_same() {
    let mounts = Mounts::open(Duration::from_millis(300));
    let half = ["content-length: 10"];
    for (method, path, headers, body, status, code) in [
        // The handler keeps it waiting.
        ("GET", "/waits", &[][..], "", 504, "gateway.timeout"),
        ("POST", "/waits", &["content-length: 3"], "abc", 504, "gateway.timeout"),
        ("POST", "/works", &["content-length: 3", "idempotency-key: \"1\""], "abc", 504, "gateway.timeout"),
        // The client does.
        ("POST", "/reads", &half, "abc", 408, "request.body_timeout"),
        ("POST", "/reads", &["transfer-encoding: chunked"], "3\r\nabc\r\n", 408, "request.body_timeout"),
        ("POST", "/reads", &["transfer-encoding: chunked"], "", 408, "request.body_timeout"),
        // It does too, but nobody waits for it.
        ("POST", "/ignores", &half, "abc", 504, "gateway.timeout"),
    ] {
        let began = Instant::now();
        let answer = same(&mounts, &request(method, path, headers, body)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code), "{path}: {answer}");
        assert!(began.elapsed() >= Duration::from_millis(290), "{path} had {:?}", began.elapsed());
    }
    for told in mounts.both().map(|(_, told)| told) {
        // What only reads ends with its request; what may change something ends by itself.
        told.until("dropped", 1).await;
        assert_eq!(told.of("asked /works"), 1, "not asked again");
        told.go.add_permits(1);
        told.until("worked", 1).await;
    }
    mounts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_is_never_a_whole_answer() {
    let mounts = Mounts::open(LIMIT);
    for path in ["/breaks", "/breaks-sized"] {
        let answer = same(&mounts, &request("GET", path, &[], "")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("half"), "{answer}");
        assert!(!answer.contains("0\r\n\r\n"), "the last chunk is there: {answer}");
    }
    mounts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_ends_what_only_reads() {
    let mounts = Mounts::open(LIMIT);
    for (address, told) in mounts.both() {
        let mut waits = Wire::open(*address).await;
        waits.send(&request("GET", "/waits", &[], "")).await;
        told.until("asked /waits", 1).await;
        drop(waits);
        told.until("dropped", 1).await;

        let mut stream = Wire::open(*address).await;
        stream.send(&request("GET", "/stream", &[], "")).await;
        stream.until("data: 1").await;
        assert_eq!(told.of("stream dropped"), 0);
        drop(stream);
        told.until("stream dropped", 1).await;

        let mut uploads = Wire::open(*address).await;
        uploads.send(&request("POST", "/reads", &["content-length: 10"], "abc")).await;
        told.until("asked /reads", 1).await;
        drop(uploads);
        told.until("broken off", 1).await;

        // A change is made to its end.
        let mut works = Wire::open(*address).await;
        works.send(&request("POST", "/works", &["content-length: 3"], "abc")).await;
        told.until("asked /works", 1).await;
        drop(works);
        told.go.add_permits(1);
        told.until("worked", 1).await;
        assert_eq!(told.of("dropped"), 1);
    }
    mounts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_passes_as_it_comes() {
    let mounts = Mounts::open(LIMIT);
    for (address, _) in mounts.both() {
        let mut wire = Wire::open(*address).await;
        wire.send(&request("POST", "/echo", &["transfer-encoding: chunked"], "")).await;
        for part in ["first", "other", "again"] {
            wire.send(format!("5\r\n{part}\r\n").as_bytes()).await;
            wire.until(part).await;
        }
        wire.send(b"0\r\n\r\n").await;
        assert!(wire.rest().await.ends_with("0\r\n\r\n"), "and ends with it");
    }
    mounts.stop().await;
}
