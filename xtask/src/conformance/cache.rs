//! `cargo xtask conformance cache`: the public tests of HTTP caches through Portico, nginx, Varnish and Traffic
//! Server, in one run against one origin.
//!
//! For: saying which program is the subject, and fetching the peers. Not for: running or judging; the suite in
//! `xtask/conformance/cache` does.

use serde_json::{Value, json};

use super::node::Suite;
use super::subject;
use crate::workspace::{self, Outcome, cargo};

/// The required tests that some cache can pass, the comparison of the optimal ones, and the log.
const CHECKS: usize = 163;
/// The peers' programs, and the Debian packages that bring them.
const PEERS: [(&str, &str); 3] =
    [("nginx", "nginx-light"), ("varnishd", "varnish"), ("traffic_server", "trafficserver")];

/// Runs the suite; `--proxy` takes the bare cache of `gateway/cache/examples/proxy.rs` in the door's place.
pub fn run(arguments: &[String]) -> Outcome {
    let folder = subject::folder("cache")?;
    let subject = match arguments {
        [word] if word == "--proxy" => bare()?,
        arguments => door(arguments)?,
    };
    for (program, package) in PEERS {
        if workspace::on_path(program).is_none()
            && let Err(reason) = workspace::install_with_apt(package)
        {
            println!("No {program}: {reason}");
        }
    }
    let suite = Suite::prepare("cache")?;
    let tally = suite.run(&json!({ "subject": subject, "work": folder }))?;
    workspace::print(&tally.report());
    tally.verdict(CHECKS)?;
    let _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

/// Returns how the door is started: the one function to change where that changes. `@LISTEN@` and `@ORIGIN@` are
/// ports, `@WORK@` a folder.
fn door(arguments: &[String]) -> Outcome<Value> {
    let binary = subject::binary("cache", arguments)?;
    let words = [
        "serve",
        "--data-dir",
        "@WORK@/data",
        "--listen",
        "127.0.0.1:@LISTEN@",
        "--set",
        "gateway.file=\"@WORK@/gateway.toml\"",
    ];
    let file = json!({ "from": "gateway.toml", "to": "@WORK@/gateway.toml" });
    Ok(json!({ "name": "Portico", "command": binary, "arguments": words, "files": [file] }))
}

/// Returns how the cache alone is started.
fn bare() -> Outcome<Value> {
    workspace::run(cargo().args(["build", "--package", "http_cache", "--example", "proxy", "--locked"]))?;
    let binary = workspace::target_folder().join("debug/examples/proxy");
    let words = ["127.0.0.1:@LISTEN@", "http://127.0.0.1:@ORIGIN@"];
    Ok(json!({ "name": "Portico's cache alone", "command": binary, "arguments": words, "files": [] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_is_pinned() {
        let wanted: Value =
            serde_json::from_str(&workspace::read("xtask/conformance/cache/package.json").unwrap()).unwrap();
        assert_eq!(wanted["dependencies"]["http-cache-tests"], "0.4.5", "an exact version");
        assert!(
            workspace::read("xtask/conformance/cache/package-lock.json").unwrap().contains("\"integrity\": \"sha512-")
        );
    }
}
