//! Autobahn's fuzzing client, which wants Python 2.7.
//!
//! For: finding that Python, installing the pinned packages under `target/tools`, and running cases. Not for: what
//! the reports say.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::workspace::{self, Outcome};

/// Autobahn's program, and the Python that runs it.
pub(super) struct Wstest {
    python: PathBuf,
    packages: PathBuf,
}

impl Wstest {
    /// Installs it, once for each list of pinned packages.
    pub(super) fn prepare() -> Outcome<Self> {
        let python = python27().ok_or(
            "there is no Python 2.7, which Autobahn's suite wants: put `python2.7` on the PATH, or install it with \
             pyenv (`pyenv install 2.7.18`)",
        )?;
        let packages = workspace::target_folder().join("tools/conformance-websocket-python");
        let list = "xtask/conformance/websocket/requirements.txt";
        let pinned = workspace::read(list)?;
        let stamp = packages.join("pinned.txt");
        if std::fs::read_to_string(&stamp).ok().as_ref() != Some(&pinned) {
            let _ = std::fs::remove_dir_all(&packages);
            std::fs::create_dir_all(&packages).map_err(|error| error.to_string())?;
            let mut install = workspace::program(&python);
            install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
            install.args(["--require-hashes", "--requirement", list, "--target"]).arg(&packages);
            workspace::run(&mut install)?;
            std::fs::write(&stamp, &pinned).map_err(|error| error.to_string())?;
        }
        Ok(Self { python, packages })
    }

    /// Runs these cases against each of these servers, named and with its address.
    pub(super) fn run(&self, reports: &Path, servers: &[(&str, String)], cases: &[String]) -> Outcome {
        let servers: Vec<Value> = servers.iter().map(|(agent, url)| json!({ "agent": agent, "url": url })).collect();
        let spec = json!({
            "outdir": reports,
            "servers": servers,
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        });
        let file = reports.join("spec.json");
        std::fs::write(&file, spec.to_string()).map_err(|error| error.to_string())?;
        let log = std::fs::File::create(reports.join("wstest.log")).map_err(|error| error.to_string())?;
        let mut command = workspace::program(&self.python);
        // Not the PYTHONPATH: `zope` is a namespace that only a folder of packages can make.
        let program = "import os, site; site.addsitedir(os.environ['PACKAGES']); \
                       from autobahntestsuite.wstest import run; run()";
        command.args(["-W", "ignore", "-c", program]);
        command.args(["-m", "fuzzingclient", "-s"]).arg(&file).env("PACKAGES", &self.packages);
        let errors = log.try_clone().map_err(|error| error.to_string())?;
        command.stdout(log).stderr(errors);
        workspace::run(&mut command)
    }
}

fn python27() -> Option<PathBuf> {
    let pyenv = || {
        let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
        let root = root.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")))?;
        Some(root.join("versions/2.7.18/bin/python2.7")).filter(|file| file.is_file())
    };
    // A shim of pyenv is on the PATH also where no version stands behind it.
    let works = |file: &PathBuf| workspace::quiet_output(workspace::program(file).args(["-c", "print 7"])).is_some();
    pyenv().or_else(|| workspace::on_path("python2.7")).filter(works)
}
