use notifications::NotSent;
use serde_json::json;

use super::posts;

fn token_of(letter: &notifications::Mail) -> String {
    let url = letter.unsubscribe.as_deref().expect("a way to stop");
    url.strip_prefix("http://127.0.0.1:8080").expect("the public address").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_tried_at_longer_and_longer_pauses_under_one_name() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        post.turn(&tenant.admin_token, "LOW_STOCK", "email", json!(false)).await;
        post.turn(&tenant.staff_token, "LOW_STOCK", "email", json!(false)).await;
        post.server.refuse(Some(NotSent::Later("451 busy".to_owned())));
        post.low_stock(&tenant, "A", 1).await;
        post.pass(5).await;
        for (pause, tries) in [(0, 1), (1, 2), (4, 2), (1, 3), (30, 4), (119, 4), (1, 5), (720, 6)] {
            post.pass(pause).await;
            assert_eq!(post.server.tried(), tries, "after a pause of {pause} minutes");
        }
        post.pass(2_000).await;
        assert_eq!((post.server.tried(), post.server.taken().len()), (6, 0), "that was the last");
        post.low_stock(&tenant, "B", 1).await;
        post.pass(5).await;
        post.server.refuse(None);
        post.pass(1).await;
        let letters = post.server.to(staff.user);
        assert_eq!((letters.len(), letters[0].subject.as_str()), (1, "Low stock: B"));
        assert!(letters[0].id.starts_with("ndl_"), "{}", letters[0].id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_refused_gets_no_more_letters_until_asked_for() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        for token in [&tenant.admin_token, &tenant.staff_token] {
            post.turn(token, "LOW_STOCK", "email", json!(false)).await;
        }
        post.server.refuse(Some(NotSent::Refused { why: "550 no such user".to_owned(), address: true }));
        post.low_stock(&tenant, "A", 1).await;
        post.pass(1_500).await;
        assert_eq!(post.server.tried(), 1, "a final word is not asked for again");
        post.server.refuse(None);
        post.low_stock(&tenant, "B", 1).await;
        post.pass(5).await;
        assert_eq!(post.server.tried(), 1);
        // A new address is another matter.
        post.server.move_to(staff.user, Some("new@example.org"));
        post.low_stock(&tenant, "C", 1).await;
        post.pass(5).await;
        assert_eq!(post.server.taken().last().expect("one").to.email, "new@example.org");
        post.server.move_to(staff.user, Some(&format!("{}@example.org", staff.user)));
        post.turn(&staff.token, "LOW_STOCK", "email", json!(true)).await;
        post.low_stock(&tenant, "D", 1).await;
        post.pass(5).await;
        assert_eq!(post.server.to(staff.user).len(), 1);
        post.server.move_to(staff.user, None);
        post.low_stock(&tenant, "E", 1).await;
        post.pass(5).await;
        assert_eq!(post.server.tried(), 3, "nobody to write to");
        assert!(!post.app.digest(&tenant).await.iter().any(|row| row.contains("example.org")), "no address is kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_post_stops_letters_of_a_type() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        post.low_stock(&tenant, "A", 1).await;
        post.pass(5).await;
        let letters = post.server.to(staff.user);
        let path = token_of(&letters[0]);
        assert!(letters[0].html.contains("No more letters") && letters[0].text.contains(&path));
        let before = post.app.digest(&tenant).await;
        let asked = post.app.get(&path).send().await.expect(200);
        assert!(
            asked.text().contains("<form method=\"post\">") && asked.header("content-type").starts_with("text/html")
        );
        let whole = path.split_once("token=").expect("a token").1.to_owned();
        let mut other = whole.clone().into_bytes();
        let last = other.len() - 5;
        other[last] = if other[last] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).expect("text");
        for wrong in
            ["", "?token=", "?token=x", "?token=%00", &format!("?token={other}"), &format!("?token={}", &whole[..40])]
        {
            let refused = post.app.post(&format!("/api/notifications/unsubscribe{wrong}")).send().await;
            assert_eq!(refused.status, 400, "{wrong}");
            post.app.get(&format!("/api/notifications/unsubscribe{wrong}")).send().await.expect(400);
        }
        assert_eq!(post.app.digest(&tenant).await, before, "programs that follow links change nothing");
        let click = |path: String| {
            let form = post.app.post(&path).header("content-type", "application/x-www-form-urlencoded");
            form.bytes("List-Unsubscribe=One-Click").send()
        };
        let stopped = click(path.clone()).await.expect(200).json();
        assert_eq!(stopped, json!({ "type": "LOW_STOCK", "channel": "email" }));
        click(path).await.expect(200);
        post.low_stock(&tenant, "B", 1).await;
        post.alert(&tenant, "disk").await;
        post.pass(5).await;
        assert_eq!(
            (post.server.to(staff.user).len(), post.server.to(tenant.admin).len()),
            (1, 3),
            "one person, one type"
        );
        assert_eq!(post.told(&staff.token).await.1, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_the_organisation_wants_cannot_be_stopped_nor_saved_by_reading() {
    for post in posts().await {
        let (tenant, staff) = post.tenant().await;
        let rules = json!([{ "type": "LOW_STOCK", "channel": "email", "rule": "required" }]);
        post.rule(&tenant, json!({ "rules": rules })).await.expect(200);
        post.low_stock(&tenant, "A", 1).await;
        post.app.post("/api/notifications/mark-all-read").token(&staff.token).send().await.expect(200);
        post.pass(5).await;
        let letters = post.server.to(staff.user);
        assert_eq!((letters.len(), &letters[0].unsubscribe), (1, &None));
    }
}
