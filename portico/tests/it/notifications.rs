//! The notifications service through the door, over real people and real stock, on every engine that is
//! there; one file per concern. Mail servers are played by a recorder. Who may do what is also the sweep's
//! business, in the binary's tests.

mod kinds;
mod letters;
mod preferences;
mod quiet;
mod reading;
mod repeats;
mod socket;
mod socket_elsewhere;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use identity::Identity;
use kernel::{Answer, PermissionSet, UserId};
use notifications::{Address, Directory, Mail, Mailer, NotSent, Notifications, Outside, Settings};
use serde_json::{Value, json};
use service::Role;
use store::{Event, Vault};
use testkit::{Database, TestApp, TestResponse, TestTenant};

const LIST: &str = "/api/notifications";
const PREFERENCES: &str = "/api/notifications/preferences";
const POLICY: &str = "/api/notifications/policy";

type Answered<'a, T, E = kernel::Error> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// A mail server that keeps what it takes, and refuses what it is told to.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    taken: Vec<Mail>,
    tried: usize,
    refuses: Option<NotSent>,
    addresses: HashMap<UserId, Option<String>>,
}

impl Server {
    fn taken(&self) -> Vec<Mail> {
        self.0.lock().expect("not poisoned").taken.clone()
    }

    fn tried(&self) -> usize {
        self.0.lock().expect("not poisoned").tried
    }

    fn refuse(&self, how: Option<NotSent>) {
        self.0.lock().expect("not poisoned").refuses = how;
    }

    fn move_to(&self, user: UserId, address: Option<&str>) {
        self.0.lock().expect("not poisoned").addresses.insert(user, address.map(str::to_owned));
    }

    /// Returns the letters to a person.
    fn to(&self, user: UserId) -> Vec<Mail> {
        self.taken().into_iter().filter(|mail| mail.to.email == format!("{user}@example.org")).collect()
    }
}

impl Mailer for Server {
    fn send<'a>(&'a self, mail: &'a Mail) -> Answered<'a, (), NotSent> {
        let mut book = self.0.lock().expect("not poisoned");
        book.tried += 1;
        let answer = match book.refuses.clone() {
            Some(refused) => Err(refused),
            None => {
                book.taken.push(mail.clone());
                Ok(())
            }
        };
        Box::pin(async move { answer })
    }
}

impl Directory for Server {
    fn address(&self, user: UserId) -> Answered<'_, Option<Address>> {
        let known = self.0.lock().expect("not poisoned").addresses.get(&user).cloned();
        let email = known.unwrap_or_else(|| Some(format!("{user}@example.org")));
        Box::pin(async move { Ok(email.map(|email| Address { name: "Ada".to_owned(), email })) })
    }
}

/// The service under test with its mail server.
struct Post {
    app: TestApp,
    server: Server,
    notifications: Notifications,
}

/// Returns the service on a fresh database of each engine.
async fn posts() -> Vec<Post> {
    made(false).await
}

/// Returns the service in this process and elsewhere, on a fresh database of each engine.
async fn both_ways() -> Vec<Post> {
    made(true).await
}

async fn made(both_ways: bool) -> Vec<Post> {
    let mut posts = Vec::new();
    for engine in testkit::engines() {
        let settings = Settings { public_url: "http://127.0.0.1:8080".to_owned(), ..Settings::default() };
        let (server, notifications) = (Server::default(), Notifications::new(settings).expect("sound"));
        let outside = Outside {
            mailer: Arc::new(server.clone()),
            directory: Arc::new(server.clone()),
            vault: Vault::new(&[9; 32]),
        };
        notifications.open(outside).expect("opened once");
        let services = vec![inventory::service(), notifications::service(notifications.clone())];
        let app = match both_ways {
            true => {
                let identity = Identity::new(identity::Settings::default()).expect("the settings are sound");
                TestApp::both_ways(Database::new(engine).await, services, identity).await
            }
            false => TestApp::start(engine, services, Default::default()).await,
        };
        posts.push(Post { app, server, notifications });
    }
    posts
}

/// Somebody in a tenant.
struct Person {
    user: UserId,
    token: String,
}

impl Person {
    fn member(&self, tenant: &TestTenant) -> identity::Member {
        identity::Member { tenant: tenant.id, user: self.user }
    }
}

/// What happened.
struct Happened<'a> {
    kind: &'a str,
    subject: &'a str,
    data: Value,
}

impl Post {
    /// Returns a tenant whose people are known to the service, and a staff member of it.
    async fn tenant(&self) -> (TestTenant, Person) {
        let tenant = self.app.tenant("farm").await;
        let staff = self.person(&tenant, Role::Staff).await;
        self.app.settle().await;
        (tenant, staff)
    }

    async fn person(&self, tenant: &TestTenant, role: Role) -> Person {
        let member = self.app.member(tenant.id, role).await;
        Person { user: member.user, token: self.app.issue(member).await }
    }

    /// Appends an event that the product itself publishes.
    async fn record(&self, tenant: &TestTenant, happened: Happened<'_>) {
        let mut ctx = store::system_context(tenant.id, PermissionSet::default());
        let mut writer = self.app.store().write(&mut ctx).await.expect("a writer");
        let Happened { kind, subject, data } = happened;
        writer.record(Event::about(kind, subject, data)).await.expect("recorded");
        writer.commit(Answer::no_content()).await.expect("kept");
    }

    /// Lets an item become short, and the service hear of it.
    async fn low_stock(&self, tenant: &TestTenant, item: &str, crossing: i64) {
        self.record(tenant, low_stock(item, crossing)).await;
        self.app.settle().await;
    }

    async fn alert(&self, tenant: &TestTenant, key: &str) {
        let data = json!({ "title": "Disk full", "message": "Make room.", "dedupeKey": key });
        self.record(tenant, Happened { kind: "system.alert.raised", subject: "store", data }).await;
        self.app.settle().await;
    }

    async fn page(&self, token: &str, query: &str) -> Value {
        self.app.get(&format!("{LIST}{query}")).token(token).send().await.expect(200).json()
    }

    /// Returns the titles of somebody's notifications and how many are unread.
    async fn told(&self, token: &str) -> (Vec<String>, i64) {
        let page = self.page(token, "").await;
        let items = page["items"].as_array().expect("items");
        let titles = items.iter().map(|item| item["title"].as_str().expect("a title").to_owned()).collect();
        (titles, page["unreadCount"].as_i64().expect("a number"))
    }

    async fn wish(&self, token: &str, body: Value) -> TestResponse {
        self.app.post(PREFERENCES).token(token).json(&body).send().await
    }

    async fn turn(&self, token: &str, kind: &str, channel: &str, enabled: Value) {
        let body = json!({ "preferences": [{ "type": kind, "channel": channel, "enabled": enabled }] });
        self.wish(token, body).await.expect(200);
    }

    async fn rule(&self, tenant: &TestTenant, body: Value) -> TestResponse {
        self.app.request(Method::PUT, POLICY).token(&tenant.admin_token).json(&body).send().await
    }

    /// Lets time pass, and happen what is due.
    async fn pass(&self, minutes: u64) {
        self.app.clock().shift(i64::try_from(Duration::from_secs(60 * minutes).as_micros()).expect("not that long"));
        self.app.settle().await;
    }
}

fn low_stock(item: &str, crossing: i64) -> Happened<'_> {
    let data = json!({ "sku": item, "quantity": 3, "unit": "box", "lowStockLevel": 5, "crossing": crossing });
    Happened { kind: "inventory.item.low_stock", subject: item, data }
}
