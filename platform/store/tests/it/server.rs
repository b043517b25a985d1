//! A PostgreSQL server of a test's own, on a disk that the shim can fill. Not the server that the
//! other tests share.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::shim::told;

/// The user that the server runs as when the tests run as root, which it refuses: nobody.
const NOBODY: u32 = 65_534;

pub struct Server {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    running: Child,
}

/// Finds the server's programs: where the environment says, or where `pg_config` does.
fn programs() -> Option<PathBuf> {
    let asked = || {
        let output = Command::new("pg_config").arg("--bindir").output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    let folder = PathBuf::from(told("PORTICO_TEST_POSTGRES_BIN").or_else(asked)?);
    folder.join("postgres").exists().then_some(folder)
}

/// Returns a command that runs as the owner of the folder.
fn program(programs: &Path, name: &str, folder: &Path) -> Command {
    let path = programs.join(name);
    let mut command = if folder.metadata().expect("is there").uid() == NOBODY {
        let mut command = Command::new("setpriv");
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Server {
    /// Starts a server under the shim, or says that the test is skipped.
    pub fn start(library: &Path) -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped: there are no PostgreSQL programs (PORTICO_TEST_POSTGRES_BIN)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        if folder.path().metadata().expect("is there").uid() == 0 {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("gives it away");
        }
        let whole = folder.path().canonicalize().expect("is there");
        let shim = whole.join("shim.so");
        std::fs::copy(library, &shim).expect("copies");
        let mut setup = program(&programs, "initdb", &whole);
        let made = setup.args(["-D", "data", "-U", "portico", "-A", "trust", "--no-sync"]).status();
        if !made.is_ok_and(|status| status.success()) {
            println!("skipped: no PostgreSQL server of its own can be made here");
            return None;
        }
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("binds");
        let port = free.local_addr().expect("has one").port();
        drop(free);
        let mut server = program(&programs, "postgres", &whole);
        server.args(["-D", "data", "-c", "listen_addresses=127.0.0.1", "-p", &port.to_string()]);
        server.args(["-k", ""]).env("LD_PRELOAD", &shim);
        server.env("SHIM_DIR", whole.join("data")).env("SHIM_FULL", whole.join("full"));
        let running = server.spawn().expect("starts");
        Some(Self { folder, programs, port, running })
    }

    /// Returns the server's URL; it may not answer yet.
    pub fn url(&self) -> String {
        format!("postgres://portico@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns the file that makes its disk full.
    pub fn full(&self) -> PathBuf {
        self.folder.path().join("full")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut stop = program(&self.programs, "pg_ctl", self.folder.path());
        let stopped = stop.args(["stop", "-D", "data", "-m", "immediate", "-t", "20"]).status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = self.running.kill();
        }
        let _ = self.running.wait();
    }
}
