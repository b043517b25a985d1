//! Servers from etcd 3.4 or newer, through its JSON gateway: the keys below a prefix are read, then
//! watched from that revision on. Whatever breaks the watch (a loss, compaction, silence) makes everything
//! be read again. Not for putting keys there: `registration` does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use kernel::Result;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::address::Address;
use crate::config::{Etcd, wrong};
use crate::endpoint::Endpoint;
use crate::http::{Client, Lines, Question};
use crate::keeper::Keeper;
use crate::pause::Pause;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How etcd is reached: its members, asked in turn, and who asks.
pub(crate) struct Cluster {
    client: Client,
    members: Vec<Address>,
    turn: usize,
    login: Option<(String, String)>,
    /// What etcd gave for the login.
    token: Option<HeaderValue>,
    pub timeout: Duration,
}

impl Cluster {
    /// Prepares to ask; the addresses were checked.
    pub(crate) fn new(config: &Etcd) -> Result<Self> {
        let members = config.addresses.iter().map(|text| Address::parse(text)).collect::<Result<_, _>>();
        let login = (!config.user.is_empty()).then(|| (config.user.clone(), config.password.0.clone()));
        Ok(Self {
            client: Client::new(&config.certificate_file).map_err(|why| wrong("certificate_file", why))?,
            members: members.map_err(|why| wrong("addresses", why))?,
            turn: 0,
            login,
            token: None,
            timeout: Duration::from_millis(config.timeout_ms),
        })
    }

    /// Goes on to the next member, and forgets the login, which may be what was wrong.
    pub(crate) fn turn(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.token = None;
    }

    fn member(&self) -> &Address {
        &self.members[self.turn % self.members.len()]
    }

    /// Forgets the login: what etcd gave for it does not last.
    fn log_out(&mut self) {
        self.token = None;
    }

    /// Asks one question.
    pub(crate) async fn ask(&mut self, target: &str, body: Value) -> Result<Value, String> {
        self.log_in().await?;
        let mut question = Question::post(target, body);
        question.header = self.token.clone().map(|token| (AUTHORIZATION, token));
        self.client.json(self.member(), question, self.timeout).await
    }

    async fn watch(&mut self, body: Value) -> Result<Lines, String> {
        self.log_in().await?;
        let mut question = Question::post("/v3/watch", body);
        question.header = self.token.clone().map(|token| (AUTHORIZATION, token));
        let answer = self.client.ask(self.member(), question, self.timeout).await?;
        if answer.status() == http::StatusCode::OK {
            return Ok(Lines::of(answer));
        }
        Err(format!("/v3/watch answers {}", answer.status()))
    }

    async fn log_in(&mut self) -> Result<(), String> {
        let (Some((name, password)), None) = (&self.login, &self.token) else { return Ok(()) };
        let question = Question::post("/v3/auth/authenticate", json!({ "name": name, "password": password }));
        let answer = self.client.json(self.member(), question, self.timeout).await?;
        let token = answer["token"].as_str().ok_or("etcd gives no token")?;
        self.token = Some(HeaderValue::from_str(token).map_err(|_| "etcd's token is no header")?);
        Ok(())
    }
}

/// Follows the keys below one prefix.
pub(crate) struct Follower {
    cluster: Cluster,
    prefix: Vec<u8>,
    resync: Duration,
}

impl Follower {
    /// Prepares to ask.
    pub(crate) fn new(config: &Etcd) -> Result<Self> {
        let resync = Duration::from_millis(config.resync_ms);
        Ok(Self { cluster: Cluster::new(config)?, prefix: config.prefix.clone().into_bytes(), resync })
    }

