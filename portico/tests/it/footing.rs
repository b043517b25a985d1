//! What a server asks of the kernel at its start. What many connections feel of it is the benchmark's: `--rungs s8`.
#![cfg(target_os = "linux")]

use std::process::Command;

use crate::process::Installation;

/// Returns a number behind this word in a file of the process.
fn number(file: &str, word: &str) -> u64 {
    let text = std::fs::read_to_string(file).expect("a file of the process");
    let line = text.lines().find_map(|line| line.strip_prefix(word)).unwrap_or_else(|| panic!("{word} in {text}"));
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_server_has_room_for_as_many_files_as_it_may_open() {
    let installation = Installation::new();
    let plain = installation.command(&["serve", "--listen", "127.0.0.1:0"]);
    // With few files and many that it may ask for, as most systems start their services.
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -Sn 256 && exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    let mut server = installation.start_as(few).await;
    let of = |file: &str| format!("/proc/{}/{file}", server.pid());
    let most = number("/proc/self/limits", "Max open files").max(256);
    let (soft, table) = (number(&of("limits"), "Max open files"), number(&of("status"), "FDSize:"));
    assert!(soft > 256 && soft >= most, "{soft} of {most}");
    assert!(table >= soft.min(65_536), "the table would grow while clients wait: {table}");
    assert_eq!(number(&of("status"), "THP_enabled:"), 0);
    server.kill();
}
