//! `cargo xtask conformance http-safety` and `http-abuse`: what the front door makes of requests that two servers
//! could read in two ways, and of clients that mean harm.
//!
//! For: making Python and the servers ready that others wrote, and starting the proof on Portico. Not for: the cases
//! and the checks, which are in `xtask/conformance/http-safety`.

use super::{python, subject};
use crate::workspace::{self, Outcome};

/// Programs that must be there, and the Debian packages that bring them: two servers, and one that is a library's.
const READERS: &[(&str, &str)] = &[("nginx", "nginx-light"), ("haproxy", "haproxy"), ("node", "nodejs")];
/// An attacker that others wrote.
const ATTACKERS: &[(&str, &str)] = &[("slowhttptest", "slowhttptest")];

/// Runs the raw requests, or with `--only corpus,readers,http2` some of them.
pub fn run(arguments: &[String]) -> Outcome {
    match arguments {
        [word, names, rest @ ..] if word == "--only" => prove("http-safety", names, READERS, rest),
        all => prove("http-safety", "corpus,readers,http2", READERS, all),
    }
}

/// Runs slow clients and floods.
pub fn run_abuse(arguments: &[String]) -> Outcome {
    prove("http-abuse", "abuse", ATTACKERS, arguments)
}

fn prove(name: &str, sections: &str, programs: &[(&str, &str)], arguments: &[String]) -> Outcome {
    let binary = subject::binary(name, arguments)?;
    for (program, package) in programs {
        let found =
            || workspace::on_path(program).is_some() || std::path::Path::new("/usr/sbin").join(program).exists();
        if !found() {
            workspace::install_with_apt(package).map_err(|reason| format!("there is no `{program}`: {reason}"))?;
        }
    }
    let python = python::prepare("http-safety")?;
    let folder = subject::folder(name)?;
    let mut proof = workspace::program(&python.program);
    proof.arg(workspace::root().join("xtask/conformance/http-safety/main.py"));
    proof.env("PYTHONPATH", &python.packages).env("PYTHONDONTWRITEBYTECODE", "1");
    workspace::run(proof.args(["--only", sections]).arg(&binary).arg(&folder))?;
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
