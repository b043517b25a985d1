//! The peers: installing what they stand on, starting one. Not for what they do; that is in
//! `bench/peers/inventory`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::load::CONNECTIONS;
use crate::Outcome;

const FAST_API: &str = "target/tools/bench-inventory-fastapi";
const FAST_API_FILES: &[(&str, &str)] = &[
    ("requirements.txt", include_str!("../../peers/inventory/fastapi/requirements.txt")),
    ("answers.py", include_str!("../../peers/inventory/fastapi/answers.py")),
    ("auth.py", include_str!("../../peers/inventory/fastapi/auth.py")),
    ("database.py", include_str!("../../peers/inventory/fastapi/database.py")),
    ("items.py", include_str!("../../peers/inventory/fastapi/items.py")),
    ("main.py", include_str!("../../peers/inventory/fastapi/main.py")),
    ("tables.py", include_str!("../../peers/inventory/fastapi/tables.py")),
];
const EXPRESS: &str = "target/tools/bench-inventory-express";
const EXPRESS_FILES: &[(&str, &str)] = &[
    ("package.json", include_str!("../../peers/inventory/express/package.json")),
    ("package-lock.json", include_str!("../../peers/inventory/express/package-lock.json")),
    ("answers.mjs", include_str!("../../peers/inventory/express/answers.mjs")),
    ("auth.mjs", include_str!("../../peers/inventory/express/auth.mjs")),
    ("database.mjs", include_str!("../../peers/inventory/express/database.mjs")),
    ("items.mjs", include_str!("../../peers/inventory/express/items.mjs")),
    ("main.mjs", include_str!("../../peers/inventory/express/main.mjs")),
];

/// The peer on FastAPI, installed.
pub struct FastApi {
    folder: PathBuf,
    program: &'static str,
    version: String,
}

/// The peer on Express, installed.
pub struct Express {
    folder: PathBuf,
    version: String,
}

/// A server that says where it listens in its first line; dropping it ends it.
pub struct Announced {
    child: Child,
    pub address: SocketAddr,
}

impl FastApi {
    /// Installs it where it is not there yet.
    pub fn install() -> Outcome<Self> {
        let found = ["python3", "python"].into_iter().find_map(|program| Some((program, version(program)?)));
        let (program, version) = found.ok_or("there is no Python on this machine")?;
        let folder = write(FAST_API, FAST_API_FILES)?;
        let install = |into: &Path| {
            let mut pip = Command::new(program);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
            pip.args(["--only-binary", ":all:", "--requirement"]).arg(folder.join("requirements.txt"));
            pip.arg("--target").arg(into).env("PIP_ROOT_USER_ACTION", "ignore");
            pip
        };
        once(&folder, "packages", FAST_API_FILES[0].1, install)?;
        Ok(Self { folder, program, version })
    }

    /// Says what it is, with versions.
    pub fn names(&self) -> String {
        let wanted = ["fastapi", "sqlalchemy", "asyncpg", "uvicorn", "uvloop", "httptools", "orjson"];
        let lines = FAST_API_FILES[0].1.lines().filter_map(|line| line.split_once("=="));
        let named =
            lines.filter(|(name, _)| wanted.contains(name)).map(|(name, version)| format!("`{name}` {version}"));
        format!("{}, {}", self.version, named.collect::<Vec<_>>().join(", "))
    }

    /// Starts it on this database.
    pub fn start(&self, url: &str) -> Outcome<Announced> {
        let mut command = Command::new(self.program);
        command.arg(self.folder.join("main.py")).env("PYTHONPATH", self.folder.join("packages"));
        Announced::start(command, url)
    }
}

impl Express {
    /// Installs it where it is not there yet; the versions are those of the lock file.
    pub fn install() -> Outcome<Self> {
        let version = version("node").ok_or("there is no Node on this machine")?;
        let folder = write(EXPRESS, EXPRESS_FILES)?;
        let install = |_: &Path| {
            let mut npm = Command::new("npm");
            npm.args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&folder);
            npm
        };
        once(&folder, "node_modules", EXPRESS_FILES[1].1, install)?;
        Ok(Self { folder, version })
    }

    /// Says what it is, with versions.
    pub fn names(&self) -> String {
        let wanted: Value = serde_json::from_str(EXPRESS_FILES[0].1).unwrap_or_default();
        let packages = wanted["dependencies"].as_object().into_iter().flatten();
        let named = packages.map(|(name, version)| format!("`{name}` {}", version.as_str().unwrap_or_default()));
        format!("Node {}, {}", self.version, named.collect::<Vec<_>>().join(", "))
    }

    /// Starts it on this database.
    pub fn start(&self, url: &str) -> Outcome<Announced> {
        let mut command = Command::new("node");
        command.arg(self.folder.join("main.mjs")).env("NODE_ENV", "production");
        Announced::start(command, url)
    }
}

impl Announced {
    /// Starts a program on this database and waits for it to say where it listens.
    pub fn start(mut command: Command, url: &str) -> Outcome<Self> {
        command.env("DATABASE_URL", url).env("POOL", CONNECTIONS.to_string());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        match said["address"].as_str().and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Self { child, address }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("{} did not start", command.get_program().display()).into())
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn version(program: &str) -> Option<String> {
    let said = Command::new(program).arg("--version").output().ok().filter(|said| said.status.success())?;
    Some(String::from_utf8_lossy(&said.stdout).trim().trim_start_matches('v').to_owned())
}

fn write(folder: &str, files: &[(&str, &str)]) -> Outcome<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let folder = std::fs::canonicalize(folder)?;
    for (name, text) in files {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(folder)
}

/// Installs packages into a folder beside the sources, once for each list of them.
fn once(folder: &Path, packages: &str, list: &str, install: impl Fn(&Path) -> Command) -> Outcome {
    // Written when everything is there: an install that broke off is begun anew.
    let (stamp, into) = (folder.join("installed.txt"), folder.join(packages));
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == list) {
        return Ok(());
    }
    if into.exists() {
        std::fs::remove_dir_all(&into)?;
    }
    let mut command = install(&into);
    let program = command.get_program().display().to_string();
    let installed = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match installed.map_err(|_| format!("there is no {program} on this machine"))?.success() {
        true => Ok(std::fs::write(&stamp, list)?),
        false => Err(format!("{program} could not install the packages").into()),
    }
}
