//! A Redis server of a test's own, on a free port, that can be stopped and started again. Not for tests that can do
//! without.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

pub struct RedisServer {
    folder: TempDir,
    port: u16,
    running: Option<Child>,
}

impl RedisServer {
    /// Starts a server, or says that the test is skipped.
    pub fn start() -> Option<Self> {
        let there = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            println!("skipped: there is no redis-server");
            return None;
        }
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let port = free.local_addr().expect("has one").port();
        drop(free);
        let mut server = Self { folder: tempfile::tempdir().expect("a temporary folder"), port, running: None };
        server.resume();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Starts it again, with nothing in it.
    pub fn resume(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running = Some(command.spawn().expect("starts"));
    }

    /// Kills it, with all that is in it.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.kill();
            let _ = running.wait();
        }
    }

    /// Stops it from answering, or lets it go on.
    pub fn hang(&self, hangs: bool) {
        let id = self.running.as_ref().expect("it runs").id();
        let signal = if hangs { "STOP" } else { "CONT" };
        let told = Command::new("sh").args(["-c", &format!("kill -s {signal} {id}")]).status();
        assert!(told.is_ok_and(|status| status.success()));
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until this holds, under a limit.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it never came to be that {what}");
}
