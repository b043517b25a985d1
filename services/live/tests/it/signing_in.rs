use serde_json::{Value, json};

use crate::apps;
use crate::client::{Client, Said};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_first_packet_lets_in() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let (client, ready) = Client::connect(&app, &tenant.staff_token).await;
        let rooms: Vec<_> = ready["rooms"].as_array().expect("rooms").iter().filter_map(Value::as_str).collect();
        assert_eq!(rooms[0], "role:staff");
        assert!(rooms[1].starts_with("user:usr_") && rooms.len() == 2, "{rooms:?}");
        assert!(ready["epoch"].is_string() && ready["position"].is_i64());
        assert_eq!(app.connections().len(), 1);
        client.leave().await;
        let mut by_header = Client::open(&app, Some(&tenant.viewer_token)).await;
        by_header.send("0").await.expect(200);
        assert_eq!(by_header.next().await, Said::Connected);
        assert_eq!(by_header.event("ready").await["rooms"][0], "role:viewer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_turned_away_learns_why() {
    for app in apps().await {
        for (auth, code) in [
            (json!({ "token": "nonsense" }), "request.unauthenticated"),
            (json!({}), "request.unauthenticated"),
            (json!({ "token": 7 }), "live.invalid_handshake"),
        ] {
            let mut client = Client::bring(&app, auth.clone()).await;
            let Said::Refused(refused) = client.next().await else { panic!("let in with {auth}") };
            assert_eq!(refused["data"]["code"], code, "{auth}");
            assert!(refused["message"].as_str().is_some_and(|message| !message.is_empty()));
        }
        let mut client = Client::open(&app, None).await;
        client.send("0/admin,{\"token\":\"a\"}").await.expect(200);
        assert!(app.connections().is_empty());
        let Said::Elsewhere(said) = client.next().await else { panic!("there is such a namespace") };
        assert!(said.starts_with("4/admin,{") && said.contains("live.no_namespace"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_try_is_allowed_and_a_fourth_is_not() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let mut client = Client::bring(&app, json!({ "token": "nonsense" })).await;
        assert!(matches!(client.next().await, Said::Refused(_)));
        client.send(&format!("0{}", json!({ "token": tenant.viewer_token }))).await.expect(200);
        assert_eq!(client.next().await, Said::Connected);
        let mut client = Client::bring(&app, json!({ "token": "nonsense" })).await;
        for _ in 0..2 {
            assert!(matches!(client.next().await, Said::Refused(_)));
            client.send("0{\"token\":\"nonsense\"}").await.expect(200);
        }
        let last = client.next().await;
        assert!(matches!(last, Said::Refused(_) | Said::Closed), "{last:?}");
        assert_eq!(client.next().await, Said::Closed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_it_has_said_who_it_is_a_socket_may_say_nothing_else() {
    for app in apps().await {
        for packet in ["2[\"auth:refresh\",{\"token\":\"a\"}]", "2[]", "nonsense", "51-[]", "1"] {
            let mut client = Client::open(&app, None).await;
            client.send(packet).await;
            assert_eq!(client.next().await, Said::Closed, "{packet}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_socket_is_closed() {
    let app = apps().await.remove(0);
    let mut client = Client::open(&app, None).await;
    app.clock().shift(10_500_000);
    assert_eq!(client.next().await, Said::Closed);
}
