//! The same access token verified by somebody else: `jose` on Node, which many front ends use. For
//! orientation; the two do the same work (signature, issuer, audience, type) on one core each in
//! turns. Not for choosing a language.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::client::{Connection, get};
use crate::figures::Spread;
use crate::people::People;
use crate::report::Table;
use crate::server::Server;
use crate::{Outcome, Plan, process, say};

const PACKAGE: &str = "jose@6.2.17";
const FOLDER: &str = "target/tools/jose";
const SCRIPT: &str = include_str!("../peers/verify.mjs");

/// Measures both, or says why it could not.
pub fn measure(plan: &Plan, people: &People) -> Outcome<Table> {
    say("verification beside jose on Node");
    let mut table = Table::new("Verifying an access token, beside `jose` on Node", &["", "µs", "CPU, µs"]);
    if let Err(reason) = install() {
        say(format!("jose is skipped: {reason}"));
        table.note(format!("Not measured beside `jose`: {reason}."));
    }
    let server = Server::start(people.url())?;
    let mut connection = Connection::open(server.address())?;
    let token = people.access_token(&mut connection, 0)?;
    let jwks: Value = serde_json::from_slice(&connection.timed(&get("/.well-known/jwks.json", None))?.0.body)?;
    drop(server);
    let jwk = &jwks["keys"][0];
    let mut peer = Path::new(FOLDER).exists().then(|| Peer::start(&token, jwk)).transpose()?;
    let (rounds, count) = if plan.quick { (3, 2_000) } else { (9, 10_000) };
    let ours = Ours::new(jwk)?;
    let (mut own, mut other) = ([vec![], vec![]], [vec![], vec![]]);
    ours.verify(&token, count)?;
    if let Some(peer) = &mut peer {
        peer.verify(count)?;
    }
    for _ in 0..rounds {
        let (wall, cpu) = ours.verify(&token, count)?;
        own[0].push(wall);
        own[1].push(cpu);
        if let Some(peer) = &mut peer {
            let (wall, cpu) = peer.verify(count)?;
            other[0].push(wall);
            other[1].push(cpu);
        }
    }
    let row = |name: &str, taken: &[Vec<f64>; 2]| {
        [name.to_owned(), Spread::of(&taken[0]).to_string(), Spread::of(&taken[1]).to_string()]
    };
    table.row(row("Portico's library and rules, one thread", &own));
    if let Some(peer) = &peer {
        table.row(row(&format!("`{PACKAGE}`, Node {}", peer.version), &other));
        let ratio = |place: usize| Spread::ratio(&other[place], &own[place]).to_string();
        table.row(["ratio, `jose` to Portico".to_owned(), ratio(0), ratio(1)]);
        table.note(format!("{count} verifications in a row, after as many for nothing."));
    }
    Ok(table)
}

/// Installs the peer where it is not there yet.
fn install() -> Outcome {
    let version = Command::new("node").arg("--version").output().map_err(|_| "there is no Node on this machine")?;
    if !version.status.success() {
        return Err("Node does not start".into());
    }
    if Path::new(FOLDER).join("node_modules/jose").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(FOLDER)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", FOLDER, PACKAGE]);
    let installed = npm.stdout(Stdio::null()).status().map_err(|_| "there is no npm on this machine")?;
    if installed.success() {
        return Ok(());
    }
    let _ = std::fs::remove_dir_all(FOLDER);
    Err(format!("npm could not install {PACKAGE}").into())
}

/// What the authenticator does before it asks the database, with the same library.
struct Ours {
    key: DecodingKey,
    rules: Validation,
}

impl Ours {
    fn new(jwk: &Value) -> Outcome<Self> {
        let part = |name: &str| jwk[name].as_str().ok_or("the JWKS has no key of ours");
        let key = DecodingKey::from_ec_components(part("x")?, part("y")?)?;
        let mut rules = Validation::new(Algorithm::ES256);
        rules.set_issuer(&["portico"]);
        rules.set_audience(&["portico"]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Ok(Self { key, rules })
    }

    /// Returns microseconds per verification, and of CPU.
    fn verify(&self, token: &str, count: u32) -> Outcome<(f64, f64)> {
        let (began, cpu) = (Instant::now(), process::cpu_seconds(std::process::id())?);
        for _ in 0..count {
            let header = jsonwebtoken::decode_header(token)?;
            if header.typ.as_deref() != Some("at+jwt") {
                return Err("an access token of another type".into());
            }
            std::hint::black_box(jsonwebtoken::decode::<Value>(token, &self.key, &self.rules)?.claims);
        }
        let cpu = process::cpu_seconds(std::process::id())? - cpu;
        let each = |seconds: f64| seconds * 1e6 / f64::from(count);
        Ok((each(began.elapsed().as_secs_f64()), each(cpu)))
    }
}

/// Node, waiting for a number on its input.
struct Peer {
    child: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
    version: String,
}

impl Peer {
    fn start(token: &str, jwk: &Value) -> Outcome<Self> {
        // Beside its packages, or Node does not find them.
        let script = Path::new(FOLDER).join("verify.mjs");
        std::fs::write(&script, SCRIPT)?;
        let mut child = Command::new("node").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or("Node has no output")?);
        let mut peer = Self { child, answers, version: String::new() };
        let ready = peer.ask(&json!({ "token": token, "jwk": jwk }))?;
        peer.version = ready["version"].as_str().unwrap_or_default().to_owned();
        Ok(peer)
    }

    fn ask(&mut self, question: &Value) -> Outcome<Value> {
        let input = self.child.stdin.as_mut().ok_or("Node has no input")?;
        writeln!(input, "{question}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line).map_err(|error| format!("Node answered {line:?}: {error}"))?)
    }

    fn verify(&mut self, count: u32) -> Outcome<(f64, f64)> {
        let answer = self.ask(&json!({ "count": count }))?;
        let each =
            |name: &str| answer[name].as_f64().map(|micros| micros / f64::from(count)).ok_or("Node gave no number");
        Ok((each("wall")?, each("cpu")?))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
