//! A Redis server of a test's own, on a free port, that can be stopped, frozen and started again. Not for
//! tests that can do without.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub struct RedisServer {
    folder: TempDir,
    port: u16,
    running: Option<Child>,
}

impl RedisServer {
    /// Starts a server, or says that the test is skipped.
    pub async fn start() -> Option<Self> {
        let there = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            println!("skipped: there is no redis-server");
            return None;
        }
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let port = free.local_addr().expect("has one").port();
        drop(free);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut server = Self { folder, port, running: None };
        server.resume().await;
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Starts it again, with nothing in it.
    pub async fn resume(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(command.spawn().expect("starts"));
        crate::eventually::eventually("Redis answers", async || {
            let client = redis::Client::open(self.url()).expect("an address");
            client.get_multiplexed_async_connection().await.is_ok()
        })
        .await;
    }

    /// Kills it, with all that is in it.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
            let _ = running.wait();
        }
    }

    /// Sends it a signal: STOP and CONT.
    pub fn signal(&self, name: &str) {
        let id = self.running.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Runs one command.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut connection = client.get_multiplexed_async_connection().await.expect("answers");
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.expect("an answer")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
