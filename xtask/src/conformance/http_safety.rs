//! `cargo xtask conformance http-safety`: what the front door makes of requests that two servers could read in
//! two ways, and of clients that mean harm.
//!
//! For: making Python and the servers ready that others wrote, and starting the proof. Not for: the cases and
//! the checks, which are in `xtask/conformance/http-safety`.

use super::{python, subject};
use crate::workspace::{self, Outcome};

/// What must be on the machine beside what pip brings: two servers, one that is a library's, and an attacker.
const PROGRAMS: [(&str, &str); 4] =
    [("nginx", "nginx"), ("haproxy", "haproxy"), ("node", "nodejs"), ("slowhttptest", "slowhttptest")];

/// Runs the proof, or with `--only corpus,readers,slow,http2` some of it.
pub fn run(arguments: &[String]) -> Outcome {
    let (only, arguments) = match arguments {
        [word, names, rest @ ..] if word == "--only" => (Some(names.as_str()), rest),
        all => (None, all),
    };
    let binary = subject::binary("http-safety", arguments)?;
    for (program, package) in PROGRAMS {
        let found = workspace::on_path(program).is_some() || std::path::Path::new("/usr/sbin").join(program).exists();
        if !found {
            return Err(format!("there is no `{program}`; on Debian it is in the package `{package}`"));
        }
    }
    let python = python::prepare("http-safety")?;
    let folder = subject::folder("http-safety")?;
    let mut proof = workspace::program(&python.program);
    proof.arg(workspace::root().join("xtask/conformance/http-safety/main.py"));
    proof.env("PYTHONPATH", &python.packages).env("PYTHONDONTWRITEBYTECODE", "1");
    if let Some(only) = only {
        proof.args(["--only", only]);
    }
    workspace::run(proof.arg(&binary).arg(&folder))?;
    let log = std::fs::read_to_string(folder.join("portico.log")).map_err(|error| format!("no log: {error}"))?;
    subject::quiet(&log, &subject::operator_token(&folder.join("data"))?)?;
    // A failed run leaves the data and the logs.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readers_are_pinned() {
        let requirements = workspace::read("xtask/conformance/http-safety/requirements.txt").unwrap();
        let (pins, hashes) = (requirements.matches("==").count(), requirements.matches("--hash=sha256:").count());
        assert_eq!((pins, hashes), (6, 6));
    }
}
