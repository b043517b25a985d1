//! Tokens at the door: who is let in, how often that is asked, and what the others are told.

use axum::response::Response;

use crate::{House, OPERATOR, member, told_by};

fn challenge(response: &Response) -> (u16, &str) {
    let text = response.headers().get("www-authenticate").map_or("", |value| value.to_str().expect("text"));
    (response.status().as_u16(), text)
}

const PLAIN: (u16, &str) = (401, "Bearer realm=\"portico\"");
const INVALID: (u16, &str) = (401, "Bearer realm=\"portico\", error=\"invalid_token\"");

#[tokio::test]
async fn a_known_token_is_checked_once_and_travels_no_further() {
    let house = House::new();
    house.tokens.add("good", &member("tok_1"));
    for _ in 0..3 {
        let told = told_by(house.get("/signed-in", &[("authorization", "Bearer good")]).await).await;
        assert_eq!((&told["credential"], &told["authorization"]), (&"tok_1".into(), &false.into()));
    }
    assert_eq!((house.tokens.asked(), house.cache.len()), (1, 1));
    assert_eq!(house.status("bad").await, 401);
    assert_eq!(house.status("bad").await, 401);
    assert_eq!((house.tokens.asked(), house.cache.len()), (3, 1), "a refusal is not remembered");
    house.clock.shift(3_600_000_000);
    assert_eq!(house.status("good").await, 200);
    assert_eq!(house.tokens.asked(), 4, "the credential's end is not slept through");
}

#[tokio::test]
async fn a_401_says_how_to_authenticate_and_whether_the_token_was_at_fault() {
    let house = House::new();
    house.tokens.add("good", &member("tok_1"));
    assert_eq!(challenge(&house.get("/signed-in", &[]).await), PLAIN);
    for authorization in ["Bearer bad", "bearer bad", "Bearer ", &format!("Bearer {OPERATOR}")] {
        let response = house.get("/signed-in", &[("authorization", authorization)]).await;
        assert_eq!(challenge(&response), INVALID, "{authorization}");
    }
    for headers in [vec![("authorization", "Basic YTpi")], vec![("authorization", "good")]] {
        assert_eq!(challenge(&house.get("/signed-in", &headers).await), PLAIN, "{headers:?}");
    }
    let twice = [("authorization", "Bearer good"), ("authorization", "Bearer good")];
    assert_eq!(house.get("/signed-in", &twice).await.status(), 401);
    let refused_by_handler = house.get("/refuses", &[("authorization", "Bearer good")]).await;
    assert_eq!(challenge(&refused_by_handler), PLAIN, "the token was good");
    let good = house.get("/signed-in", &[("authorization", "Bearer good")]).await;
    assert_eq!(challenge(&good), (200, ""));
}

#[tokio::test]
async fn a_token_of_more_than_4_kib_is_refused_unread() {
    let house = House::new();
    let (longest, longer) = ("a".repeat(4_096), "a".repeat(4_097));
    house.tokens.add(&longest, &member("tok_1"));
    house.tokens.add(&longer, &member("tok_2"));
    assert_eq!(house.status(&longest).await, 200);
    let response = house.get("/signed-in", &[("authorization", &format!("Bearer {longer}"))]).await;
    assert_eq!(challenge(&response), INVALID);
    assert_eq!(house.tokens.asked(), 1);
}

#[tokio::test]
async fn public_and_operator_routes_ask_nobody() {
    let house = House::new();
    house.tokens.add("good", &member("tok_1"));
    let told = told_by(house.get("/public", &[("authorization", "Bearer good")]).await).await;
    assert!(told["credential"].is_null());
    told_by(house.get("/operator", &[("authorization", &format!("Bearer {OPERATOR}"))]).await).await;
    assert_eq!(challenge(&house.get("/operator", &[("authorization", "Bearer good")]).await), INVALID);
    assert_eq!(challenge(&house.get("/operator", &[]).await), PLAIN);
    assert_eq!(house.tokens.asked(), 0);
}
