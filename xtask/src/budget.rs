//! `cargo xtask budget`: measures what a newcomer feels before the first request.
//!
//! For: build time, size, memory and start, with the machine beside them, kept in
//! `docs/performance.md`. Not for: throughput and latency; those are `cargo xtask bench`.

pub mod machine;
pub mod server;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::stages;
use crate::workspace::{self, Outcome, cargo, program};
use server::Server;

const DOCUMENT: &str = "docs/performance.md";
const MARK: &str = "budget";
const STARTS: usize = 5;

/// One measured quality.
struct Row {
    quality: &'static str,
    goal: &'static str,
    measured: String,
}

/// Measures, prints and writes the document.
pub fn run(arguments: &[String]) -> Outcome {
    let skip_build = match arguments {
        [] => false,
        [word] if word == "--skip-build" => true,
        _ => return Err("budget takes only --skip-build".into()),
    };
    let mut rows = Vec::new();
    if !skip_build {
        let took = first_build()?;
        rows.push(Row {
            quality: "first release build, empty target folder (minutes:seconds)",
            goal: "under 10:00 on two cores",
            measured: stages::clock(took),
        });
    }
    let binary = binary()?;
    rows.push(Row { quality: "binary, stripped", goal: "", measured: stripped_size(&binary)? });
    measure_server(&binary, &mut rows)?;

    let section = section(&rows);
    workspace::print(&section);
    if skip_build {
        println!("{DOCUMENT} is left as it is: without the build the list is not complete.");
        return Ok(());
    }
    keep(MARK, &section)
}

/// Puts a measured section between its two marks in the document.
pub fn keep(mark: &str, section: &str) -> Outcome {
    workspace::write(DOCUMENT, &replace_section(&workspace::read(DOCUMENT)?, mark, section)?)?;
    println!("Wrote {DOCUMENT}.");
    Ok(())
}

fn build_folder() -> PathBuf {
    workspace::target_folder().join("budget")
}

fn first_build() -> Outcome<Duration> {
    let folder = build_folder();
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .map_err(|error| format!("cannot empty {}: {error}", workspace::short(&folder)))?;
    }
    // Downloading depends on the network, not on us.
    workspace::run(cargo().args(["fetch", "--locked"]))?;
    let start = Instant::now();
    let mut build = cargo();
    build.args(["build", "--release", "--package", "portico", "--locked"]);
    workspace::run(build.env("CARGO_TARGET_DIR", &folder))?;
    Ok(start.elapsed())
}

fn binary() -> Outcome<PathBuf> {
    let places = [build_folder(), workspace::target_folder()];
    places
        .into_iter()
        .map(|folder| folder.join("release").join("portico"))
        .find(|file| file.is_file())
        .ok_or("there is no release binary yet; run without --skip-build".into())
}

fn stripped_size(binary: &Path) -> Outcome<String> {
    if workspace::on_path("strip").is_none() {
        return Ok("not measured: there is no `strip` on the PATH".into());
    }
    let stripped = workspace::target_folder().join("tmp").join("portico-stripped");
    stripped.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|error| error.to_string())?;
    workspace::output(program("strip").arg("-o").arg(&stripped).arg(binary))?;
    let size = std::fs::metadata(&stripped).map_err(|error| error.to_string())?.len();
    let _ = std::fs::remove_file(&stripped);
    Ok(megabytes(size))
}

fn measure_server(binary: &Path, rows: &mut Vec<Row>) -> Outcome {
    let folder = workspace::target_folder().join("tmp").join("budget-data");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;

    let (server, first) = Server::start(binary, &folder)?;
    std::thread::sleep(Duration::from_secs(5));
    let idle = server.resident_bytes()?;
    for _ in 0..100 {
        server.ask("/health")?;
    }
    let used = server.resident_bytes()?;
    server.stop()?;

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let (server, took) = Server::start(binary, &folder)?;
        starts.push(took);
        server.stop()?;
    }
    starts.sort();
    let _ = std::fs::remove_dir_all(&folder);

    rows.extend([
        Row {
            quality: "resident memory, idle for 5 s after the first start",
            goal: "under 100 MB",
            measured: megabytes(idle),
        },
        Row { quality: "resident memory after 100 health requests", goal: "under 100 MB", measured: megabytes(used) },
        Row { quality: "start to first answer, new data folder (once)", goal: "", measured: milliseconds(first) },
        Row {
            quality: "start to first answer, existing data folder (median of 5)",
            goal: "under 1 s",
            measured: milliseconds(starts[STARTS / 2]),
        },
    ]);
    Ok(())
}

fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

fn section(rows: &[Row]) -> String {
    let mut text = format!("Measured by `cargo xtask budget` on {}.\n\n", machine::describe());
    text.push_str("| quality | goal | measured |\n|---|---|---|\n");
    for Row { quality, goal, measured } in rows {
        let _ = writeln!(text, "| {quality} | {goal} | {measured} |");
    }
    text
}

fn replace_section(document: &str, mark: &str, section: &str) -> Outcome<String> {
    let (begin, end) = (format!("<!-- {mark}:begin -->"), format!("<!-- {mark}:end -->"));
    let parts =
        document.split_once(&begin).and_then(|(before, rest)| rest.split_once(&end).map(|(_, after)| (before, after)));
    let Some((before, after)) = parts else {
        return Err(format!("{DOCUMENT} lacks the lines `{begin}` and `{end}`; put them in"));
    };
    Ok(format!("{before}{begin}\n{section}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_between_the_marks_is_replaced() {
        let document = "# P\n\n<!-- a:begin -->\nold\n<!-- a:end -->\n\nmore\n";
        let replaced = replace_section(document, "a", "new\n").unwrap();
        assert_eq!(replaced, document.replace("old", "new"));
        assert!(replace_section(document, "b", "new\n").unwrap_err().contains("<!-- b:begin -->"));
    }

    #[test]
    fn sizes_are_in_decimal_megabytes() {
        assert_eq!(megabytes(61_960_000), "62.0 MB");
    }
}
