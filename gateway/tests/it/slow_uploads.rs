//! Clients that trickle their bodies, many at a time: they take a part of what there is, and whoever is honest is
//! served meanwhile, by services of this process, of another one, and by upstreams. Not for how slow is too slow.

use std::net::SocketAddr;
use std::time::Duration;

use gateway::DoorConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;

use crate::front::{Front, Setting};
use crate::member;
use crate::mounts::{LIMIT, Mounts, Wire, request};

const IN_FLIGHT: DoorConfig = DoorConfig { in_flight: 16, timeout: LIMIT };

/// Sends a body byte by byte for ever; ends with what it is answered all the same.
async fn trickle(client: [u8; 4], at: SocketAddr, head: Vec<u8>) -> String {
    let mut wire = Wire::from(client, at).await;
    wire.send(&head).await;
    let (mut read, mut write) = wire.0.split();
    let mut answer = Vec::new();
    let heard = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut answer);
    tokio::select! {
        _ = heard => {}
        () = async {
            while write.write_all(b"1\r\nx\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            std::future::pending().await
        } => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn chunked(path: &str, headers: &[&str]) -> Vec<u8> {
    request("POST", path, &[headers, &["transfer-encoding: chunked"]].concat(), "")
}

/// Waits until all but so many were refused, and with what.
async fn refused(clients: &mut JoinSet<String>, but: usize, code: &str) {
    while clients.len() > but {
        let answer = tokio::time::timeout(LIMIT, clients.join_next()).await.expect("it is refused");
        let answer = answer.expect("a client").expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(code), "{answer}");
    }
}

async fn is_served(client: [u8; 4], at: SocketAddr, bytes: &[u8]) {
    let mut wire = Wire::from(client, at).await;
    wire.send(bytes).await;
    let answer = wire.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

const ELSEWHERE: [u8; 4] = [127, 0, 0, 200];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sender_holds_a_quarter_of_a_service_wherever_it_is() {
    let mounts = Mounts::with(IN_FLIGHT);
    for (address, told) in mounts.both() {
        let mut clients = JoinSet::new();
        for _ in 0..60 {
            clients.spawn(trickle([127, 0, 0, 1], *address, chunked("/reads", &[])));
        }
        refused(&mut clients, 4, "gateway.overloaded").await;
        told.until("asked /reads", 4).await;
        for _ in 0..20 {
            // Others with bodies and without, and the same with what has none.
            is_served(ELSEWHERE, *address, &request("POST", "/reads", &["content-length: 3"], "abc")).await;
            is_served(ELSEWHERE, *address, &request("GET", "/hello", &[], "")).await;
            is_served([127, 0, 0, 1], *address, &request("GET", "/hello", &[], "")).await;
        }
        // They hold what they held, and no more; when they go it is free.
        assert_eq!((clients.len(), told.of("asked /reads")), (4, 24));
        drop(clients);
        told.until("broken off", 4).await;
        is_served([127, 0, 0, 1], *address, &request("POST", "/reads", &["content-length: 3"], "abc")).await;
    }
    mounts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_leave_a_quarter_to_what_has_no_body() {
    let mounts = Mounts::with(IN_FLIGHT);
    for (address, told) in mounts.both() {
        let mut clients = JoinSet::new();
        for number in 0..60 {
            clients.spawn(trickle([127, 0, 0, 1 + number % 20], *address, chunked("/reads", &[])));
        }
        refused(&mut clients, 12, "gateway.overloaded").await;
        told.until("asked /reads", 12).await;
        for _ in 0..20 {
            is_served(ELSEWHERE, *address, &request("GET", "/hello", &[], "")).await;
        }
        assert_eq!(clients.len(), 12);
    }
    mounts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_trickles_leaves_another_its_upstream() {
    let declared = r#"
        [upstreams.wide]
        servers = ["http://ORIGIN"]
        [upstreams.narrow]
        servers = ["http://ORIGIN"]
        pool = { max_connections = 8, queue = 0 }
        bulkhead = { max_in_flight = 8, queue = 0 }
        [[routes]]
        path = "/wide"
        upstream = "wide"
        [[routes]]
        path = "/narrow"
        upstream = "narrow"
        [[routes]]
        path = "/fixed"
        respond = { body = "1" }
    "#;
    let origin = crate::front::Origin::default();
    let declared = declared.replace("ORIGIN", &origin.start().await.to_string());
    // Where the door is the narrow place, and where the upstream is.
    for (path, in_flight, held, code) in
        [("/wide", 16, 4, "gateway.overloaded"), ("/narrow", 4_096, 2, "gateway.upstream_busy")]
    {
        let front = Front::before(&declared, Setting { door: DoorConfig { in_flight, ..IN_FLIGHT }, ..Setting::default() });
        front.tokens.add("one", &member("tok_1"));
        front.tokens.add("other", &member("tok_2"));
        let (one, other) = ("authorization: Bearer one", "authorization: Bearer other");
        let mut clients = JoinSet::new();
        for number in 0..40 {
            // From as many addresses as it likes: it is one tenant.
            clients.spawn(trickle([127, 0, 0, 1 + number % 20], front.address, chunked(path, &[one])));
        }
        refused(&mut clients, held, code).await;
        for _ in 0..20 {
            for (who, method, target) in [
                (other, "POST", path),
                (other, "GET", path),
                (one, "GET", path),
                (one, "GET", "/fixed"),
                (other, "POST", "/wide"),
            ] {
                let length: &[&str] = if method == "POST" { &[who, "content-length: 3"] } else { &[who] };
                let body = if method == "POST" { "abc" } else { "" };
                is_served([127, 0, 0, 1], front.address, &request(method, target, length, body)).await;
            }
        }
        assert_eq!(clients.len(), held);
        drop(clients);
        front.stop().await;
    }
}