    /// Reads everything, then watches until that ends. `Ok` says that it is only time to read again.
    async fn round(&mut self, keeper: &Keeper, pause: &mut Pause) -> Result<(), String> {
        self.cluster.log_out();
        let (key, range_end) = (STANDARD.encode(&self.prefix), STANDARD.encode(after(&self.prefix)));
        let read = self.cluster.ask("/v3/kv/range", json!({ "key": key, "range_end": range_end })).await?;
        let read: Read = serde_json::from_value(read).map_err(|error| format!("/v3/kv/range: {error}"))?;
        let revision = read.header.revision()?;
        let mut servers = Servers::default();
        read.kvs.into_iter().for_each(|pair| servers.put(pair));
        keeper.take(servers.list());
        pause.reset();
        let from = json!({ "key": key, "range_end": range_end, "start_revision": (revision + 1).to_string() });
        let mut watch = self.cluster.watch(json!({ "create_request": from })).await?;
        loop {
            let line = match timeout(self.resync, watch.next()).await {
                Ok(line) => line?.ok_or("the watch has ended")?,
                // It may be that nothing happens, or that nobody is there any more.
                Err(_) => return Ok(()),
            };
            match Heard::read(&line)? {
                Heard::Events(events) if events.is_empty() => {}
                Heard::Events(events) => {
                    events.into_iter().for_each(|event| servers.happened(event));
                    keeper.take(servers.list());
                }
                Heard::Compacted => {
                    // Reading again will do, but not without end.
                    tokio::time::sleep(FIRST_PAUSE).await;
                    return Ok(());
                }
            }
        }
    }
}

/// Reads and watches until it is stopped.
pub(crate) async fn follow(mut follower: Follower, keeper: Arc<Keeper>) {
    let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        if let Err(why) = follower.round(&keeper, &mut pause).await {
            keeper.failed(&why);
            follower.cluster.turn();
            tokio::time::sleep(pause.next()).await;
        }
    }
}

/// Returns the first key that does not begin with the prefix; a zero byte means that there is none.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[derive(Debug, Deserialize)]
struct Head {
    // The gateway writes 64-bit numbers as text.
    revision: String,
}

impl Head {
    fn revision(&self) -> Result<i64, String> {
        self.revision.parse().map_err(|_| "etcd names no revision".to_owned())
    }
}

#[derive(Debug, Deserialize)]
struct Read {
    header: Head,
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
struct Pair {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Debug, Deserialize)]
struct Event {
    /// PUT is the default, and left out.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    kv: Pair,
}

/// A line of a watch.
#[derive(Debug)]
enum Heard {
    Events(Vec<Event>),
    /// The revision to watch from is gone.
    Compacted,
}

impl Heard {
    fn read(line: &Bytes) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Line {
            result: Option<Watched>,
            error: Option<Value>,
        }
        #[derive(Deserialize)]
        struct Watched {
            #[serde(default)]
            canceled: bool,
            #[serde(default)]
            compact_revision: Option<String>,
            #[serde(default)]
            cancel_reason: String,
            #[serde(default)]
            events: Vec<Event>,
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| format!("a line of the watch: {error}"))?;
        let Some(watched) = line.result else {
            return Err(format!("the watch fails: {}", line.error.unwrap_or_default()));
        };
        if watched.compact_revision.is_some_and(|revision| revision != "0") {
            return Ok(Self::Compacted);
        }
        if watched.canceled {
            return Err(format!("the watch was cancelled: {}", watched.cancel_reason));
        }
        Ok(Self::Events(watched.events))
    }
}

/// The servers by their keys.
#[derive(Debug, Default)]
struct Servers(BTreeMap<String, Endpoint>);

impl Servers {
    fn put(&mut self, pair: Pair) {
        match STANDARD.decode(&pair.value).map_err(|error| error.to_string()).and_then(|value| endpoint(&value)) {
            Ok(endpoint) => drop(self.0.insert(pair.key, endpoint)),
            Err(why) => {
                let key = STANDARD.decode(&pair.key).unwrap_or_default();
                let key = String::from_utf8_lossy(&key).into_owned();
                tracing::warn!(key, reason = why, "a key in etcd names no server");
                self.0.remove(&pair.key);
            }
        }
    }

