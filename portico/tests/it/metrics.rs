//! The metrics page of a running server. Not for what each part counts, which it tests itself.

use serde_json::json;

use crate::process::Installation;

fn value(page: &str, name: &str) -> f64 {
    let line = page.lines().find(|line| line.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("there is no {name}: {page}"));
    line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("a number")
}

#[tokio::test]
async fn store_and_sign_in_show_what_they_count() {
    let installation = Installation::new();
    let server = installation.start().await;
    let access = server.session().await["accessToken"].as_str().expect("a token").to_owned();
    let mut client = server.connect(Some(&access.as_str().into())).await;
    let body = json!({ "newPassword": "seven otters juggle lamps" });
    client.post("/api/auth/password/change", &body).await.expect(204);
    let operator = std::fs::read_to_string(installation.data().join("operator.token")).expect("a file");
    let mut operator = server.connect(Some(&operator.trim().into())).await;
    let page = String::from_utf8(operator.get("/metrics").await.expect(200).body.to_vec()).expect("text");
    assert_eq!(value(&page, "portico_password_hashes_total"), 1.0);
    assert_eq!(value(&page, "portico_password_refused_total"), 0.0);
    assert!(value(&page, "portico_store_committed_total") >= 3.0);
    assert!(value(&page, "portico_store_batches_total") >= 3.0);
    assert_eq!(value(&page, "portico_store_lane_waiting"), 0.0);
    assert_eq!(value(&page, "portico_live_connections"), 0.0);
    assert_eq!(value(&page, "portico_subscription_parked{subscription=\"webhooks.deliveries\"}"), 0.0);
    client.get("/metrics").await.expect(401);
    server.stop().await;
}
