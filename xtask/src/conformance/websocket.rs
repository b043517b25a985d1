//! `cargo xtask conformance websocket`: Autobahn's fuzzing client against an echo server, directly and through the
//! proxy, case by case.
//!
//! For: no failure through the proxy that the server alone does not have. Not for: judging the server; npm's `ws` is
//! what it is.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::node::Suite;
use crate::workspace::{self, Outcome, cargo};

/// How many cases Autobahn's version 25.10.1 has; a run with fewer proves less than it says.
const CASES: usize = 517;
const DIRECT: &str = "direct";
const PROXIED: &str = "proxied";
const NAME: &str = "websocket";

/// A program that is stopped when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the suite; with `--through ws://HOST:PORT/PATH --origin ADDRESS:PORT` through a proxy that runs already, with
/// `--cases 1.*,7.*` a part of it.
pub fn run(arguments: &[String]) -> Outcome {
    let asked = Asked::read(arguments)?;
    let wstest = Wstest::prepare()?;
    Suite::prepare(NAME)?;
    let mut echo = workspace::program("node");
    echo.arg("main.mjs").current_dir(tools(NAME));
    let echo = match &asked.origin {
        Some(_) => None,
        None => Some(start(echo)?),
    };
    let origin = echo.as_ref().map_or_else(|| asked.origin.clone().unwrap_or_default(), |echo| echo.1.clone());
    let mut ours = None;
    let through = match &asked.through {
        Some(url) => url.clone(),
        None => {
            let running = start(proxy(&origin)?)?;
            let url = format!("ws://{}", running.1);
            ours = Some(running);
            url
        }
    };
    let reports = workspace::target_folder().join("tmp/conformance-websocket");
    let _ = std::fs::remove_dir_all(&reports);
    std::fs::create_dir_all(&reports).map_err(|error| error.to_string())?;
    wstest.run(&reports, &[(DIRECT, format!("ws://{origin}")), (PROXIED, through)], &asked.cases)?;
    drop((ours, echo));
    let index = std::fs::read_to_string(reports.join("index.json")).map_err(|error| format!("no report: {error}"))?;
    let index: Value = serde_json::from_str(&index).map_err(|error| format!("the report is not JSON: {error}"))?;
    let comparison = Comparison::of(&index)?;
    workspace::print(&comparison.table());
    comparison.verdict(asked.cases == ["*"])
}

/// What the arguments ask for.
struct Asked {
    through: Option<String>,
    origin: Option<String>,
    cases: Vec<String>,
}

impl Asked {
    fn read(arguments: &[String]) -> Outcome<Self> {
        let mut asked = Self { through: None, origin: None, cases: vec!["*".into()] };
        for pair in arguments.chunks(2) {
            match pair {
                [word, value] if word == "--through" => asked.through = Some(value.clone()),
                [word, value] if word == "--origin" => asked.origin = Some(value.clone()),
                [word, value] if word == "--cases" => asked.cases = value.split(',').map(str::to_owned).collect(),
                _ => return Err("the suite `websocket` takes --through URL, --origin ADDRESS and --cases LIST".into()),
            }
        }
        if asked.through.is_some() != asked.origin.is_some() {
            return Err("--through needs --origin, the echo server behind that proxy, and the other way round".into());
        }
        Ok(asked)
    }
}

fn tools(name: &str) -> PathBuf {
    workspace::target_folder().join("tools").join(format!("conformance-{name}"))
}

/// The smallest program around the proxy's crate.
fn proxy(origin: &str) -> Outcome<Command> {
    workspace::run(cargo().args(["build", "--package", "ws_proxy", "--example", "ws_proxy"]))?;
    let mut proxy = workspace::program(workspace::target_folder().join("debug/examples/ws_proxy"));
    proxy.args(["127.0.0.1:0", origin]);
    Ok(proxy)
}

/// Starts a program that says where it listens.
fn start(mut command: Command) -> Outcome<(Running, String)> {
    let child = command.stdout(Stdio::piped()).spawn().map_err(|error| workspace::not_started(&command, &error))?;
    let mut running = Running(child);
    let mut line = String::new();
    let output = running.0.stdout.take().ok_or("a program without output")?;
    BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
    let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
    Ok((running, address.ok_or(format!("{} did not say where it listens", workspace::describe(&command)))?))
}

/// Autobahn's program, and the Python that runs it.
struct Wstest {
    python: PathBuf,
    packages: PathBuf,
}