    fn happened(&mut self, event: Event) {
        match event.kind.as_deref() {
            Some("DELETE") => drop(self.0.remove(&event.kv.key)),
            _ => self.put(event.kv),
        }
    }

    fn list(&self) -> Vec<Endpoint> {
        self.0.values().cloned().collect()
    }
}

/// Reads a value: an address, or an object with one.
fn endpoint(value: &[u8]) -> Result<Endpoint, String> {
    let text = std::str::from_utf8(value).map_err(|error| error.to_string())?.trim();
    if !text.starts_with('{') {
        return Endpoint::new(text, 1);
    }
    let read: Endpoint = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Endpoint::new(&read.url, read.weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> Pair {
        Pair { key: STANDARD.encode(key), value: STANDARD.encode(value) }
    }

    fn urls(servers: &Servers) -> Vec<(String, u32)> {
        servers.list().into_iter().map(|endpoint| (endpoint.url, endpoint.weight)).collect()
    }

    #[test]
    fn the_range_of_a_prefix_ends_after_it() {
        for (prefix, end) in [("/a/", "/a0"), ("a", "b"), ("a\u{7f}", "a\u{80}")] {
            assert_eq!(after(prefix.as_bytes())[..1], end.as_bytes()[..1], "{prefix}");
        }
        assert_eq!(after(b"/a/"), b"/a0");
        assert_eq!(after(b"a\xff\xff"), b"b");
        assert_eq!(after(b"\xff"), [0]);
    }

    #[test]
    fn values_are_addresses_or_objects() {
        let mut servers = Servers::default();
        for (key, value) in [
            ("/a/1", "http://one:1"),
            ("/a/2", r#"{"url":"http://two:2","weight":3}"#),
            ("/a/3", r#" {"url":"http://three:3"} "#),
            ("/a/4", "nonsense"),
            ("/a/5", r#"{"url":"http://five:5","wait":3}"#),
            ("/a/6", ""),
        ] {
            servers.put(pair(key, value));
        }
        let expected = [("http://one:1", 1), ("http://two:2", 3), ("http://three:3", 1)];
        assert_eq!(urls(&servers), expected.map(|(url, weight)| (url.to_owned(), weight)));
    }

    #[test]
    fn events_change_the_servers() {
        let mut servers = Servers::default();
        servers.put(pair("/a/1", "http://one:1"));
        let text = |text: &str| Bytes::from(text.to_owned());
        let put = format!(
            r#"{{"result":{{"header":{{"revision":"7"}},"events":[{{"kv":{{"key":"{}","value":"{}"}}}},
               {{"type":"DELETE","kv":{{"key":"{}"}}}}]}}}}"#,
            STANDARD.encode("/a/2"),
            STANDARD.encode("http://two:2"),
            STANDARD.encode("/a/1"),
        );
        let Ok(Heard::Events(events)) = Heard::read(&text(&put)) else { panic!("events") };
        events.into_iter().for_each(|event| servers.happened(event));
        assert_eq!(urls(&servers), [("http://two:2".to_owned(), 1)]);
        servers.happened(Event { kind: None, kv: pair("/a/2", "broken") });
        assert!(servers.list().is_empty(), "what is there now is no server");
        let created = r#"{"result":{"header":{"revision":"7"},"created":true}}"#;
        assert!(matches!(Heard::read(&text(created)), Ok(Heard::Events(events)) if events.is_empty()));
        let compacted = r#"{"result":{"canceled":true,"compact_revision":"9"}}"#;
        assert!(matches!(Heard::read(&text(compacted)), Ok(Heard::Compacted)));
        for broken in ["", "{", r#"{"error":{"code":7}}"#, r#"{"result":{"canceled":true}}"#] {
            assert!(Heard::read(&text(broken)).is_err(), "{broken}");
        }
    }
}
