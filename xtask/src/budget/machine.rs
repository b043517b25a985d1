//! The machine that a number was measured on.
//!
//! For: the sentence that stands beside every measured number. Not for: choosing what to measure.

use crate::workspace::{program, quiet_output};

/// Returns cores, processor, memory, compiler and date in one phrase.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or_else(|_| "?".into(), |n| n.to_string());
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .map_or_else(
            || "unknown memory".into(),
            |kilobytes| format!("{} GiB of memory", (kilobytes + 524_288) / 1_048_576),
        );
    let compiler = first_words("rustc", &["--version"], 2);
    let date = first_words("date", &["+%Y-%m-%d"], 1);
    format!("{date}: {cores} cores, {processor}, {memory}, {}, {compiler}", std::env::consts::OS)
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn first_words(name: &str, arguments: &[&str], count: usize) -> String {
    let text = quiet_output(program(name).args(arguments)).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(count).collect();
    if words.is_empty() { format!("unknown {name}") } else { words.join(" ") }
}
