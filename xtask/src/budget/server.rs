//! One Portico under measurement.
//!
//! For: starting the release binary on a data folder and talking HTTP to it with nothing between
//! that would cost time. Not for: tests; they call the router in memory.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::{self, Outcome};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; dropping it without `stop` kills it.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts the server and returns how long the first answer of /health/live took.
    pub fn start(binary: &Path, folder: &Path) -> Outcome<(Self, Duration)> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(|error| format!("no free port on 127.0.0.1: {error}"))?;
        let log = folder.with_extension("log");
        let file = File::create(&log).map_err(|error| format!("cannot write the log: {error}"))?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        let mut command = workspace::program(binary);
        command.arg("serve").arg("--data-dir").arg(folder);
        command.args(["--listen", &address.to_string()]);
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let start = Instant::now();
        let child = command.spawn().map_err(|error| workspace::not_started(&command, &error))?;
        let mut server = Self { child, address };
        while start.elapsed() < PATIENCE {
            if server.ask("/health/live").is_ok() {
                return Ok((server, start.elapsed()));
            }
            if !matches!(server.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("portico gives no answer; {} tells why", workspace::short(&log)))
    }

    /// Asks for a path and insists on 200.
    pub fn ask(&self, path: &str) -> Outcome {
        let answer = self.exchange(path).map_err(|error| format!("GET {path}: {error}"))?;
        let line = answer.lines().next().unwrap_or_default();
        match line.split(' ').nth(1) {
            Some("200") => Ok(()),
            _ => Err(format!("GET {path} was answered `{line}`, not 200")),
        }
    }

    fn exchange(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let host = self.address;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
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
