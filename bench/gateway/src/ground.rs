//! What stands around the proxies: a folder, the origin (nginx with one worker beside the load), the
//! issuer, the routes, free ports. Not for the proxies themselves.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use measure::Outcome;
use tempfile::TempDir;

use crate::process::{Cores, Process};
use crate::template;
use crate::tokens::{Algorithm, Issuer};

/// Where configurations are, seen from the workspace's root.
pub const PEERS: &str = "bench/gateway/peers";
const ROUTES: &str = "bench/gateway/routes.txt";
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that a proxy and a rung refer to.
pub struct Ground {
    /// Where the tools are that xtask prepared.
    pub tools: PathBuf,
    /// The program under measurement.
    pub portico: PathBuf,
    pub folder: TempDir,
    pub cores: Cores,
    pub issuer: Issuer,
    /// Path templates, with parameters in braces.
    pub routes: Vec<String>,
    /// Where the origin listens.
    pub origin: SocketAddr,
    _origin: Process,
}

impl Ground {
    /// Starts the origin and makes keys.
    pub fn make(tools: PathBuf, portico: PathBuf) -> Outcome<Self> {
        let cores = Cores::split();
        let folder = TempDir::with_prefix("portico-bench-")?;
        let issuer = Issuer::new()?;
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            fs::write(folder.path().join(format!("{}.pem", algorithm.name())), issuer.pem(algorithm)?)?;
        }
        let www = folder.path().join("www");
        fs::create_dir(&www)?;
        fs::write(www.join("jwks.json"), issuer.jwks().to_string())?;
        for (name, size) in [("128", 128), ("10k", 10 * 1024), ("100k", 100 * 1024)] {
            fs::write(www.join(name), vec![b'x'; size])?;
        }
        for part in ["profile", "orders", "stock"] {
            let items: Vec<_> = (0..8).map(|number| serde_json::json!({ "id": number, "name": part })).collect();
            fs::write(www.join(part), serde_json::json!({ "part": part, "items": items }).to_string())?;
        }
        let routes: Vec<String> = fs::read_to_string(ROUTES)?.lines().map(str::to_owned).collect();
        fs::write(folder.path().join("routes.txt"), routes.join("\n"))?;
        let (origin, process) = start_origin(folder.path(), &cores)?;
        Ok(Self { tools, portico, folder, cores, issuer, routes, origin, _origin: process })
    }
}

fn start_origin(folder: &Path, cores: &Cores) -> Outcome<(SocketAddr, Process)> {
    let address = free_address()?;
    let home = folder.join("origin");
    fs::create_dir(&home)?;
    let text = template::fill(
        &fs::read_to_string("bench/gateway/origin.conf")?,
        &[
            ("LISTEN", &address.to_string()),
            ("FOLDER", &home.display().to_string()),
            ("WWW", &folder.join("www").display().to_string()),
        ],
    )?;
    let file = home.join("origin.conf");
    fs::write(&file, text)?;
    let mut command = cores.beside_the_load("nginx");
    command.arg("-p").arg(&home).arg("-c").arg(&file);
    let process = Process::start("origin", command, &home)?;
    process.wait_until_it_listens(address)?;
    Ok((address, process))
}

/// Returns an address of this machine that nobody listens on.
pub fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Asks again and again until it is so.
pub fn until(mut so: impl FnMut() -> bool, what: impl FnOnce() -> String) -> Outcome {
    let began = Instant::now();
    while !so() {
        if began.elapsed() > PATIENCE {
            return Err(what().into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
