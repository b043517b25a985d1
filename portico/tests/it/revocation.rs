//! Two processes over one PostgreSQL: what one takes back, the other refuses soon, although it had
//! believed it a moment before. Prints how long that took. Not for one process, which refuses at
//! once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::client::Client;
use crate::fresh_database::FreshDatabase;
use crate::process::{Installation, Server, until};

const PASSWORD: &str = "seven otters juggle lamps";
const ROUNDS: usize = 5;
const LIMIT: Duration = Duration::from_secs(10);

struct Two {
    here: Server,
    there: Server,
    admin: Client,
    boss: Client,
}

fn token(value: &Value) -> Arc<str> {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}")).into()
}

async fn ask(client: &mut Client, method: Method, path: &str, body: Option<Value>) -> crate::client::Answer {
    let request = client.request(method, path).header("x-audit-reason", "a test");
    client.send(request, body.as_ref()).await.expect("an answer")
}

impl Two {
    async fn start(installations: &[Installation; 2]) -> Self {
        let here = installations[0].start().await;
        let access = token(&here.session().await["accessToken"]);
        let there = installations[1].start().await;
        let mut admin = here.connect(Some(&access)).await;
        let body = json!({ "newPassword": PASSWORD });
        ask(&mut admin, Method::POST, "/api/auth/password/change", Some(body)).await.expect(204);
        let body = json!({ "organization": "main", "reason": "a test", "password": PASSWORD });
        let inside = ask(&mut admin, Method::POST, "/api/auth/elevate", Some(body)).await.expect(200).json();
        let boss = here.connect(Some(&token(&inside["accessToken"]))).await;
        Self { here, there, admin, boss }
    }

    /// Brings somebody new in.
    async fn join(&mut self, role: &str) -> Value {
        let email = format!("{}@example.org", kernel::UserId::new());
        let body = json!({ "email": email, "role": role });
        let made = ask(&mut self.admin, Method::POST, "/api/auth/invitations", Some(body)).await.expect(201).json();
        let body = json!({ "code": made["code"], "name": "Ada", "password": PASSWORD });
        let mut nobody = self.here.connect(None).await;
        nobody.post("/api/auth/invitations/accept", &body).await.expect(200).json()
    }

    /// Waits until the other process answers so, after it has answered 200; says how long it took.
    async fn refused_there(&self, token: &Arc<str>, path: &str, status: u16, since: Instant) -> Duration {
        let mut client = self.there.connect(Some(token)).await;
        let what = format!("{status} at {path}");
        until(LIMIT, &what, async || (client.get(path).await.status == status).then_some(())).await;
        since.elapsed()
    }

    async fn believed_there(&self, token: &Arc<str>, path: &str) {
        let mut client = self.there.connect(Some(token)).await;
        client.get(path).await.expect(200);
        client.get(path).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_takes_back_the_other_refuses() {
    let Some(database) = FreshDatabase::create().await else { return };
    let make = || {
        let home = Installation::new().set("store.url", &database.url());
        // Both doors believe what they know for a minute: only being told makes them forget.
        home.set("master_key", &"5a".repeat(32)).set("server.token_cache_seconds", "60")
    };
    let installations = [make(), make()];
    let mut two = Two::start(&installations).await;
    let mut slowest = [
        ("session", Duration::ZERO),
        ("API token", Duration::ZERO),
        ("role", Duration::ZERO),
        ("tenant", Duration::ZERO),
    ];
    let mut note = |place: usize, took: Duration| slowest[place].1 = slowest[place].1.max(took);
    for _ in 0..ROUNDS {
        let ada = two.join("admin").await;
        let access = token(&ada["accessToken"]);
        let mut client = two.here.connect(Some(&access)).await;

        let made =
            ask(&mut client, Method::POST, "/api/auth/tokens", Some(json!({ "name": "x" }))).await.expect(201).json();
        let api = token(&made["token"]);
        two.believed_there(&api, "/api/auth/me").await;
        let path = format!("/api/auth/tokens/{}", made["id"].as_str().expect("an id"));
        let began = Instant::now();
        ask(&mut client, Method::DELETE, &path, None).await.expect(204);
        note(1, two.refused_there(&api, "/api/auth/me", 401, began).await);

        let members = "/api/v1/identity/members";
        two.believed_there(&access, members).await;
        let body = json!({ "userId": ada["user"]["id"], "role": "viewer" });
        let began = Instant::now();
        ask(&mut two.admin, Method::POST, "/api/users/roles", Some(body)).await.expect(200);
        note(2, two.refused_there(&access, members, 403, began).await);

        two.believed_there(&access, "/api/auth/me").await;
        let tenant = ada["organization"]["id"].as_str().expect("an id");
        let (suspend, activate) =
            (format!("/api/v1/tenants/{tenant}/suspend"), format!("/api/v1/tenants/{tenant}/activate"));
        let began = Instant::now();
        ask(&mut two.boss, Method::POST, &suspend, Some(json!({ "reason": "a test" }))).await.expect(200);
        note(3, two.refused_there(&access, "/api/auth/me", 403, began).await);
        ask(&mut two.boss, Method::POST, &activate, Some(json!({ "reason": "a test" }))).await.expect(200);
        two.refused_there(&access, "/api/auth/me", 200, began).await;

        two.believed_there(&access, "/api/auth/me").await;
        let began = Instant::now();
        ask(&mut client, Method::POST, "/api/auth/logout", None).await.expect(204);
        note(0, two.refused_there(&access, "/api/auth/me", 401, began).await);
        // The process that took it back refuses at once.
        client.get("/api/auth/me").await.expect(401);
    }
    for (what, took) in slowest {
        println!("revoking a {what}: refused in the other process after at most {} ms", took.as_millis());
    }
}
