//! The real binary as a child process: commands that end, and servers with their own data folder,
//! started, found, signed in to, stopped and killed. Not for what they answer.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;

/// How long a server may take to be ready or to stop before the test has failed.
const LIMIT: Duration = Duration::from_secs(30);
/// How often a state is looked at while it is waited for.
const GLANCE: Duration = Duration::from_millis(3);

/// Reads a variable of the test run; an empty one counts as missing.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration to read it")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the binary as a command without settings from the environment of the test run.
pub fn portico(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portico"));
    for name in settings_of_this_process() {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "the names are needed to take them away")]
fn settings_of_this_process() -> Vec<String> {
    let names = std::env::vars().map(|(name, _)| name);
    names.filter(|name| name.starts_with("PORTICO_")).collect()
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Returns what it printed, when it went well.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// Returns what it complained of, when it failed with code 1 as a refusal does.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        self.err
    }
}

/// Runs a command to its end; one that goes on, such as a server that was not refused, is killed.
pub fn run(command: &mut Command) -> Ended {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the binary starts");
    let out = follow(child.stdout.take().expect("piped"));
    let err = follow(child.stderr.take().expect("piped"));
    let (Ok(out), Ok(err)) = (out.recv_timeout(LIMIT), err.recv_timeout(LIMIT)) else {
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
        panic!("{command:?} did not end within {LIMIT:?}");
    };
    let status = child.wait().expect("it can be waited for");
    Ended { code: status.code(), out, err }
}

fn follow(mut output: impl Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).expect("UTF-8");
        send.send(text)
    });
    receive
}

/// Looks again and again until there is something, at most for `limit`.
pub async fn until<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        tokio::time::sleep(GLANCE).await;
    }
}

/// A data folder and the settings that its servers start with.
pub struct Installation {
    home: TempDir,
    arguments: Vec<String>,
}

impl Installation {
    /// Returns an installation on SQLite whose data folder is not there yet.
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut new = Self { home, arguments: Vec::new() };
        let data = new.data().display().to_string();
        new.arguments = vec!["--data-dir".to_owned(), data];
        new.set("log.filter", "warn")
    }

    /// Adds a setting.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        self
    }

    /// Returns the data folder.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Returns a place for a file of the test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Returns the URL of the SQLite database.
    pub fn sqlite_url(&self) -> String {
        format!("sqlite:{}", self.data().join("portico.db").display())
    }

    /// Returns a command with this installation's settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = portico(arguments);
        command.args(&self.arguments).current_dir(self.home.path());
        command
    }

    /// Runs a command with this installation's settings to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        run(&mut self.command(arguments))
    }

    /// Starts a server on a free port and waits until it is ready.
    pub async fn start(&self) -> Server {
        self.start_at("127.0.0.1:0").await
    }

    /// Starts a server on this address and waits until it is ready.
    pub async fn start_at(&self, listen: &str) -> Server {
        self.start_as(self.command(&["serve", "--listen", listen])).await
    }

    /// Starts a server with this command and waits until it is ready.
    pub async fn start_as(&self, command: Command) -> Server {
        let mut server = self.spawn(command);
        server.wait_until_ready(self).await;
        server
    }

    /// Starts a server that fails as the plan says, which may be before it is ready: see `store::fault`.
    pub async fn start_to_fail(&self, plan: &str) -> Server {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("PORTICO_TEST_FAULT", plan);
        let mut server = self.spawn(command);
        let (lock, pid) = (self.data().join("portico.lock"), server.pid());
        until(LIMIT, "the server to listen or to end", async || {
            server.address = announced(&lock, pid).unwrap_or(server.address);
            (server.address.port() != 0 || server.try_wait().is_some()).then_some(())
        })
        .await;
        server
    }

    /// Starts a server and waits for nothing.
    pub fn launch(&self, listen: &str) -> Server {
        self.spawn(self.command(&["serve", "--listen", listen]))
    }

    fn spawn(&self, mut command: Command) -> Server {
        let log = |name: &str| File::create(self.file(name)).expect("a file for the output");
        command.stdout(log("stdout")).stderr(log("stderr"));
        Server {
            started: Instant::now(),
            child: command.spawn().expect("the binary starts"),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            first_answer: Duration::ZERO,
            output: self.file("stdout"),
            errors: self.file("stderr"),
        }
    }
}

