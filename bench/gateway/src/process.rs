//! The processes of a run: on which core each runs, holding and ending it, its CPU time and memory. Not for
//! what they are.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use measure::{Outcome, process};

use crate::ground::until;

/// The proxy alone on the first core, the load and the origin on the second.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    split: bool,
}

impl Cores {
    /// Moves this process to the core of the load, where there are two.
    pub fn split() -> Self {
        let split = std::thread::available_parallelism().is_ok_and(|count| count.get() > 1) && pin();
        // The kernel may be late by this many nanoseconds when a request is due.
        let _ = std::fs::write("/proc/self/timerslack_ns", "1000");
        Self { split }
    }

    /// Returns a program that will run on the proxy's core.
    pub fn alone(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.beside_the_load(if self.split { "taskset".as_ref() } else { program.as_ref() });
        if self.split {
            command.args(["--cpu-list", "0"]).arg(program);
        }
        command
    }

    /// Returns a program that will run where the load does. It ends with this one, however that ends: a stopped
    /// proxy would otherwise stay for ever.
    pub fn beside_the_load(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    }

    /// Says what was done.
    pub fn sentence(self) -> &'static str {
        match self.split {
            true => {
                "The proxy runs on core 0 alone; the origin (nginx, one worker) and the load on core 1 (`taskset`)."
            }
            false => "**Nothing is pinned to a core**: these figures are not to be compared.",
        }
    }
}

fn pin() -> bool {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--pid", "--cpu-list", "1", &std::process::id().to_string()]);
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

/// A server; dropping it ends it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says goes to a file in its folder.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Outcome<Self> {
        let log = folder.join(format!("{name}.log"));
        let written = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(written.try_clone()?).stderr(written);
        let child = command.spawn().map_err(|error| format!("{name} cannot be started: {error}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    pub fn wait_until_it_listens(&self, address: SocketAddr) -> Outcome {
        until(|| TcpStream::connect(address).is_ok(), || format!("{} does not listen:\n{}", self.name, self.said()))
    }

    /// Returns all that it said.
    pub fn everything(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the end of what it said.
    pub fn said(&self) -> String {
        let text = self.everything();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Returns it and what it started.
    pub fn pids(&self) -> Vec<u32> {
        process::family(self.child.id())
    }

    /// Returns the CPU seconds of it and what it started.
    pub fn cpu_seconds(&self) -> f64 {
        self.pids().into_iter().map(|pid| process::running_seconds(pid).unwrap_or_default()).sum()
    }

    /// Returns its memory in MiB: now, and at its most.
    pub fn memory(&self) -> (f64, f64) {
        let each = self.pids().into_iter().map(|pid| process::memory(pid).unwrap_or_default());
        each.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Lets its "at its most" begin anew.
    pub fn forget_most(&self) {
        self.pids().into_iter().for_each(|pid| drop(process::forget_most(pid)));
    }

    /// Holds it: only what is measured may use its core.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it run again.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let _ = kill.arg(name).args(self.pids().iter().map(u32::to_string)).stderr(Stdio::null()).status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its children first: some would live on.
        for pid in self.pids().into_iter().rev() {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
