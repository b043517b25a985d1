//! Real processes over one PostgreSQL: one that has everything, beside a gateway whose services are in a third.
//! Both doors give the same answers of the same data to the byte, operation by operation; event streams say the
//! same and end together; slow senders starve neither. What each operation does is the sweep's.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Answer, Client};
use crate::fresh_database::FreshDatabase;
use crate::process::{Installation, Server, until};
use crate::stream::Stream;

const LIMIT: Duration = Duration::from_secs(30);
/// What a process says of itself, what never ends, and what is not HTTP alone.
const APART: [&str; 9] = [
    "/health",
    "/health/live",
    "/health/ready",
    "/health/database",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/api/events/stream",
    "/api/notifications/ws",
];

struct Apart {
    whole: Server,
    front: Server,
    services: Server,
    /// A session, and a token for what needs none.
    access: Arc<str>,
    token: Arc<str>,
    homes: Vec<Installation>,
    _database: FreshDatabase,
}

impl Apart {
    async fn start(set: &[(&str, &str)]) -> Option<Self> {
        let database = FreshDatabase::create().await?;
        let home = || {
            let home = Installation::new().set("store.url", &database.url()).set("master_key", &"5a".repeat(32));
            let home = home.set("cluster.secret", "a cluster secret of more than thirty-two bytes");
            let home = home.set("operator.token", "the-operator-token-of-this-test");
            set.iter().fold(home, |home, (key, value)| home.set(key, value))
        };
        let names: Vec<&str> = portico::services::described().into_iter().map(|service| service.name).collect();
        let listed = |roles: &[&str]| format!("{roles:?}");
        let whole = home();
        let first = whole.start().await;
        let access: Arc<str> = first.session().await["accessToken"].as_str().expect("a token").into();
        let mut client = first.connect(Some(&access)).await;
        let made = client.post("/api/auth/tokens", &json!({ "name": "test" })).await.expect(201).json();
        let token = made["token"].as_str().expect("a token").into();
        let apart = home().set("roles", &listed(&names));
        let services = apart.start().await;
        let url = format!("http://{}", services.address);
        let mut door = home().set("roles", &listed(&["gateway"]));
        for name in &names {
            door = door.set(&format!("upstreams.{name}.url"), &url);
        }
        let front = door.start().await;
        Some(Self {
            whole: first,
            front,
            services,
            access,
            token,
            homes: vec![whole, apart, door],
            _database: database,
        })
    }

    fn doors(&self) -> [&Server; 2] {
        [&self.whole, &self.front]
    }

    async fn stop(self) {
        for server in [self.front, self.services, self.whole] {
            server.stop().await;
        }
        drop(self.homes);
    }
}

/// Returns an answer without what is measured.
fn shown(answer: &Answer) -> String {
    let mut headers: HeaderMap = answer.headers.clone();
    headers.remove(header::DATE);
    let mut lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    lines.sort();
    let mut body = String::from_utf8_lossy(&answer.body).into_owned();
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    // How long it took, and the moment in which it was asked.
    for (name, pointer) in [("durationMs", "/meta/durationMs"), ("asOf", "/data/analytics/asOf")] {
        if let Some(measured) = json.pointer(pointer) {
            body = body.replace(&format!("\"{name}\":{measured}"), "");
            lines.retain(|line| !line.starts_with("content-length"));
        }
    }
    format!("{} {lines:?} {body}", answer.status)
}

/// One way to ask.
struct Ask {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<&'static str>,
}

async fn ask(server: &Server, ask: &Ask) -> Answer {
    let stream = TcpStream::connect(server.address).await.expect("the server accepts");
    // The same name for both, which answers may hold.
    let host = ([192, 0, 2, 1], 80).into();
    let mut client = Client::over(stream, host, None).await.expect("a connection");
    let mut request = Request::builder().method(ask.method.clone()).uri(&ask.path).header(header::HOST, "portico.test");
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    client.send_text(request, ask.body.unwrap_or_default()).await.expect("an answer")
}