/// A running server; dropping it kills it.
pub struct Server {
    child: Child,
    started: Instant,
    /// Where it listens.
    pub address: SocketAddr,
    /// How long it took from its start to its first answer.
    pub first_answer: Duration,
    output: PathBuf,
    errors: PathBuf,
}

impl Server {
    async fn wait_until_ready(&mut self, installation: &Installation) {
        let (lock, pid) = (installation.data().join("portico.lock"), self.pid());
        let errors = self.errors.clone();
        let (child, mut address) = (&mut self.child, None);
        until(LIMIT, "the server to be ready", async || {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                panic!("the server ended with {status}: {}", read(&errors));
            }
            address = address.or_else(|| announced(&lock, pid));
            let mut client = Client::connect(address?, None).await.ok()?;
            let request = client.request(http::Method::GET, "/health/ready");
            let answer = client.send(request, None).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
        self.first_answer = self.started.elapsed();
        self.address = address.expect("it answered there");
    }

    /// Returns the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns a connection to it.
    pub async fn connect(&self, token: Option<&Arc<str>>) -> Client {
        let connected = Client::connect(self.address, token.cloned()).await;
        connected.expect("the server accepts")
    }

    /// Exchanges the code that the first start printed for what signing in gives.
    pub async fn session(&self) -> Value {
        let code = until(LIMIT, "the one-use code", async || self.printed_code()).await;
        let mut client = self.connect(None).await;
        client.post("/api/auth/login", &json!({ "code": code })).await.expect(200).json()
    }

    /// Exchanges the code that the first start printed for an API token, which outlives long tests.
    pub async fn sign_in(&self) -> Arc<str> {
        let access = self.session().await["accessToken"].take();
        let mut client = self.connect(Some(&access.as_str().expect("a token").into())).await;
        let made = client.post("/api/auth/tokens", &json!({ "name": "test" })).await.expect(201).json();
        made["token"].as_str().expect("a token").into()
    }

    /// Returns the code that the first start printed, if it did.
    pub fn printed_code(&self) -> Option<String> {
        code_in(&read(&self.output))
    }

    /// Returns what it wrote to standard output and standard error.
    pub fn said(&self) -> String {
        read(&self.output) + &read(&self.errors)
    }

    /// Asks it to stop, as a service manager would.
    pub fn terminate(&self) {
        // The shell's own kill is on every machine, and a library for signals is not needed.
        let mut kill = Command::new("sh");
        kill.args(["-c", "kill -TERM \"$1\"", "sh", &self.pid().to_string()]);
        assert!(kill.status().expect("a shell").success(), "kill -TERM");
    }

    /// Kills it at once and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// Says how it ended, if it did.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be asked")
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        until(LIMIT, "the server to end", async || self.try_wait()).await
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(mut self) {
        self.terminate();
        let status = self.ended().await;
        assert!(status.success(), "{status}: {}", self.said());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Reads from the lock where the server listens; the note of a killed one before it does not count.
fn announced(lock: &Path, pid: u32) -> Option<SocketAddr> {
    let note: Value = serde_json::from_str(&read(lock)).ok()?;
    (note["pid"] == pid).then(|| note["address"].as_str()?.parse().ok())?
}

/// Finds a one-use code in printed text: four groups of five digits, alone on their line.
pub fn code_in(text: &str) -> Option<String> {
    let is_code = |line: &&str| {
        let groups: Vec<&str> = line.split('-').collect();
        groups.len() == 4
            && groups.iter().all(|group| group.len() == 5 && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    text.lines().map(str::trim).find(is_code).map(str::to_owned)
}
