//! `cargo xtask test`: everything that the tests need, then all of them, then what was not run.
//!
//! For: one command on a bare machine and in continuous integration. Not for: single tests while
//! you work; `cargo test -p inventory` does that, and this with `-p inventory -- FILTER` on both
//! engines.

mod tally;

use std::io::{BufRead, BufReader, IsTerminal};
use std::process::{Command, Stdio};

use crate::contract;
use crate::etcd;
use crate::postgres::{self, Mode, Postgres};
use crate::stages::Stages;
use crate::workspace::{self, Outcome};
use tally::Tally;

/// What stands on the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    pub postgres: Mode,
    pub packages: Vec<String>,
    pub filter: Vec<String>,
}

impl Options {
    /// Reads the arguments; everything after `--` goes to the test runner as it is.
    pub fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self { postgres: Mode::Wanted, packages: vec![], filter: vec![] };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--no-postgres" => options.postgres = Mode::Refused,
                "--require-postgres" => options.postgres = Mode::Required,
                "-p" | "--package" => match words.next() {
                    Some(package) => options.packages.push(package.clone()),
                    None => return Err(format!("{word} needs the name of a crate")),
                },
                "--" => options.filter.extend(words.by_ref().cloned()),
                _ => {
                    return Err(format!("unknown argument `{word}`; a filter for the tests comes after `--`"));
                }
            }
        }
        Ok(options)
    }

    fn whole(&self) -> bool {
        self.packages.is_empty() && self.filter.is_empty()
    }

    fn tests(&self, package: &str) -> bool {
        self.packages.is_empty() || self.packages.iter().any(|named| named == package)
    }

    fn selection(&self) -> Vec<String> {
        if self.packages.is_empty() {
            return vec!["--workspace".into()];
        }
        self.packages.iter().flat_map(|package| ["--package".into(), package.clone()]).collect()
    }

    fn filter_words(&self) -> Vec<String> {
        if self.filter.is_empty() {
            return vec![];
        }
        std::iter::once("--".to_owned()).chain(self.filter.iter().cloned()).collect()
    }
}

/// Runs the tests.
pub fn run(arguments: &[String]) -> Outcome {
    let options = Options::parse(arguments)?;
    let mut stages = Stages::default();
    let mut tally = Tally::default();
    let mut not_run = Vec::new();
    let outcome = stages
        .run("prepare", || {
            empty_hits_folder()?;
            postgres::prepare(options.postgres)
        })
        .and_then(|postgres| {
            if let Some(reason) = postgres.missing() {
                not_run.push(format!("everything on PostgreSQL ({reason})"));
            }
            if options.tests("discovery")
                && let Err(reason) = etcd::find_or_fetch()
            {
                not_run.push(format!("discovery against a real etcd ({reason})"));
            }
            run_tests(&options, &postgres, &mut stages, &mut tally, &mut not_run)
        });

    stages.print();
    if options.whole() {
        println!("{}", contract::summary().unwrap_or_else(|error| format!("contract: {error}")));
    }
    for what in &not_run {
        println!("NOT RUN: {what}");
    }
    println!("tests: {tally}");
    outcome
}

fn run_tests(
    options: &Options,
    postgres: &Postgres,
    stages: &mut Stages,
    tally: &mut Tally,
    not_run: &mut Vec<String>,
) -> Outcome {
    let runner = Runner::find();
    stages.run("build", || workspace::run(runner.command(options, postgres).arg("--no-run")))?;
    // A failure does not hide the other stage's results; both are told at the end.
    let tests = stages.run("test", || {
        let mut command = runner.command(options, postgres);
        count(command.args(options.filter_words()), runner, tally)?;
        if tally.ran() == 0 {
            return Err("no test ran, so nothing was shown".into());
        }
        Ok(())
    });
    if !options.filter.is_empty() {
        not_run.push("the examples in documentation (a filter was given)".into());
        return tests;
    }
    let examples = stages.run("doc", || {
        let mut command = workspace::cargo();
        command.args(["test", "--doc"]).args(options.selection());
        prepare_environment(&mut command, postgres);
        count(&mut command, Runner::Cargo, tally)
    });
    match (tests, examples) {
        (Err(tests), Err(examples)) => Err(format!("{tests}\nxtask: {examples}")),
        (tests, examples) => tests.and(examples),
    }
}

/// What runs the tests: nextest when it is there, since it tells more and stops hung tests.
#[derive(Clone, Copy)]
enum Runner {
    Nextest,
    Cargo,
}

impl Runner {
    fn find() -> Self {
        if workspace::on_path("cargo-nextest").is_some() { Self::Nextest } else { Self::Cargo }
    }

    fn command(self, options: &Options, postgres: &Postgres) -> Command {
        let mut command = workspace::cargo();
        match self {
            Self::Nextest => command.args(["nextest", "run"]).args(options.selection()),
            Self::Cargo => command.arg("test").args(options.selection()).args(["--lib", "--bins", "--tests"]),
        };
        if matches!(self, Self::Cargo) {
            command.arg("--no-fail-fast");
        }
        prepare_environment(&mut command, postgres);
        command
    }
}

fn prepare_environment(command: &mut Command, postgres: &Postgres) {
    postgres.export(command);
    command.env(contract::HITS_VARIABLE, contract::hits_folder());
    // The runner writes into our pipe, so it cannot see the terminal itself.
    if std::io::stdout().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
}

/// Runs a test runner, shows what it prints and adds up its closing lines.
fn count(command: &mut Command, runner: Runner, tally: &mut Tally) -> Outcome {
    println!("$ {}", workspace::describe(command));
    match runner {
        Runner::Nextest => command.stderr(Stdio::piped()),
        Runner::Cargo => command.stdout(Stdio::piped()),
    };
    let mut child = command.spawn().map_err(|error| workspace::not_started(command, &error))?;
    if let Some(output) = child.stderr.take() {
        follow(output, |line| {
            tally.read_nextest(line);
            eprintln!("{line}");
        });
    }
    if let Some(output) = child.stdout.take() {
        follow(output, |line| {
            tally.read_libtest(line);
            println!("{line}");
        });
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed", workspace::describe(command))) }
}

fn follow(output: impl std::io::Read, mut each: impl FnMut(&str)) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        each(&String::from_utf8_lossy(&line));
    }
}

fn empty_hits_folder() -> Outcome {
    let folder = contract::hits_folder();
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .map_err(|error| format!("cannot empty {}: {error}", workspace::short(&folder)))?;
    }
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", workspace::short(&folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Outcome<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_follows_two_dashes_is_left_to_the_runner() {
        let options = parse("-p inventory --require-postgres -- adjust --no-postgres").unwrap();
        assert_eq!(options.postgres, Mode::Required);
        assert_eq!(options.selection(), ["--package", "inventory"]);
        assert_eq!(options.filter_words(), ["--", "adjust", "--no-postgres"]);
        assert!(parse("").unwrap().whole());
    }

    #[test]
    fn a_filter_without_dashes_is_explained() {
        assert!(parse("adjust").unwrap_err().contains("after `--`"));
        assert!(parse("-p").unwrap_err().contains("crate"));
    }
}