/// Returns every way to ask for the operations of a document that changes nothing.
fn asks(document: &Value, token: &str) -> Vec<Ask> {
    let mut asks = Vec::new();
    let own = ("authorization", format!("Bearer {token}"));
    let ids = [("x-request-id", "one-request".to_owned()), ("x-correlation-id", "one-chain".to_owned())];
    for (template, methods) in document["paths"].as_object().expect("paths") {
        if APART.contains(&template.as_str()) || template.starts_with("/operator/") {
            continue;
        }
        for (method, written) in methods.as_object().expect("methods") {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let mut path = String::new();
            for part in template.split_inclusive('/') {
                let varies = part.starts_with('{');
                path.push_str(if varies { "itm_00000000000000000000000000" } else { part });
                if varies && part.ends_with('/') {
                    path.push('/');
                }
            }
            let mut add = |headers: &[(&'static str, String)], path: String, body| {
                let headers = ids.iter().chain(headers).cloned().collect();
                asks.push(Ask { method: method.clone(), path, headers, body });
            };
            let json = ("content-type", "application/json".to_owned());
            if written["security"].as_array().is_some_and(|list| !list.is_empty()) {
                add(&[], path.clone(), None);
                add(&[("authorization", "Bearer ptc_wrong".to_owned())], path.clone(), None);
                add(&[("authorization", "Basic".to_owned())], path.clone(), None);
            }
            if written["requestBody"].is_object() {
                for body in ["{\"a\":", "[1,2]", "\u{0}"] {
                    add(&[own.clone(), json.clone()], path.clone(), Some(body));
                }
                add(&[own.clone(), ("content-type", "text/nothing".to_owned())], path.clone(), Some("x"));
            }
            if method == Method::GET {
                add(std::slice::from_ref(&own), path.clone(), None);
                add(&[own.clone(), ("accept", "application/problem+json".to_owned())], path.clone(), None);
                add(std::slice::from_ref(&own), format!("{path}?limit=nothing&wrong=%20"), None);
            } else if template.contains('{') && !written["requestBody"].is_object() {
                add(std::slice::from_ref(&own), path.clone(), None);
            }
        }
    }
    asks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_apart_answer_like_one() {
    let Some(apart) = Apart::start(&[]).await else { return };
    let mut client = apart.whole.connect(Some(&apart.token)).await;
    for number in 0..3 {
        client.post("/api/inventory", &json!({ "sku": format!("S-{number}"), "name": "Feed" })).await.expect(201);
    }
    let document = client.get("/openapi.json").await.expect(200).json();
    let (mut wrong, mut tried, mut statuses) = (Vec::new(), 0, std::collections::BTreeSet::new());
    for asked in asks(&document, &apart.token) {
        // What works in the background may change the data between the two.
        let mut last = (String::new(), String::new());
        for _ in 0..5 {
            let (here, there) = (ask(&apart.whole, &asked).await, ask(&apart.front, &asked).await);
            statuses.insert(here.status);
            last = (shown(&here), shown(&there));
            if last.0 == last.1 {
                break;
            }
        }
        tried += 1;
        if last.0 != last.1 {
            wrong.push(format!("{} {} {:?}\n    {}\n    {}", asked.method, asked.path, asked.body, last.0, last.1));
        }
    }
    println!("{tried} requests through both, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{} of {tried} differ:\n  {}", wrong.len(), wrong.join("\n  "));
    assert!(tried > 500, "{tried} are too few");
    for status in [200, 400, 401, 404, 415] {
        assert!(statuses.contains(&status), "nothing answered {status}: {statuses:?}");
    }
    apart.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_through_processes_apart_say_the_same_and_end_together() {
    let Some(apart) = Apart::start(&[]).await else { return };
    let mut client = apart.whole.connect(Some(&apart.access)).await;
    let made = client.post("/api/auth/tokens", &json!({ "name": "other" })).await.expect(201).json();
    let other: Arc<str> = made["token"].as_str().expect("a token").into();
    let path = "/api/events/stream?types=inventory.item.created";
    let mut streams = Vec::new();
    for server in apart.doors() {
        // For two seconds a new process believes nobody that another vouches for: it may not have heard of all yet.
        until(LIMIT, "streams to open", async || {
            let mut client = server.connect(Some(&other)).await;
            let request = client.request(Method::GET, path);
            let opened = client.begin(request, None).await.expect("an answer");
            (opened.status() == 200).then_some(())
        })
        .await;
        let mut stream = Stream::open(server, Some(&other), path, None).await;
        stream.event().await.expect("a beginning");
        streams.push(stream);
    }
    for number in 0..5 {
        // Written here and there in turn.
        let mut writer = apart.doors()[number % 2].connect(Some(&apart.token)).await;
        writer.post("/api/inventory", &json!({ "sku": format!("T-{number}"), "name": "x" })).await.expect(201);
        let (one, two) = (streams[0].event().await, streams[1].event().await);
        assert!(one.is_some() && one == two, "{one:?} and {two:?}");
    }
    let revoke = client.request(Method::DELETE, &format!("/api/auth/tokens/{}", made["id"].as_str().expect("an id")));
    client.send(revoke, None).await.expect("an answer").expect(204);
    for stream in &mut streams {
        assert_eq!(stream.event().await, None);
    }
    for server in apart.doors() {
        let what = "the token to be refused";
        until(LIMIT, what, async || {
            let mut client = server.connect(Some(&other)).await;
            (client.get("/api/auth/me").await.status == 401).then_some(())
        })
        .await;
    }
    apart.stop().await;
}

/// Opens a connection from another address of this machine.
async fn from(client: [u8; 4], server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((client, 0).into()).expect("an address of this machine");
    socket.connect(server.address).await.expect("a connection")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_trickle_bodies_starve_nobody() {
    let Some(apart) = Apart::start(&[("server.in_flight", "16")]).await else { return };
    for server in apart.doors() {
        let mut slow = Vec::new();
        for number in 0..64 {
            let mut stream = from([127, 0, 0, 1 + number % 2], server).await;
            let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                        content-length: 1000\r\n\r\n{";
            stream.write_all(head.as_bytes()).await.expect("sent");
            slow.push(stream);
        }
        // All but those who hold a place are told so, and go.
        until(LIMIT, "all but four of each address to be refused", async || {
            let mut room = [0; 12];
            slow.retain(|stream| !matches!(stream.try_read(&mut room), Ok(1..)));
            (slow.len() <= 8).then_some(())
        })
        .await;
        for number in 0..20 {
            let stream = from([127, 0, 0, 99], server).await;
            let mut honest =
                Client::over(stream, server.address, Some(apart.token.clone())).await.expect("a connection");
            honest.get("/api/inventory?limit=1").await.expect(200);
            let body = json!({ "sku": format!("{}-{number}", server.address.port()), "name": "x" });
            honest.post("/api/inventory", &body).await.expect(201);
        }
        let mut one = slow.pop().expect("somebody holds a place");
        one.write_all(&[b' '; 998]).await.expect("sent");
        one.write_all(b"}").await.expect("sent");
        let mut answer = [0; 12];
        one.read_exact(&mut answer).await.expect("who goes on is answered");
        assert_eq!(&answer, b"HTTP/1.1 400");
    }
    apart.stop().await;
}
