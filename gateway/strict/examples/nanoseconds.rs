//! What the scanner costs for one request: `cargo run --release -p strict_http --example nanoseconds`. Not a
//! measure of the gateway.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strict_http::{Config, Scanner};

const ROUNDS: u32 = 500_000;

fn main() {
    let browser = "GET /api/inventory/items?limit=50&cursor=abc HTTP/1.1\r\nHost: shop.example:8080\r\n\
                   User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101\r\nAccept: application/json\r\n\
                   Accept-Encoding: gzip, br\r\nAuthorization: Bearer 0123456789012345678901234567890123456789\r\n\
                   Connection: keep-alive\r\nX-Request-Id: 01J\r\n\r\n";
    let wrk = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
    let length = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1_000));
    let chunks = format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        format!("64\r\n{}\r\n", "x".repeat(100)).repeat(10)
    );
    for (name, request) in
        [("ordinary", browser), ("shortest", wrk), ("with a length", &length), ("in chunks", &chunks)]
    {
        let mut scanner = Scanner::new(Arc::new(Config::default()));
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let began = Instant::now();
            for _ in 0..ROUNDS {
                assert_eq!(scanner.scan(black_box(request.as_bytes())).pass, request.len());
            }
            best = best.min(began.elapsed());
        }
        println!("{name}: {} bytes, {} ns", request.len(), (best / ROUNDS).as_nanos());
    }
}
