//! Input that nobody should send: a clear problem, and nothing changed.

use http::Method;

use crate::{CURRENT, Superadmin, apps, everything, path};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bodies_are_named_and_change_nothing() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        let superadmin = Superadmin::inside(&app, &tenant);
        let before = everything(&app, &tenant).await;
        let (long_name, long_reason) = ("x".repeat(101), "x".repeat(501));
        let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(1 << 20));
        let change = [
            ("", ""),
            ("{", ""),
            ("[]", ""),
            ("[null,null,null,null]", ""),
            (r#"["Good","UTC","EUR",null]"#, ""),
            ("{} {}", ""),
            (r#"{"name":7}"#, "name"),
            (r#"{"name":""}"#, "name"),
            (r#"{"name":"a\u0000b"}"#, "name"),
            (r#"{"name":"a\nb"}"#, "name"),
            (&format!(r#"{{"name":"{long_name}"}}"#), "name"),
            (r#"{"name":"Good","name":"Twice"}"#, ""),
            (r#"{"name":"Good","currency":"eur"}"#, "currency"),
            (r#"{"name":"Good","currency":"EURO"}"#, "currency"),
            (r#"{"name":"Good","currency":"E R"}"#, "currency"),
            (r#"{"name":"Good","timeZone":"Copenhagen"}"#, "timeZone"),
            (r#"{"name":"Good","timeZone":"../../etc/passwd"}"#, "timeZone"),
            (r#"{"name":"Good","timeZone":"Europe/Paris\n"}"#, "timeZone"),
            (r#"{"name":"Good","slug":"mine"}"#, "slug"),
            (r#"{"name":"Good","isActive":false}"#, "isActive"),
            (r#"{"name":"Good","state":"suspended"}"#, "state"),
            (r#"{"name":"Good","id":"ten_00000000000000000000000000"}"#, "id"),
            (r#"{"name":"Good","version":7}"#, "version"),
        ];
        let only_current = [(r#"{"name":"Good","plan":"gold"}"#, "plan"), (r#"{"plan":null}"#, "plan")];
        let only_tenant = [(r#"{"name":"Good","plan":"Gold Plan"}"#, "plan"), (r#"{"plan":""}"#, "plan")];
        let one = path(tenant.id);
        let cases = [(CURRENT, &only_current[..]), (one.as_str(), &only_tenant[..])];
        for (to, own) in cases {
            for (body, field) in change.iter().chain(own) {
                let request = superadmin.request(&app, Method::PATCH, to).header("content-type", "application/json");
                let answer = request.bytes(*body).send().await.expect(400);
                let shown: String = body.chars().take(60).collect();
                assert_eq!(answer.code(), "request.invalid_body", "{to} {shown}");
                assert!(answer.text().contains(field), "{to} {shown}: {}", answer.text());
            }
            let request = superadmin.request(&app, Method::PATCH, to).header("content-type", "application/json");
            request.bytes(large.as_str()).send().await.expect(413);
            let request = superadmin.request(&app, Method::PATCH, to).header("content-type", "text/plain");
            request.bytes("{}").send().await.expect(415);
        }
        for verb in ["suspend", "activate"] {
            let to = format!("{one}/{verb}");
            for body in [
                "{}",
                r#"{"reason":null}"#,
                r#"{"reason":" "}"#,
                r#"{"reason":"a\u0007b"}"#,
                r#"{"reason":"good","until":"2027-01-01"}"#,
                &format!(r#"{{"reason":"{long_reason}"}}"#),
            ] {
                let request = superadmin.request(&app, Method::POST, &to).header("content-type", "application/json");
                assert_eq!(request.bytes(body).send().await.expect(400).code(), "request.invalid_body", "{body:.60}");
            }
        }
        assert_eq!(everything(&app, &tenant).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_targets_are_refused() {
    for app in apps().await {
        let tenant = app.tenant("farm").await;
        for id in ["1", "usr_00000000000000000000000000", "ten_", "current", "a%2fb", ".."] {
            app.get(&format!("/api/v1/tenants/{id}")).token(&tenant.admin_token).send().await.expect(400);
        }
        let delete = app.request(Method::DELETE, &path(tenant.id)).token(&tenant.admin_token).send().await.expect(405);
        assert_eq!(delete.header("allow"), "GET, PATCH");
        for tag in ["v1", "W/\"v1\"", "\"v1\", \"v2\"", "\"v99\""] {
            let request = app.request(Method::PATCH, CURRENT).token(&tenant.admin_token).header("if-match", tag);
            request.json(&serde_json::json!({ "name": "Lost" })).send().await.expect(412);
        }
    }
}
