//! The Node servers beside which Portico is measured: installing them, starting one. Not for what
//! they do; that is in `bench/peers/realtime`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::{Outcome, say};

const FOLDER: &str = "target/tools/bench-live-peers";
const FILES: &[(&str, &str)] = &[
    ("package.json", include_str!("../../peers/realtime/package.json")),
    ("package-lock.json", include_str!("../../peers/realtime/package-lock.json")),
    ("announce.mjs", include_str!("../../peers/realtime/announce.mjs")),
    ("sse.mjs", include_str!("../../peers/realtime/sse.mjs")),
    ("sockets.mjs", include_str!("../../peers/realtime/sockets.mjs")),
    ("socketio.mjs", include_str!("../../peers/realtime/socketio.mjs")),
];

/// The peers, installed.
#[derive(Clone, Debug)]
pub struct Peers {
    folder: PathBuf,
    /// Which Node they run on.
    pub version: String,
}

/// A running peer; dropping it ends it.
pub struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peers {
    /// Installs the peers where they are not there yet; the versions are those of the lock file.
    pub fn install() -> Option<Self> {
        match install() {
            Ok(peers) => Some(peers),
            Err(reason) => {
                say(format!("the Node peers are skipped: {reason}"));
                None
            }
        }
    }

    /// Says what they are, with versions.
    pub fn names(&self) -> String {
        let wanted: Value = serde_json::from_str(FILES[0].1).unwrap_or_default();
        let packages = wanted["dependencies"].as_object().into_iter().flatten();
        let named = packages.map(|(name, version)| format!("`{name}` {}", version.as_str().unwrap_or_default()));
        format!("Node {}, {}", self.version, named.collect::<Vec<_>>().join(", "))
    }

    /// Starts one by the name of its script.
    pub fn start(&self, script: &str) -> Outcome<Peer> {
        let mut command = Command::new("node");
        command.arg(self.folder.join(script)).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.env("NODE_ENV", "production").spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = said["address"].as_str().and_then(|address| address.parse().ok());
        match address {
            Some(address) => Ok(Peer { child, address }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("{script} did not start on Node").into())
            }
        }
    }
}

impl Peer {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn install() -> Outcome<Peers> {
    let version = Command::new("node").arg("--version").output().map_err(|_| "there is no Node on this machine")?;
    if !version.status.success() {
        return Err("Node does not start".into());
    }
    let folder = Path::new(FOLDER).to_path_buf();
    let version = String::from_utf8_lossy(&version.stdout).trim().trim_start_matches('v').to_owned();
    let peers = Peers { folder: folder.clone(), version };
    std::fs::create_dir_all(&folder)?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text)?;
    }
    if folder.join("node_modules/socket.io").exists() {
        return Ok(peers);
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", FOLDER]);
    let installed = npm.stdout(Stdio::null()).status().map_err(|_| "there is no npm on this machine")?;
    if installed.success() { Ok(peers) } else { Err("npm could not install the packages".into()) }
}
