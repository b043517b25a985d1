//! What the gateway itself says: to who breaks a rule, to who is silent, and when the time is over. Always between
//! frames, never in one.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Actor, PermissionSet, TenantId, UserId};
use web::{Connections, CredentialKind, Principal, Revocation};
use ws_proxy::{Config, Life, Reason};

use crate::world::{MASK, World, close, frame};

fn config() -> Config {
    Config { close_ms: 15_000, ..Config::default() }
}

/// Does not wait long for anybody.
fn hasty() -> Config {
    Config { close_ms: 300, ..Config::default() }
}

#[tokio::test]
async fn who_breaks_a_rule_hears_the_others_last_words_first() {
    let world = World::new(config()).await;
    let (mut client, mut origin) = world.open().await;
    client.say(&frame(0x81, b"good", MASK)).await;
    client.say(&frame(0x83, b"bad", MASK)).await;
    assert_eq!(origin.frame().await, (0x81, b"good".to_vec()));
    assert_eq!(origin.frame().await, close(1002, "reserved opcode"), "masked, as a client must");
    origin.say(&frame(0x81, b"good", None)).await;
    let (first, payload) = close(1002, "");
    origin.say(&frame(first, &payload, None)).await;
    drop(origin);
    assert_eq!(client.frame().await, (0x81, b"good".to_vec()));
    assert_eq!(client.frame().await, close(1002, ""));
    assert!(client.rest().await.is_empty());
    drop(client);
    assert_eq!(world.ended().await, Reason::ClientBroke);
}

#[tokio::test]
async fn an_origin_that_keeps_silent_does_not_keep_the_client() {
    let world = World::new(hasty()).await;
    let (mut client, mut origin) = world.open().await;
    client.say(&frame(0x81, b"unmasked", None)).await;
    assert_eq!(origin.frame().await, close(1002, "masking"));
    assert_eq!(client.frame().await.0, 0x88);
    assert!(client.rest().await.is_empty());
    assert_eq!(world.ended().await, Reason::ClientBroke);
}

#[tokio::test]
async fn an_origin_that_breaks_a_rule_is_a_bad_gateway() {
    let world = World::new(config()).await;
    let (mut client, mut origin) = world.open().await;
    origin.say(&frame(0xc1, b"compressed, which nobody agreed on", None)).await;
    assert_eq!(client.frame().await, close(1014, "reserved bits"));
    let (first, payload) = close(1014, "");
    client.say(&frame(first, &payload, MASK)).await;
    assert_eq!(origin.frame().await, close(1014, ""));
    drop((client, origin));
    assert_eq!(world.ended().await, Reason::OriginBroke);
}

#[tokio::test]
async fn what_is_too_big_does_not_pass() {
    let world = World::new(Config { max_frame_bytes: 10, max_message_bytes: 15, ..config() }).await;
    for (sent, passes) in [
        (vec![frame(0x82, &[1; 11], MASK)], 0),
        (vec![frame(0x02, &[1; 10], MASK), frame(0x80, &[1; 6], MASK)], 16),
        (vec![vec![0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4]], 0),
    ] {
        let (mut client, mut origin) = world.open().await;
        client.say(&sent.concat()).await;
        origin.hear(passes).await;
        assert_eq!(origin.frame().await, close(1009, "too big"));
        drop((client, origin));
        assert_eq!(world.ended().await, Reason::TooBig);
    }
}

fn caller() -> Arc<Principal> {
    Arc::new(Principal {
        tenant: TenantId::new(),
        actor: Actor::User(UserId::new()),
        role: "staff".into(),
        permissions: PermissionSet::default(),
        credential: "ses_1".into(),
        kind: CredentialKind::Session,
        elevated: None,
    })
}

fn connected(connections: &Connections) -> Life {
    let connection = connections.open(caller(), connections.moment()).expect("open");
    Life { connection: Some((connections.clone(), connection)), expires_in: None }
}

