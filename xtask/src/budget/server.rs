//! One Portico that a command looks at from outside.
//!
//! For: starting a binary on a data folder and talking HTTP to it with nothing between that would
//! cost time. Not for: tests; they call the router in memory.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::workspace::{self, Outcome};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; dropping it without `stop` kills it.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts the server and returns how long the first answer of /health/live took.
    pub fn start(binary: &Path, folder: &Path) -> Outcome<(Self, Duration)> {
        Self::start_with(binary, folder, &[])
    }

    /// Does the same with settings, each as `key=value`.
    pub fn start_with(binary: &Path, folder: &Path, settings: &[String]) -> Outcome<(Self, Duration)> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("no free port on 127.0.0.1: {error}"))?;
        let log = folder.with_extension("log");
        let file = File::create(&log).map_err(|error| format!("cannot write the log: {error}"))?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        let mut command = workspace::program(binary);
        command.arg("serve").arg("--data-dir").arg(folder);
        command.args(["--listen", &address.to_string()]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let start = Instant::now();
        let child = command.spawn().map_err(|error| workspace::not_started(&command, &error))?;
        let mut server = Self { child, address, log };
        while start.elapsed() < PATIENCE {
            if server.ask("/health/live").is_ok() {
                return Ok((server, start.elapsed()));
            }
            if !matches!(server.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("portico gives no answer; {} tells why", workspace::short(&server.log)))
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it has written to its two outputs so far.
    pub fn output(&self) -> Outcome<String> {
        std::fs::read_to_string(&self.log)
            .map_err(|error| format!("cannot read {}: {error}", workspace::short(&self.log)))
    }

    /// Asks for a path and insists on 200.
    pub fn ask(&self, path: &str) -> Outcome {
        self.exchange("GET", path, "").map(drop)
    }

    /// Posts JSON, insists on 200, and returns the JSON of the answer.
    pub fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        let answer = self.exchange("POST", path, &body.to_string())?;
        let text = answer.split_once("\r\n\r\n").map_or("", |(_, text)| text);
        serde_json::from_str(text).map_err(|error| format!("POST {path} was not answered with JSON: {error}"))
    }

    /// Asks with a token and, unless it is null, JSON; insists on success and returns the JSON of the answer.
    pub fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> Outcome<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!("Authorization: Bearer {token}\r\n");
        let answer = self.send(method, path, &head, &body).map_err(|error| format!("{method} {path}: {error}"))?;
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.starts_with("HTTP/1.1 2") {
            return Err(format!("{method} {path} was answered `{}`: {text}", head.lines().next().unwrap_or_default()));
        }
        if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(text).map_err(|error| error.to_string()) }
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> Outcome<String> {
        let answer = self.send(method, path, "", body).map_err(|error| format!("{method} {path}: {error}"))?;
        let line = answer.lines().next().unwrap_or_default();
        match line.split(' ').nth(1) {
            Some("200") => Ok(answer),
            _ => Err(format!("{method} {path} was answered `{line}`, not 200")),
        }
    }

    fn send(&self, method: &str, path: &str, more: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let host = self.address;
        let about = match body.len() {
            0 => String::new(),
            length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}{about}\r\n");
        stream.write_all(format!("{head}{body}").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Returns the memory that the process holds now.
    pub fn resident_bytes(&self) -> Outcome<u64> {
        // VmRSS:     61234 kB
        std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .ok()
            .and_then(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
                line.split_whitespace().next()?.parse::<u64>().ok()
            })
            .map(|kibibytes| kibibytes * 1024)
            .ok_or("resident memory is read from /proc; this machine has none".into())
    }

    /// Asks the server to drain and waits for its end.
    pub fn stop(mut self) -> Outcome {
        workspace::signal(&self.child, "TERM");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("portico did not end within {} s of SIGTERM", PATIENCE.as_secs()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
