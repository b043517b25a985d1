use std::time::Duration;

use crate::apps;
use crate::client::{Client, Said};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_engine_io_is_refused_plainly() {
    let app = apps().await.remove(0);
    for path in [
        "/socket.io/",
        "/socket.io/?EIO=4",
        "/socket.io/?transport=polling",
        "/socket.io/?EIO=3&transport=polling",
        "/socket.io/?EIO=4&transport=carrier-pigeon",
        "/socket.io/?EIO=4&transport=polling&sid=nonsense",
        "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA",
    ] {
        app.get(path).send().await.expect(400);
        app.post(path).send().await.expect(400);
    }
    app.get("/socket.io?EIO=4&transport=polling").send().await.expect(200);
    let plain = app.get("/socket.io/?EIO=4&transport=websocket").header("sec-websocket-key", "AAAA").send().await;
    assert_eq!(plain.expect(426).code(), "live.no_upgrade");
    app.get("/socket.io/admin?EIO=4&transport=polling").send().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_malformed_ends_only_the_socket_that_sent_it() {
    let app = apps().await.remove(0);
    let tenant = app.tenant("farm").await;
    let (mut client, _) = Client::connect(&app, &tenant.staff_token).await;
    client.send(&format!("2[\"{}\"]", "a".repeat(20_000))).await.expect(413);
    let hostile = [
        "2[\"a\"", "2[", "2{}", "299999999999999999999[]", "5", "51-[\"a\",{\"_placeholder\":true,\"num\":0}]", "4{}", "9",
        "é", "0/\u{0},", "2/x,[]", "2[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    ];
    for packet in hostile {
        let (other, _) = Client::connect(&app, &tenant.viewer_token).await;
        other.send(packet).await;
        other.leave().await;
    }
    let (mut binary, _) = Client::connect(&app, &tenant.viewer_token).await;
    binary.send_raw("bAAAA").await;
    assert_eq!(binary.next().await, Said::Closed);
    crate::adjust(&app, tenant.id, [1]).await;
    client.event("inventory:update").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_lock_the_others_out() {
    const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
    let app = apps().await.remove(0);
    let tenant = app.tenant("farm").await;
    let mut opened = Vec::new();
    for _ in 0..64 {
        let text = app.get(OPEN).from([198, 51, 100, 7]).send().await.expect(200).text();
        let packet: serde_json::Value = serde_json::from_str(&text[1..]).expect("JSON");
        opened.push(format!("{OPEN}&sid={}", packet["sid"].as_str().expect("a session")));
    }
    let refused = app.get(OPEN).from([198, 51, 100, 7]).send().await.expect(503);
    assert_eq!(refused.code(), "live.too_many_handshakes");
    app.get(OPEN).from([198, 51, 100, 8]).send().await.expect(200);
    let (mut client, _) = Client::connect(&app, &tenant.staff_token).await;
    // Who goes makes room, and so does who says who it is.
    let say = |path: &str, packet: String| app.post(path).header("content-type", "text/plain;charset=UTF-8").bytes(packet);
    // Both happen a moment after the answer.
    let has_room = async || {
        let room = async {
            while app.get(OPEN).from([198, 51, 100, 7]).send().await.status != 200 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), room).await.expect("there is room again");
    };
    say(&opened[0], "1".to_owned()).send().await;
    has_room().await;
    app.get(OPEN).from([198, 51, 100, 7]).send().await.expect(503);
    say(&opened[1], format!("40{}", serde_json::json!({ "token": tenant.staff_token }))).send().await.expect(200);
    while !app.get(&opened[1]).send().await.expect(200).text().contains("40{") {}
    has_room().await;
    crate::adjust(&app, tenant.id, [1]).await;
    client.event("inventory:update").await;
}
