//! A child process whose file system is watched by `tests/shim/portico_shim.c`: it is this test
//! binary again, running one test that does nothing unless it is told to. Not for what the child
//! does: see `unsynced` and `faults`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

const SOURCE: &str = include_str!("../shim/portico_shim.c");
const ROLE: &str = "PORTICO_TEST_CHILD";

/// Compiles the shim, once, or says that the test is skipped.
pub fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let built = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (source, library) = (folder.path().join("shim.c"), folder.path().join("shim.so"));
        std::fs::write(&source, SOURCE).expect("writes");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).args(["-ldl", "-lpthread"]);
        let done = compiler.status().ok()?;
        assert!(done.success(), "the shim does not compile");
        Some((folder, library))
    });
    if built.is_none() {
        println!("skipped: there is no C compiler `cc`");
    }
    built.as_ref().map(|(_, library)| library.as_path())
}

/// Returns what a child was told to do, and nothing in the parent.
#[expect(clippy::disallowed_methods, reason = "how the parent tells its child")]
pub fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns which part a child plays.
pub fn role() -> Option<String> {
    told(ROLE)
}

/// A folder with a database in it, watched by the shim while a child runs.
pub struct Watched {
    whole: TempDir,
}

impl Watched {
    pub fn new() -> Self {
        let whole = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(whole.path().join("data")).expect("a folder");
        Self { whole }
    }

    fn path(&self, name: &str) -> PathBuf {
        // The shim compares with what the kernel calls the path.
        self.whole.path().canonicalize().expect("is there").join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn log(&self) -> PathBuf {
        self.path("log")
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.data().join("portico.db").display())
    }

    /// Removes the journal of the child before.
    pub fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.log());
        std::fs::create_dir(self.log()).expect("a folder");
    }

    /// The file that makes the shim refuse room, or fail every sync.
    pub fn flag(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// Starts a child: `test` is the test that plays the part.
    pub fn start(&self, library: &Path, test: &str, role: &str, more: &[(&str, String)]) -> Running {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        command.env("LD_PRELOAD", library).env("SHIM_DIR", self.data());
        command.env("SHIM_FULL", self.flag("full")).env("SHIM_BROKEN", self.flag("broken"));
        command.env(ROLE, role).env("PORTICO_TEST_STORE", self.url());
        command.envs(more.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Running { child, lines: Box::new(lines.map(|line| line.expect("reads"))) }
    }
}

/// A child at work.
pub struct Running {
    child: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Running {
    /// Returns the next word that the child says after `mark`, and nothing once it has ended.
    pub fn next(&mut self, mark: &str) -> Option<String> {
        self.lines.by_ref().find_map(|line| line.strip_prefix(mark).map(str::to_owned))
    }

    /// Kills it at once, and returns what it had said by then.
    pub fn kill(mut self, mark: &str) -> Vec<String> {
        self.child.kill().expect("is killed");
        let rest = std::iter::from_fn(|| self.next(mark)).collect();
        self.child.wait().expect("has ended");
        rest
    }

    /// Waits for its end; returns whether its test went well, and all that it said.
    pub fn end(mut self) -> (bool, Vec<String>) {
        let said: Vec<_> = self.lines.by_ref().inspect(|line| println!("child: {line}")).collect();
        (self.child.wait().expect("has ended").success(), said)
    }
}

/// Says a line to the parent at once, whatever the test harness does with printed text.
pub fn say(line: &str) {
    use std::io::Write as _;
    let mut output = std::io::stdout().lock();
    // One write, so that a kill cuts no line in half.
    output.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| output.flush()).expect("the parent listens");
}
