//! `cargo xtask`: every command that a developer or the continuous integration runs here.
//!
//! For: lint, test, contract coverage, OpenAPI, measuring. Not for: anything that a running
//! Portico needs; that is the `portico` binary. It depends on `serde_json` only, so that it
//! compiles in seconds and long before the workspace does.
#![expect(clippy::disallowed_methods, reason = "a command-line tool: the bans protect servers and tests")]

mod bench;
mod budget;
mod conformance;
mod contract;
mod crash;
mod etcd;
mod lint;
mod openapi;
mod postgres;
mod stages;
mod test;
mod workspace;

use std::process::ExitCode;

use workspace::Outcome;

/// One word after `cargo xtask`.
struct Command {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> Outcome,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "lint",
        arguments: "[CHECK]...",
        summary: "format, clippy, arrows, contract, OpenAPI, dependencies; or only the named checks",
        run: lint::run,
    },
    Command {
        name: "test",
        arguments: "[-p CRATE] [--no-postgres | --require-postgres] [-- FILTER]",
        summary: "starts a private PostgreSQL, runs every test on both engines, stops it",
        run: test::run,
    },
    Command {
        name: "crash",
        arguments: "[--no-postgres] [-- FILTER]",
        summary: "kill -9 under load (PORTICO_CRASH_ROUNDS, 200 unless said), ends at named places (PORTICO_FAULT_SEEDS, 1000)",
        run: crash::run,
    },
    Command {
        name: "contract",
        arguments: "[--missing]",
        summary: "how many contract routes answered 2xx through the door in the last test run",
        run: contract::run,
    },
    Command {
        name: "openapi",
        arguments: "[--accept]",
        summary: "what the OpenAPI document would change, and whom it breaks; --accept writes docs/openapi",
        run: openapi::run,
    },
    Command {
        name: "budget",
        arguments: "[--skip-build]",
        summary: "measures build time, binary, memory and start; writes docs/performance.md",
        run: budget::run,
    },
    Command {
        name: "bench",
        arguments: "NAME [--quick] [--no-postgres]",
        summary: "runs a benchmark in release form, writes docs/performance.md; without a name lists them",
        run: bench::run,
    },
    Command {
        name: "conformance",
        arguments: "[NAME]",
        summary: "runs a public conformance suite against Portico; without a name lists them",
        run: conformance::run,
    },
    Command {
        name: "help",
        arguments: "",
        summary: "this list",
        run: |_| {
            workspace::print(&help());
            Ok(())
        },
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Outcome {
    let name = match arguments.first().map(String::as_str) {
        None | Some("-h" | "--help") => "help",
        // Not in the list: xtask starts itself under this name to look after the server.
        Some(postgres::GUARD) => return postgres::guard(&arguments[1..]),
        Some(name) => name,
    };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.run)(arguments.get(1..).unwrap_or_default()),
        None => Err(format!("there is no command `{name}`\n\n{}", help())),
    }
}

fn help() -> String {
    let mut text = String::from("cargo xtask COMMAND\n\n");
    for Command { name, arguments, summary, .. } in COMMANDS {
        text.push_str(&format!("  {name:<12} {summary}\n"));
        if !arguments.is_empty() {
            text.push_str(&format!("  {:<12}   {name} {arguments}\n", ""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_command_once() {
        let text = help();
        for command in COMMANDS {
            let lines =
                text.lines().filter(|line| line.starts_with(&format!("  {:<12} {}", command.name, command.summary)));
            assert_eq!(lines.count(), 1, "{}", command.name);
        }
    }

    #[test]
    fn an_unknown_command_is_an_error_that_lists_the_known_ones() {
        let message = dispatch(&["tset".into()]).unwrap_err();
        assert!(message.contains("`tset`") && message.contains("conformance"));
    }
}
