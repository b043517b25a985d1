//! Which cores the application and its load run on: the application alone on the first, load and
//! PostgreSQL on the others. What a process starts inherits its cores. Not where there is one core.

use std::process::{Command, Stdio};

use crate::process::Postgres;
use crate::say;

/// How the cores are shared out.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    count: usize,
    split: bool,
}

impl Cores {
    /// Moves PostgreSQL away from the first core, where that can be done.
    pub fn split(postgres: Postgres) -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let others = others(count);
        let split =
            count > 1 && pin(std::process::id(), &others) && postgres.pids().into_iter().all(|pid| pin(pid, &others));
        if !split {
            say("the systems are not pinned to cores");
        }
        Self { count, split }
    }

    /// What is started from now on is the application.
    pub fn as_application(self) {
        if self.split {
            pin(std::process::id(), "0");
        }
    }

    /// This process is the load again.
    pub fn as_load(self) {
        if self.split {
            pin(std::process::id(), &others(self.count));
        }
    }

    /// Says what was done.
    pub fn sentence(self) -> String {
        match self.split {
            true => format!(
                "The application runs on core 0 alone, load and PostgreSQL on core {} (`taskset`).",
                others(self.count)
            ),
            false => "Nothing is pinned to a core.".to_owned(),
        }
    }
}

fn others(count: usize) -> String {
    if count > 2 { format!("1-{}", count - 1) } else { "1".to_owned() }
}

fn pin(pid: u32, cores: &str) -> bool {
    let mut command = Command::new("taskset");
    command.args(["--all-tasks", "--pid", "--cpu-list", cores, &pid.to_string()]);
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}