#[tokio::test]
async fn both_sides_are_told_when_the_time_is_over() {
    for (reason, told) in [
        (Reason::Expired, close(4401, "credential expired")),
        (Reason::Revoked, close(4401, "credential revoked")),
        (Reason::Draining, close(1001, "stopping")),
    ] {
        let connections = Connections::default();
        let of = connections.clone();
        let world = World::with(
            config(),
            Arc::new(move || Life {
                expires_in: (reason == Reason::Expired).then(|| Duration::from_millis(300)),
                ..connected(&of)
            }),
        )
        .await;
        let (mut client, mut origin) = world.open().await;
        match reason {
            Reason::Revoked => assert_eq!(connections.revoke(&Revocation::Credential("ses_1".into())), 1),
            Reason::Draining => connections.close(),
            _ => {}
        }
        assert_eq!(client.frame().await, told);
        assert_eq!(origin.frame().await, told);
        // What is said now is not heard any more.
        client.say(&frame(0x81, b"late", MASK)).await;
        client.say(&frame(told.0, &told.1, MASK)).await;
        origin.say(&frame(0x81, b"late", None)).await;
        origin.say(&frame(told.0, &told.1, None)).await;
        assert!(client.rest().await.is_empty() && origin.rest().await.is_empty());
        assert_eq!(world.ended().await, reason);
        assert!(connections.is_empty());
    }
}

#[tokio::test]
async fn a_close_waits_for_the_end_of_a_frame() {
    let world = World::new(config()).await;
    let (mut client, mut origin) = world.open().await;
    let half = frame(0x81, b"half of a text", MASK);
    client.say(&half[..10]).await;
    assert_eq!(origin.hear(10).await, half[..10]);
    world.proxy.sockets.drain();
    assert_eq!(client.frame().await, close(1001, "stopping"), "here nothing is half-way");
    client.say(&half[10..]).await;
    client.say(&frame(0x81, b"more", MASK)).await;
    assert_eq!(origin.hear(half.len() - 10).await, half[10..]);
    assert_eq!(origin.frame().await, close(1001, "stopping"));
    drop(client);
    assert!(origin.rest().await.is_empty());
    drop(origin);
    assert_eq!(world.ended().await, Reason::Draining);
}

#[tokio::test]
async fn who_never_ends_a_frame_is_left_all_the_same() {
    let world = World::new(hasty()).await;
    let (mut client, mut origin) = world.open().await;
    client.say(&[0x82, 0xfe, 1, 0, 1, 2, 3, 4, 5]).await;
    assert_eq!(origin.hear(9).await.len(), 9);
    world.proxy.sockets.drain();
    assert_eq!(client.frame().await, close(1001, "stopping"));
    assert!(origin.rest().await.is_empty(), "no Close within a frame");
    assert_eq!(world.ended().await, Reason::Draining);
}

#[tokio::test]
async fn silence_is_ended_and_a_sign_of_life_is_no_business_of_the_other_side() {
    let world = World::new(Config { idle_ms: 2_000, ping_ms: 500, ..config() }).await;
    let (mut client, mut origin) = world.open().await;
    let mut asked = 0;
    loop {
        match client.frame().await {
            (0x89, sign) => {
                client.say(&frame(0x8a, &sign, MASK)).await;
                asked += 1;
            }
            other => {
                assert_eq!(other, close(1001, "idle"));
                break;
            }
        }
        assert_eq!(origin.frame().await, (0x89, b"portico\0".to_vec()));
        origin.say(&frame(0x8a, b"portico\0", None)).await;
    }
    assert!(asked > 1, "signs of life do not keep it open");
    while let (0x89, _) = origin.frame().await {}
    drop((client, origin));
    assert_eq!(world.ended().await, Reason::Idle);
}

#[tokio::test]
async fn who_gives_no_sign_of_life_is_gone() {
    let world = World::new(Config { ping_ms: 500, ..config() }).await;
    let (mut client, mut origin) = world.open().await;
    assert_eq!(client.frame().await.0, 0x89);
    while let (0x89, sign) = origin.frame().await {
        origin.say(&frame(0x8a, &sign, None)).await;
    }
    assert_eq!(client.frame().await, close(1001, "no sign of life"));
    drop((client, origin));
    assert_eq!(world.ended().await, Reason::Unresponsive);
}

#[tokio::test]
async fn a_pong_that_was_not_for_the_gateway_passes() {
    let world = World::new(Config { ping_ms: 1_000, ..config() }).await;
    let (mut client, mut origin) = world.open().await;
    assert_eq!(client.frame().await, (0x89, b"portico\0".to_vec()));
    client.say(&frame(0x8a, b"other", MASK)).await;
    loop {
        match origin.frame().await {
            (0x89, _) => {}
            passed => {
                assert_eq!(passed, (0x8a, b"other".to_vec()));
                break;
            }
        }
    }
}
