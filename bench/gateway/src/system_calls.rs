//! How many system calls a process makes, where `perf` may say so. Not for which.

use std::process::{Child, Command, Stdio};

use crate::process::Process;

/// A count that runs.
pub struct Counting(Child);

impl Counting {
    /// Begins to count; nothing where this machine does not let us.
    pub fn begin(process: &Process) -> Option<Self> {
        let pids: Vec<String> = process.pids().iter().map(u32::to_string).collect();
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pids.join(",")]);
        let child = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        // It says nothing when it has begun; what comes before is a few calls at most.
        std::thread::sleep(std::time::Duration::from_millis(150));
        Some(Self(child))
    }

    /// Returns the count.
    pub fn end(self) -> Option<u64> {
        let _ = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let said = String::from_utf8(self.0.wait_with_output().ok()?.stderr).ok()?;
        said.lines().find(|line| line.contains("sys_enter"))?.split(',').next()?.parse().ok()
    }
}