impl Wstest {
    fn prepare() -> Outcome<Self> {
        let python = python27().ok_or(
            "there is no Python 2.7, which Autobahn's suite wants: put `python2.7` on the PATH, or install it with \
             pyenv (`pyenv install 2.7.18`)",
        )?;
        let packages = tools("websocket-python");
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

    fn run(&self, reports: &Path, servers: &[(&str, String)], cases: &[String]) -> Outcome {
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

/// A case, and how it went with and without the proxy.
struct Case {
    name: String,
    direct: String,
    proxied: String,
}

struct Comparison(Vec<Case>);

/// Says how a case went: its behaviour, and how the connection was closed where that is not as it should be.
fn judged(case: &Value) -> String {
    let (behaviour, close) = (case["behavior"].as_str().unwrap_or("?"), case["behaviorClose"].as_str().unwrap_or("?"));
    if close == "OK" || close == "INFORMATIONAL" { behaviour.to_owned() } else { format!("{behaviour}, close {close}") }
}

fn failed(judged: &str) -> bool {
    ["FAILED", "WRONG CODE", "UNCLEAN", "?"].iter().any(|word| judged.contains(word))
}

impl Comparison {
    fn of(index: &Value) -> Outcome<Self> {
        let cases = index[DIRECT].as_object().ok_or("the report has no direct run")?;
        let mut all: Vec<Case> = cases
            .iter()
            .map(|(name, case)| Case {
                name: name.clone(),
                direct: judged(case),
                proxied: judged(&index[PROXIED][name.as_str()]),
            })
            .collect();
        all.sort_by_key(|case| case.name.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>());
        Ok(Self(all))
    }

    fn table(&self) -> String {
        let group = |case: &Case| case.name.split('.').next().unwrap_or_default().to_owned();
        let mut groups: Vec<String> = self.0.iter().map(group).collect();
        groups.dedup();
        let mut text = format!("\n{:<8} {:>6}   {:<44} {}\n", "group", "cases", DIRECT, PROXIED);
        for name in groups {
            let cases: Vec<&Case> = self.0.iter().filter(|case| group(case) == name).collect();
            let count = |of: fn(&Case) -> &String| {
                let mut counts: Vec<(&str, usize)> = Vec::new();
                for case in &cases {
                    match counts.iter_mut().find(|(word, _)| *word == of(case)) {
                        Some((_, count)) => *count += 1,
                        None => counts.push((of(case), 1)),
                    }
                }
                counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join("; ")
            };
            let (direct, proxied) = (count(|case| &case.direct), count(|case| &case.proxied));
            text.push_str(&format!("{name:<8} {:>6}   {direct:<44} {proxied}\n", cases.len()));
        }
        for case in self.0.iter().filter(|case| case.direct != case.proxied) {
            text.push_str(&format!("differs  {}: {} directly, {} proxied\n", case.name, case.direct, case.proxied));
        }
        text
    }

    fn verdict(&self, whole: bool) -> Outcome {
        let worse: Vec<&str> = self
            .0
            .iter()
            .filter(|case| failed(&case.proxied) && !failed(&case.direct))
            .map(|case| case.name.as_str())
            .collect();
        if !worse.is_empty() {
            return Err(format!("failures that only the proxy has: {}", worse.join(", ")));
        }
        match self.0.len() {
            CASES => println!("{CASES} cases, no failure through the proxy that the server alone does not have"),
            some if whole => return Err(format!("{some} cases ran instead of {CASES}")),
            some => println!("Only {some} of {CASES} cases ran: that is not the whole suite."),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(proxied: &str, close: &str) -> Value {
        let fine = json!({ "behavior": "OK", "behaviorClose": "OK" });
        json!({
            "direct": { "1.1.10": fine, "1.1.2": { "behavior": "FAILED", "behaviorClose": "OK" } },
            "proxied": {
                "1.1.10": { "behavior": proxied, "behaviorClose": close },
                "1.1.2": { "behavior": "FAILED", "behaviorClose": "OK" },
            },
        })
    }

    #[test]
    fn only_what_the_proxy_makes_worse_is_a_failure() {
        let same = Comparison::of(&index("OK", "OK")).unwrap();
        assert_eq!((same.0[0].name.as_str(), same.0[1].name.as_str()), ("1.1.2", "1.1.10"));
        same.verdict(false).unwrap();
        assert!(same.verdict(true).unwrap_err().contains("2 cases ran"));
        for (behaviour, close) in [("FAILED", "OK"), ("OK", "WRONG CODE"), ("OK", "UNCLEAN")] {
            let worse = Comparison::of(&index(behaviour, close)).unwrap();
            assert!(worse.verdict(false).unwrap_err().ends_with("1.1.10"));
            assert!(worse.table().contains("differs  1.1.10"));
        }
        Comparison::of(&index("NON-STRICT", "OK")).unwrap().verdict(false).unwrap();
        let mut missing = index("OK", "OK");
        missing["proxied"].as_object_mut().unwrap().remove("1.1.10");
        assert!(Comparison::of(&missing).unwrap().verdict(false).is_err());
    }

    #[test]
    fn the_programs_of_the_suite_are_pinned() {
        let requirements = workspace::read("xtask/conformance/websocket/requirements.txt").unwrap();
        let (pins, hashes) = (requirements.matches("==").count(), requirements.matches("--hash=sha256:").count());
        assert_eq!((pins, hashes), (32, 32));
        assert!(workspace::read("xtask/conformance/websocket/package.json").unwrap().contains("\"ws\": \"8.23.0\""));
    }
}
