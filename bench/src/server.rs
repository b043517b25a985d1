//! A server under measurement: this program again, as `portico serve`, in a process of its own, so
//! that its CPU time and memory are its own. Not for talking to it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Outcome;
use crate::client::{Connection, get};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; dropping it ends it.
pub struct Server {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl Server {
    /// Starts a server with default settings over this database. It believes a proxy on this machine,
    /// so that a request can come from any address.
    pub fn start(url: &str) -> Outcome<Self> {
        Self::start_with(url, &[])
    }

    /// Does the same with settings, each as `key=value`.
    pub fn start_with(url: &str, settings: &[&str]) -> Outcome<Self> {
        let folder = TempDir::new()?;
        let written = File::create(log(&folder))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--store-url", url, "--data-dir"]).arg(folder.path());
        command.args(["--set", "server.trusted_proxies=[\"127.0.0.1/32\"]"]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        // The same for every server: the signing keys in a database are sealed under it.
        command.args(["--set", &format!("master_key=\"{}\"", "07".repeat(32))]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PORTICO_") {
                command.env_remove(name);
            }
        }
        command
            .env("NO_COLOR", "1")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(written);
        let mut child = command.spawn()?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE && matches!(child.try_wait(), Ok(None)) {
            if let Some(address) = announced(&folder) {
                Connection::open(address)?.timed(&get("/health/live", None))?;
                return Ok(Self { child, address, folder });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = std::fs::read_to_string(log(&folder)).unwrap_or_default();
        let _ = child.kill();
        Err(format!("the server did not start: {said}").into())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the warnings in its log, each once with how often it was written.
    pub fn warnings(&self) -> Vec<String> {
        let text = std::fs::read_to_string(log(&self.folder)).unwrap_or_default();
        let mut counted = std::collections::BTreeMap::<String, usize>::new();
        for line in text.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")) {
            let said = line.split_once(": ").map_or(line, |(_, said)| said);
            // Up to the fields, which differ from line to line.
            let words: Vec<&str> = said.split(' ').take_while(|word| !word.contains('=')).collect();
            *counted.entry(words.join(" ")).or_default() += 1;
        }
        counted.into_iter().map(|(said, times)| format!("{times} × “{said}”")).collect()
    }
}

/// Returns the address that a server has written beside its data. The file is only read: a lock on
/// it, even a short one, would keep the server from starting.
fn announced(folder: &TempDir) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(folder.path().join("portico.lock")).ok()?;
    let holder: serde_json::Value = serde_json::from_str(&text).ok()?;
    holder["address"].as_str()?.parse().ok()
}

fn log(folder: &TempDir) -> PathBuf {
    folder.path().join("server.log")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
