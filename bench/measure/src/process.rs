//! What the system says of a process: CPU time, memory, threads. Linux only, from /proc. Not for
//! starting any.

use std::fs;
use std::time::{Duration, Instant};

use crate::Outcome;

/// Processes count CPU time in hundredths of a second on every Linux (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// The numbers of /proc/PID/stat, from the third field on.
struct Stat(Vec<String>);

impl Stat {
    fn read(path: &str) -> Outcome<Self> {
        let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
        // The second field is a name in brackets, and may hold blanks and brackets itself.
        let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().map(str::to_owned).collect());
        Ok(Self(fields.unwrap_or_default()))
    }

    /// Returns a field by its number in proc(5).
    fn field(&self, number: usize) -> f64 {
        self.0.get(number - 3).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn own_seconds(&self) -> f64 {
        (self.field(14) + self.field(15)) / TICKS
    }

    fn childrens_seconds(&self) -> f64 {
        (self.field(16) + self.field(17)) / TICKS
    }
}

/// Returns the CPU seconds that a process has used.
pub fn cpu_seconds(pid: u32) -> Outcome<f64> {
    Ok(Stat::read(&format!("/proc/{pid}/stat"))?.own_seconds())
}

/// Returns the CPU seconds that the threads of a process have used so far, to the nanosecond: for
/// differences over short times, and processes whose threads stay.
pub fn running_seconds(pid: u32) -> Outcome<f64> {
    let mut nanos = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanos += text.split_whitespace().next().and_then(|first| first.parse::<f64>().ok()).unwrap_or_default();
    }
    Ok(nanos / 1e9)
}

/// Returns the CPU seconds of a server's password workers.
pub fn password_seconds(pid: u32) -> Outcome<f64> {
    let mut seconds = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let path = task.path();
        // A thread may have ended since the folder was read.
        let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
        if name.starts_with("password-") {
            seconds += Stat::read(&path.join("stat").display().to_string()).map_or(0.0, |stat| stat.own_seconds());
        }
    }
    Ok(seconds)
}

/// Returns the memory of a process in MiB: now, and at its most.
pub fn memory(pid: u32) -> Outcome<(f64, f64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    };
    Ok((field("VmRSS:"), field("VmHWM:")))
}

/// Lets a process's "at its most" begin anew.
pub fn forget_most(pid: u32) -> Outcome {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// Returns how many cores all programs of this machine use together, looking for so long.
pub fn cores_in_use(length: Duration) -> Outcome<f64> {
    let busy = || {
        // cpu  user nice system idle iowait irq softirq steal guest guest_nice; guests are in user.
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
        let ticks = line.enumerate().filter(|(place, _)| ![3, 4].contains(place));
        Outcome::Ok(ticks.map(|(_, ticks)| ticks.parse::<f64>().unwrap_or_default()).sum::<f64>())
    };
    let (began, before) = (Instant::now(), busy()?);
    std::thread::sleep(length);
    Ok((busy()? - before) / TICKS / began.elapsed().as_secs_f64())
}

/// The processes of the PostgreSQL server that listens on a port of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Postgres(u32);

impl Postgres {
    /// Finds the server behind a URL, where it is one of this machine.
    pub fn find(url: &str) -> Option<Self> {
        let port = url.rsplit_once('/')?.0.rsplit_once(':')?.1;
        let wanted = format!("port={port}");
        let listens = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"postgres"))
                && words.any(|word| word == wanted.as_bytes())
        };
        processes().into_iter().find(listens).map(Self)
    }

    /// Returns its processes.
    pub fn pids(self) -> Vec<u32> {
        let is_child =
            |pid: &u32| Stat::read(&format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.field(4) as u32 == self.0);
        processes().into_iter().filter(|pid| *pid == self.0 || is_child(pid)).collect()
    }

    /// Returns the CPU seconds that its present processes have used, to the nanosecond: for differences
    /// over short times, in which connections stay.
    pub fn running_seconds(self) -> f64 {
        self.pids().into_iter().map(|pid| running_seconds(pid).unwrap_or_default()).sum()
    }

    /// Returns the CPU seconds of the server and all its processes, those that ended included.
    pub fn cpu_seconds(self) -> f64 {
        let Ok(own) = Stat::read(&format!("/proc/{}/stat", self.0)) else { return f64::NAN };
        let children = processes().into_iter().filter_map(|pid| Stat::read(&format!("/proc/{pid}/stat")).ok());
        let mine = children.filter(|stat| stat.field(4) as u32 == self.0);
        own.own_seconds() + own.childrens_seconds() + mine.map(|stat| stat.own_seconds()).sum::<f64>()
    }
}

/// Returns a process and all that descend from it.
pub fn family(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = processes()
        .into_iter()
        .filter_map(|pid| Some((pid, Stat::read(&format!("/proc/{pid}/stat")).ok()?.field(4) as u32)))
        .collect();
    let mut family = vec![pid];
    let mut place = 0;
    while let Some(&parent) = family.get(place) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        place += 1;
    }
    family
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_cpu_time() {
        let own = std::process::id();
        let (now, most) = memory(own).expect("reads");
        assert!(now > 1.0 && most >= now);
        assert!(cpu_seconds(own).expect("reads") >= 0.0 && running_seconds(own).expect("reads") > 0.0);
        let name = std::thread::Builder::new().name("password-0".to_owned());
        let hashing = name.spawn(move || password_seconds(own).expect("reads")).expect("a thread").join();
        assert!(cores_in_use(Duration::from_millis(50)).expect("reads") >= 0.0);
        assert!(hashing.expect("no panic") >= 0.0);
    }

    #[test]
    fn a_url_without_a_server_here_has_no_process() {
        assert!(Postgres::find("postgres://a@127.0.0.1:1/b").is_none());
        assert!(Postgres::find("postgres://").is_none());
    }
}
