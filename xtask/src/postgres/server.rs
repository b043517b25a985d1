//! Starts the private server and makes sure that it ends.
//!
//! For: one server on a fresh folder for as long as xtask lives. A second process of xtask, the
//! guard, owns it: it holds the far end of a pipe, and when the pipe closes, because xtask is done,
//! was interrupted, panicked or was killed, it stops the server and removes the folder. So there is
//! no signal handler and no unsafe code here. Not for: a server that outlives a test run.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::account::Account;
use crate::workspace::{self, Outcome};

/// The name under which xtask starts itself as the guard.
pub const GUARD: &str = "postgres-guard";

const SUPERUSER: &str = "portico_test";
/// A socket's path may be 107 bytes long; PostgreSQL adds a name of about 20.
const LONGEST_FOLDER: usize = 80;

/// A running server; dropping it stops it.
pub struct Server {
    guard: Child,
    leash: Option<ChildStdin>,
    port: u16,
}

impl Server {
    /// Starts the guard with these programs and waits until the server answers.
    pub fn start(binaries: &Path) -> Outcome<Self> {
        let own = std::env::current_exe().map_err(|error| format!("cannot find xtask: {error}"))?;
        let mut command = workspace::program(own);
        command.arg(GUARD).arg(binaries).arg(log()).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Out of the terminal's group: Ctrl-C ends xtask, and the guard ends because of that.
        command.process_group(0);
        let mut guard = command.spawn().map_err(|error| workspace::not_started(&command, &error))?;
        let leash = guard.stdin.take();
        let mut line = String::new();
        if let Some(output) = guard.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        let mut server = Self { guard, leash, port: 0 };
        match line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok()) {
            Some(port) => {
                server.port = port;
                Ok(server)
            }
            None => Err(format!("the server did not start; {} may tell why", workspace::short(&log()))),
        }
    }

    /// Returns the address that the tests use.
    pub fn url(&self) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.leash.take();
        let _ = self.guard.wait();
    }
}

fn log() -> PathBuf {
    workspace::target_folder().join("tmp").join("postgres.log")
}

/// The guard: starts the server, says so, waits for the pipe to close, stops the server.
pub fn guard(arguments: &[String]) -> Outcome {
    let [binaries, log] = arguments else {
        return Err("xtask itself starts the guard".into());
    };
    let log = Path::new(log);
    let log = log
        .parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| File::create(log))
        .map_err(|error| format!("cannot write {}: {error}", workspace::short(log)))?;
    let cluster = Cluster::create(Path::new(binaries), log)?;
    let (mut server, port) = cluster.start()?;
    println!("ready {port}");
    let _ = std::io::stdout().flush();
    // Nothing is ever written: this ends when the last holder of the other end is gone.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    stop(&mut server);
    Ok(())
}

/// A data folder and what is needed to serve it; dropping it removes the folder.
struct Cluster {
    folder: PathBuf,
    binaries: PathBuf,
    account: Option<Account>,
    log: File,
}

impl Cluster {
    fn create(binaries: &Path, log: File) -> Outcome<Self> {
        let account = Account::for_server()?;
        let folder = private_folder()?;
        let cluster = Self { folder, binaries: binaries.to_path_buf(), account, log };
        if let Some(account) = account {
            account.own(&cluster.folder).map_err(|error| error.to_string())?;
        }
        let mut initdb = cluster.program("initdb")?;
        initdb.args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8"]);
        // Byte order everywhere: the same order as SQLite, whatever languages the machine has.
        initdb.args(["--locale", "C", "--pgdata"]).arg(cluster.data());
        let status = initdb.status().map_err(|error| workspace::not_started(&initdb, &error))?;
        if !status.success() {
            return Err(format!(
                "initdb ended with {status}; may its user enter {}? TMPDIR can name another place",
                std::env::temp_dir().display()
            ));
        }
        Ok(cluster)
    }

    /// Starts the server on a free port; another program may take the port first, so it retries.
    fn start(&self) -> Outcome<(Child, u16)> {
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .and_then(|listener| listener.local_addr())
                .map_err(|error| format!("no free port on 127.0.0.1: {error}"))?
                .port();
            let mut server = self.launch(port)?;
            if self.wait_until_ready(&mut server) {
                return Ok((server, port));
            }
            stop(&mut server);
        }
        Err("postgres did not become ready".into())
    }

    fn launch(&self, port: u16) -> Outcome<Child> {
        let mut command = self.program("postgres")?;
        command.arg("-D").arg(self.data());
        for setting in [
            format!("port={port}"),
            format!("unix_socket_directories={}", self.folder.display()),
            "listen_addresses=127.0.0.1".into(),
            "max_connections=200".into(),
            "shared_buffers=128MB".into(),
            "timezone=UTC".into(),
            // Portico refuses a server that may forget what it acknowledged.
            "fsync=on".into(),
            "synchronous_commit=on".into(),
            "full_page_writes=on".into(),
        ] {
            command.args(["-c", &setting]);
        }
        command.spawn().map_err(|error| workspace::not_started(&command, &error))
    }

    fn wait_until_ready(&self, server: &mut Child) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if !matches!(server.try_wait(), Ok(None)) {
                return false;
            }
            // The eighth line says what the server is doing; it is there before a client may ask.
            let state = std::fs::read_to_string(self.data().join("postmaster.pid"));
            if state.is_ok_and(|text| text.lines().nth(7).is_some_and(|line| line.trim() == "ready")) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn program(&self, name: &str) -> Outcome<Command> {
        let log = |file: &File| file.try_clone().map_err(|error| error.to_string());
        let mut command = Command::new(self.binaries.join(name));
        command.current_dir(&self.folder).env("LC_ALL", "C").env("HOME", &self.folder);
        command.stdin(Stdio::null()).stdout(log(&self.log)?).stderr(log(&self.log)?);
        if let Some(account) = self.account {
            account.apply(&mut command);
        }
        Ok(command)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Makes a folder that nobody else may enter.
fn private_folder() -> Outcome<PathBuf> {
    let name = format!("portico-test-{}", std::process::id());
    let mut folder = std::env::temp_dir().join(&name);
    if folder.as_os_str().len() > LONGEST_FOLDER {
        folder = Path::new("/tmp").join(name);
    }
    // Only what an earlier guard of the same number left, if it was killed itself.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .and_then(|()| std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)))
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    Ok(folder)
}

/// Asks the server to end at once but cleanly, then insists.
fn stop(server: &mut Child) {
    for signal in ["INT", "QUIT", "KILL"] {
        let deadline = Instant::now() + Duration::from_secs(10);
        workspace::signal(server, signal);
        while Instant::now() < deadline {
            if !matches!(server.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
