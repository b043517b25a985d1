//! The handshake: what is passed on, what is refused, and that nothing passes before the origin's 101.

use tokio::io::AsyncWriteExt as _;
use ws_proxy::Config;

use crate::world::{KEY, MASK, World, frame};

#[tokio::test]
async fn a_handshake_is_passed_on_whole_and_answered_whole() {
    let world = World::new(Config::default()).await;
    let mut client = world
        .ask("Sec-WebSocket-Protocol: chat, two\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX-Own: 1\r\n")
        .await;
    let (mut origin, head) = world.asked().await;
    let lower = head.to_ascii_lowercase();
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: chat, two",
        "sec-websocket-extensions: permessage-deflate",
        "x-own: 1",
    ] {
        assert!(lower.contains(line), "{head}");
    }
    assert!(head.contains(KEY));
    origin.agree("Sec-WebSocket-Protocol: two\r\nSec-WebSocket-Extensions: permessage-deflate\r\n").await;
    let head = client.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("sec-websocket-protocol: two"), "{head}");
    // Compressed, as agreed.
    client.say(&frame(0xc1, b"xy", MASK)).await;
    assert_eq!(origin.hear(8).await, frame(0xc1, b"xy", MASK));
}

#[tokio::test]
async fn without_the_origins_101_nothing_that_the_client_sent_behind_reaches_it() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno",
    ] {
        let world = World::new(Config::default()).await;
        let mut client = world.ask("").await;
        // Frames, or a request, that come too early.
        client.say(b"GET /admin HTTP/1.1\r\nHost: here.test\r\n\r\n").await;
        client.say(&frame(0x81, b"early", MASK)).await;
        let (mut origin, _) = world.asked().await;
        origin.say(answer.as_bytes()).await;
        let head = client.head().await;
        assert_eq!(head[..12], answer[..12], "an ordinary answer");
        assert!(head.to_ascii_lowercase().contains("close"), "{head}");
        assert_eq!(client.hear(2).await, b"no");
        let _ = client.stream.shutdown().await;
        assert!(origin.rest().await.is_empty(), "not one byte");
        assert_eq!(world.proxy.sockets.counts().opened, 0);
    }
}

#[tokio::test]
async fn early_frames_wait_for_the_101() {
    let world = World::new(Config::default()).await;
    let mut client = world.ask("").await;
    client.say(&frame(0x81, b"early", MASK)).await;
    let (mut origin, _) = world.asked().await;
    origin.agree("").await;
    assert_eq!(origin.hear(11).await, frame(0x81, b"early", MASK));
}

#[tokio::test]
async fn an_answer_that_does_not_belong_to_the_question_is_the_origins_fault() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ] {
        let world = World::new(Config::default()).await;
        let mut client = world.ask("").await;
        let (mut origin, _) = world.asked().await;
        origin.say(answer.as_bytes()).await;
        assert!(client.head().await.starts_with("HTTP/1.1 502"));
        assert!(origin.rest().await.is_empty());
    }
}

#[tokio::test]
async fn who_may_not_is_refused_before_the_origin_hears_of_it() {
    let world = World::new(Config { max_per_address: 1, ..Config::default() }).await;
    let mut foreign = world.ask("Origin: https://evil.test\r\n").await;
    assert!(foreign.head().await.starts_with("HTTP/1.1 403"));
    let mut old = world.ask("Sec-WebSocket-Version: 8\r\n").await;
    let head = old.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 426") && head.contains("sec-websocket-version: 13"), "{head}");
    let (_client, _origin) = world.open().await;
    let mut second = world.ask("Origin: http://here.test\r\n").await;
    assert!(second.head().await.starts_with("HTTP/1.1 429"));
    assert_eq!(world.proxy.sockets.counts().refused, 1);
}
