//! Portico beside itself: how long proxied requests take while somebody downloads a large export, which a
//! service in the same process makes. Not for the export; that is `cargo xtask bench export`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use measure::Outcome;
use measure::figures::{Quartiles, short};
use measure::report::Table;

use crate::generator::{Crew, Opening, Sample, Supply};
use crate::ground::{Ground, until};
use crate::http_rung::CONNECTIONS;
use crate::peers::{Peer, Running, Shape};
use crate::rungs::{Rung, get};
use crate::{Extent, check, say};

const PER_SECOND: f64 = 1_000.0;
/// How many lines the ledger has.
const LINES: usize = 300_000;
/// How much longer p99 may be than without an export.
const GOAL: f64 = 2.0;
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures it.
pub fn measure(rung: Rung, peers: &[Peer], ground: &Ground, extent: Extent) -> Outcome<Vec<Table>> {
    if !peers.contains(&Peer::Portico) {
        return Err("only Portico has services of its own".into());
    }
    let running = Peer::Portico.start(Shape::HandOff, ground, ground.origin)?;
    let token = sign_in(&running)?;
    fill(&running, ground, &token)?;
    let length = extent.paced.max(Duration::from_secs(1));
    let (mut found, mut ratios, mut bytes) = ([Vec::new(), Vec::new(), Vec::new(), Vec::new()], Vec::new(), 0);
    for round in 0..=extent.rounds {
        say(format!("  round {round} of {}", extent.rounds));
        let alone = proxied(running.address, length)?;
        let (beside, taken) = beside_an_export(running.address, &token, || proxied(running.address, length))?;
        if round > 0 {
            let figures = [&alone, &beside].map(|sample| [0.5, 0.99].map(|share| sample.latencies.within(share)));
            let [[a, b], [c, d]] = figures;
            found.iter_mut().zip([a, b, c, d]).for_each(|(rounds, figure)| rounds.push(figure));
            ratios.push(d / b);
            bytes += taken;
        }
    }
    let [alone50, alone99, beside50, beside99] = found.map(|rounds| Quartiles::of(&rounds).to_string());
    let mut table = Table::new(rung.title, &["proxied requests", "p50, ms", "p99, ms"]);
    table.row(["alone", &alone50, &alone99]);
    table.row(["beside an export", &beside50, &beside99]);
    let ratio = Quartiles::of(&ratios);
    let judged = if ratio.median <= GOAL { "met" } else { "**missed**" };
    table.note(format!(
        "{} requests a second over {CONNECTIONS} connections, {} s each, {} rounds; the export is of {LINES} ledger lines as \
         CSV, taken over and over ({} MB in all). p99 beside it to p99 alone, within each round: {ratio}, goal at \
         most {}: {judged}. The service makes the export on the proxy's own core here, and its client reads on the \
         load's.",
        short(PER_SECOND),
        short(length.as_secs_f64()),
        extent.rounds,
        short(bytes as f64 / 1e6),
        short(GOAL)
    ));
    Ok(vec![table])
}

fn proxied(address: SocketAddr, length: Duration) -> Outcome<Sample> {
    let mut supply = Supply::new(vec![get("/128", None)].into());
    let mut crew = Crew::open(address, CONNECTIONS, &Opening::Http)?;
    crew.each_once(&mut supply)?;
    let sample = crew.paced(&mut supply, PER_SECOND, length)?;
    if sample.failed > 0 { Err(format!("{} requests failed", sample.failed).into()) } else { Ok(sample) }
}

/// Does something while exports are taken; returns how many bytes of them came.
fn beside_an_export<T>(address: SocketAddr, token: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, u64)> {
    let (stop, come) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                download(address, token, &stop, &come)?;
            }
            Outcome::Ok(())
        });
        let begun = until(|| come.load(Ordering::Relaxed) > 0 || reading.is_finished(), || "no export".to_owned());
        let done = begun.and_then(|()| work());
        stop.store(true, Ordering::Relaxed);
        reading.join().map_err(|_| "the download broke")??;
        Ok((done?, come.load(Ordering::Relaxed)))
    })
}

fn download(address: SocketAddr, token: &str, stop: &AtomicBool, come: &AtomicU64) -> Outcome {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&get("/api/inventory/export/logs?format=csv", Some(token)))?;
    let (mut scratch, mut tail) = (vec![0; 256 * 1024], Vec::new());
    let mut first = true;
    while !stop.load(Ordering::Relaxed) {
        let read = stream.read(&mut scratch)?;
        if read == 0 {
            return Err("the export was cut off".into());
        }
        if std::mem::take(&mut first) && !scratch.starts_with(b"HTTP/1.1 200") {
            return Err(format!("no export: {}", String::from_utf8_lossy(&scratch[..read.min(300)])).into());
        }
        come.fetch_add(read as u64, Ordering::Relaxed);
        tail.extend_from_slice(&scratch[read.saturating_sub(5)..read]);
        tail.drain(..tail.len().saturating_sub(5));
        if tail == b"0\r\n\r\n" {
            return Ok(());
        }
    }
    Ok(())
}

/// Signs in with the code that a first start prints; returns an access token.
fn sign_in(running: &Running) -> Outcome<String> {
    let code = || {
        let said = running.process.everything();
        let rest = said.split_once("One-use sign-in code, until ")?.1.split_once("\n\n  ")?.1.to_owned();
        rest.split_once('\n').map(|(code, _)| code.trim().to_owned())
    };
    until(|| code().is_some(), || "the first start printed no code".to_owned())?;
    let body = serde_json::json!({ "code": code().unwrap_or_default() });
    let (status, answer) = post(running.address, "/api/auth/login", &body.to_string(), None)?;
    let token = answer.split_once("\"accessToken\":\"").and_then(|(_, rest)| rest.split('"').next());
    token.map(str::to_owned).ok_or_else(|| format!("no sign-in: {status} {answer}").into())
}

/// Makes an item, and writes a long ledger for it past the server, since it would take an hour through it.
fn fill(running: &Running, ground: &Ground, token: &str) -> Outcome {
    let (status, said) = post(running.address, "/api/inventory", r#"{"sku":"E-1","name":"Exported"}"#, Some(token))?;
    if status / 100 != 2 {
        return Err(format!("no item: {status} {said}").into());
    }
    let script = "import sqlite3, sys\nd = sqlite3.connect(sys.argv[1], timeout=30)\nd.executescript(sys.argv[2])\n";
    let insert = format!(
        "INSERT INTO inventory_movement (tenant_id, id, item_id, delta, reason, note, occurred_at, amount, reference, \
         created_at, created_by) WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < {LINES}) \
         SELECT i.tenant_id, CAST(char(1) || printf('%015d', n) AS BLOB), i.id, 1, 'received', 'delivered with the usual \
         carrier', 852076800000000 + n * 1000000, n, 'order-' || n, 1763700000000000, 'usr_01h455vb4pex5vsknk084sn02q' \
         FROM many CROSS JOIN inventory_item AS i;"
    );
    let database = ground.folder.path().join(Peer::Portico.name()).join(Shape::HandOff.name()).join("data/portico.db");
    let filled = Command::new("python3").args(["-c", script]).arg(database).arg(insert).output()?;
    if !filled.status.success() {
        return Err(format!("no ledger: {}", String::from_utf8_lossy(&filled.stderr)).into());
    }
    Ok(())
}

fn post(address: SocketAddr, path: &str, body: &str, token: Option<&str>) -> Outcome<(u16, String)> {
    let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: bench.test\r\n{bearer}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    check::ask(address, request.as_bytes(), PATIENCE)
}
