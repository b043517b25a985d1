//! etcd as it is: a server of its own for each test, on free ports, in a folder that goes away. Without
//! the program these tests say so and pass.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use discovery::{Config, Etcd, Register, RegisterEtcd, Registration, Secret};
use fixtures::{eventually, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::support::{becomes, post, short, start};

struct Server {
    address: SocketAddr,
    peer: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn text(bytes: &str) -> String {
    STANDARD.encode(bytes)
}

impl Server {
    /// Starts one, or says that there is none.
    async fn start() -> Option<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Self { address, peer: free_port(), folder, child: None };
        if !server.run().await {
            eprintln!("skipped: there is no etcd on this machine (Debian: etcd-server)");
            return None;
        }
        Some(server)
    }

    async fn run(&mut self) -> bool {
        let (client, peer) = (format!("http://{}", self.address), format!("http://127.0.0.1:{}", self.peer));
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let data: &Path = &self.folder.path().join("data");
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(data);
        for (name, value) in [
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &format!("default={peer}")),
        ] {
            command.arg(name).arg(value);
        }
        match command.env_clear().stdout(Stdio::null()).stderr(log).spawn() {
            Ok(child) => self.child = Some(child),
            Err(_) => return false,
        }
        let child = self.child.as_mut().expect("just started");
        eventually("etcd answers", async || {
            if child.try_wait().expect("a child").is_some() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                panic!("etcd does not start: {log}");
            }
            post(self.address, "/v3/kv/range", &json!({ "key": text("x") })).await.is_some()
        })
        .await;
        true
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        post(self.address, path, &body).await.unwrap_or_else(|| panic!("{path} {body}"))
    }

    async fn put(&self, key: &str, value: &str) {
        self.ask("/v3/kv/put", json!({ "key": text(key), "value": text(value) })).await;
    }

    async fn delete(&self, key: &str) {
        self.ask("/v3/kv/deleterange", json!({ "key": text(key) })).await;
    }

    /// The lease that holds a key, if the key is there.
    async fn lease(&self, key: &str) -> Option<String> {
        let read = self.ask("/v3/kv/range", json!({ "key": text(key) })).await;
        read["kvs"][0]["lease"].as_str().map(str::to_owned)
    }

    fn config(&self) -> Etcd {
        let addresses = vec![format!("http://{}", self.address)];
        Etcd { addresses, prefix: "/items/".into(), ..Etcd::default() }
    }

    fn register(&self, name: &str) -> RegisterEtcd {
        RegisterEtcd {
            addresses: self.config().addresses,
            key: format!("/items/{name}"),
            url: format!("http://{name}:80"),
            weight: 2,
            lease_seconds: 3,
            ..RegisterEtcd::default()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_read_and_watched() {
    let Some(server) = Server::start().await else { return };
    server.put("/items/1", "http://one:1").await;
    server.put("/item", "http://not:1").await;
    server.put("/items0", "http://not:2").await;
    let guard = start(&Config::Etcd(server.config()));
    becomes(&guard, "one:1*1").await;
    server.put("/items/2", r#"{"url":"http://two:2","weight":7}"#).await;
    becomes(&guard, "one:1*1 two:2*7").await;
    server.put("/items/3", "nonsense").await;
    server.put("/items/2", "http://two:3").await;
    becomes(&guard, "one:1*1 two:3*1").await;
    server.put("/items/1", "nonsense").await;
    becomes(&guard, "two:3*1").await;
    server.delete("/items/2").await;
    becomes(&guard, "").await;
    for n in 0..200 {
        server.put(&format!("/items/{n}"), &format!("http://many:{}", n + 1)).await;
    }
    eventually("all of them", async || guard.endpoints().len() == 200).await;
    assert_eq!(guard.state().failures, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_keeps_the_list_and_a_return_brings_what_was_missed() {
    let Some(mut server) = Server::start().await else { return };
    server.put("/items/1", "http://one:1").await;
    // The first member is never there.
    let mut config = server.config();
    config.addresses.insert(0, format!("http://127.0.0.1:{}", free_port()));
    let guard = start(&Config::Etcd(config));
    becomes(&guard, "one:1*1").await;
    server.kill();
    eventually("it is missed", async || guard.state().failing.is_some()).await;
    assert_eq!(short(&guard.endpoints()), "one:1*1");
    assert!(server.run().await);
    server.put("/items/2", "http://two:2").await;
    let revision = server.ask("/v3/kv/range", json!({ "key": text("x") })).await["header"]["revision"].clone();
    server.ask("/v3/kv/compaction", json!({ "revision": revision })).await;
    becomes(&guard, "one:1*1 two:2*1").await;
    eventually("it is well", async || guard.state().failing.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_registers_is_found_until_it_stops() {
    let Some(server) = Server::start().await else { return };
    let guard = start(&Config::Etcd(server.config()));
    becomes(&guard, "").await;
    let one = Registration::start(&Register::Etcd(server.register("one")), &Handle::current()).expect("started");
    let two = Registration::start(&Register::Etcd(server.register("two")), &Handle::current()).expect("started");
    becomes(&guard, "one:80*2 two:80*2").await;
    one.stop().await;
    assert_eq!(server.lease("/items/one").await, None, "gone before `stop` returns");
    becomes(&guard, "two:80*2").await;
    // Whoever takes the key or the lease away does not take the process away.
    let lease = server.lease("/items/two").await.expect("a lease");
    server.delete("/items/two").await;
    becomes(&guard, "").await;
    becomes(&guard, "two:80*2").await;
    let next = server.lease("/items/two").await.expect("a lease");
    assert_ne!(next, lease);
    server.ask("/v3/lease/revoke", json!({ "ID": next })).await;
    becomes(&guard, "").await;
    becomes(&guard, "two:80*2").await;
    drop(two);
    becomes(&guard, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_is_gone_when_its_lease_ends_and_who_lives_stays() {
    let Some(server) = Server::start().await else { return };
    let guard = start(&Config::Etcd(server.config()));
    let _lives = Registration::start(&Register::Etcd(server.register("lives")), &Handle::current()).expect("started");
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _dies = Registration::start(&Register::Etcd(server.register("dies")), other.handle()).expect("started");
    becomes(&guard, "dies:80*2 lives:80*2").await;
    let lease = server.lease("/items/lives").await;
    other.shutdown_background();
    becomes(&guard, "lives:80*2").await;
    assert_eq!(server.lease("/items/lives").await, lease, "the same all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_want_to_know_who_asks() {
    let Some(server) = Server::start().await else { return };
    server.put("/items/1", "http://one:1").await;
    let name = json!({ "name": "root", "password": "open sesame" });
    server.ask("/v3/auth/user/add", name).await;
    server.ask("/v3/auth/role/add", json!({ "name": "root" })).await;
    server.ask("/v3/auth/user/grant", json!({ "user": "root", "role": "root" })).await;
    server.ask("/v3/auth/enable", json!({})).await;
    let known = Etcd { user: "root".into(), password: Secret("open sesame".into()), ..server.config() };
    let guard = start(&Config::Etcd(known.clone()));
    becomes(&guard, "one:1*1").await;
    for config in [Etcd { password: Secret("open".into()), ..known.clone() }, server.config()] {
        let refused = start(&Config::Etcd(config));
        eventually("a refusal", async || refused.state().failing.is_some()).await;
        assert!(!refused.state().heard);
    }
    let Etcd { user, password, .. } = known;
    let register = RegisterEtcd { user, password, ..server.register("two") };
    let two = Registration::start(&Register::Etcd(register), &Handle::current()).expect("started");
    becomes(&guard, "one:1*1 two:80*2").await;
    two.stop().await;
    becomes(&guard, "one:1*1").await;
}
