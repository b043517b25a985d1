//! `cargo xtask conformance front-door`: servers and clients that others wrote, with the documented example of
//! `docs/examples/front-door` between them.
//!
//! For: making the packages ready, starting a fresh server on the example's gateway.toml with other ports, and
//! handing both to the suite. Not for: the checks, which are in `xtask/conformance/front-door`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::node::Suite;
use super::{python, subject};
use crate::budget::server::Server;
use crate::workspace::{self, Outcome};

/// How many checks there are; a suite that runs fewer proves less than it says.
const CHECKS: usize = 191;
const EXAMPLE: &str = "docs/examples/front-door";
/// The ports of the example. The suite listens in front of all but the last, to see what the door sends.
const PORTS: [(&str, u16); 6] =
    [("mlflow", 5000), ("shop", 3001), ("ticker", 3002), ("echo", 3003), ("files", 8081), ("issuer", 9000)];

/// Runs the suite, or with `--only mlflow,shop,events,sockets,files,overview,reload` some of it.
pub fn run(arguments: &[String]) -> Outcome {
    let (only, arguments) = match arguments {
        [word, names, rest @ ..] if word == "--only" => (Some(names.as_str()), rest),
        all => (None, all),
    };
    let nginx = nginx()?;
    let binary = subject::binary("front-door", arguments)?;
    let python = python::prepare("front-door")?;
    let suite = Suite::prepare("front-door")?;
    let folder = subject::folder("front-door")?;

    let (ports, listens) = (free_ports()?, free_ports()?);
    let mut text = workspace::read(Path::new(EXAMPLE).join("gateway.toml"))?;
    for (place, (name, documented)) in PORTS.iter().enumerate() {
        let port = if *name == "issuer" { ports[place] } else { listens[place] };
        text = text.replace(&format!(":{documented}"), &format!(":{port}"));
    }
    let file = folder.join("gateway.toml");
    std::fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", workspace::short(&file)))?;
    let data = folder.join("data");
    std::fs::create_dir_all(&data).map_err(|error| error.to_string())?;
    let settings = [format!("gateway.file=\"{}\"", file.display()), "gateway.watch_ms=100".to_owned()];
    let (server, _) = Server::start_with(&binary, &data, &settings)?;
    let signed_in = subject::sign_in(&server)?;
    let operator = subject::operator_token(&data)?;
    let named = |ports: &[u16]| -> Map<String, Value> {
        PORTS.iter().zip(ports).map(|((name, _), port)| ((*name).to_owned(), json!(port))).collect()
    };
    let mut taps = named(&listens);
    taps.remove("issuer");
    let tally = suite.run(&json!({
        "base": format!("http://{}", server.address()),
        "signedIn": signed_in,
        "ports": named(&ports),
        "listens": taps,
        "example": workspace::root().join(EXAMPLE),
        "work": folder,
        "file": file,
        "log": data.with_extension("log"),
        "pid": server.process(),
        "python": python.program,
        "packages": python.packages,
        "nginx": nginx,
        "only": only,
    }))?;
    let output = server.output()?;
    server.stop()?;
    workspace::print(&tally.report());
    if only.is_some() {
        return Ok(());
    }
    tally.verdict(CHECKS)?;
    // The suite has the door read a file with a mistake.
    let output: String =
        output.lines().filter(|line| !line.contains("is not used")).flat_map(|line| [line, "\n"]).collect();
    subject::quiet(&output, &operator)?;
    // A failed run leaves the data and the log.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

/// Returns nginx, which Debian keeps where only root looks for programs.
fn nginx() -> Outcome<String> {
    let find = || {
        let kept = Path::new("/usr/sbin/nginx").to_path_buf();
        workspace::on_path("nginx").or_else(|| Some(kept).filter(|file| file.is_file()))
    };
    if find().is_none() {
        workspace::install_with_apt("nginx-light").map_err(|reason| format!("there is no nginx: {reason}"))?;
    }
    find().map(|file| file.display().to_string()).ok_or("there is no nginx".into())
}

fn free_ports() -> Outcome<Vec<u16>> {
    // All held until all are known, so that no two are the same.
    let held: std::io::Result<Vec<TcpListener>> =
        PORTS.iter().map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
    let held = held.map_err(|error| format!("no free port on 127.0.0.1: {error}"))?;
    held.iter().map(|one| one.local_addr().map(|address| address.port()).map_err(|error| error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(file: &str) -> Value {
        serde_json::from_str(&workspace::read(file).unwrap()).unwrap()
    }

    #[test]
    fn the_suite_runs_the_versions_that_the_example_documents() {
        let example = json("docs/examples/front-door/package.json");
        let suite = json("xtask/conformance/front-door/package.json");
        let wanted = example["dependencies"].as_object().unwrap();
        assert_eq!(wanted.len(), 4);
        for (name, version) in wanted {
            assert_eq!(&suite["dependencies"][name], version, "{name}");
            assert!(version.as_str().unwrap().starts_with(|letter: char| letter.is_ascii_digit()), "an exact version");
        }
        let mlflow = workspace::read("docs/examples/front-door/requirements.txt").unwrap();
        let requirements = workspace::read("xtask/conformance/front-door/requirements.txt").unwrap();
        assert!(requirements.contains(&format!("{} \\", mlflow.trim())), "{mlflow}");
        assert_eq!(requirements.matches("==").count(), requirements.matches("--hash=sha256:").count());
    }

    #[test]
    fn every_port_of_the_example_is_replaced() {
        let text = workspace::read("docs/examples/front-door/gateway.toml").unwrap();
        for (name, port) in PORTS {
            assert!(text.contains(&format!(":{port}")), "{name} is not in gateway.toml");
        }
        assert_eq!(text.matches("\"http://").count(), 7, "an address more than there are ports");
    }

    #[test]
    fn the_document_says_how_many_checks_there_are() {
        let document = workspace::read("docs/conformance.md").unwrap();
        assert!(document.contains(&format!("| {CHECKS}, all passed |")), "docs/conformance.md: {CHECKS} checks");
    }
}
